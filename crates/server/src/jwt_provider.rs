//! The signatures of web tokens, by `ring`.
//!
//! The `jsonwebtoken` crate takes them from a provider that the process installs; those that it
//! brings would add another cryptographic library beside that of TLS.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind, new_error},
    jwk::{AlgorithmParameters, Jwk},
    signature::{Error as SignatureError, Signer, Verifier},
};
use ring::{
    rand::SystemRandom,
    signature::{
        self, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
        VerificationAlgorithm,
    },
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Has all web tokens of the process signed and verified here.
pub(crate) fn install() {
    // Another server in this process has done so already.
    let _installed = PROVIDER.install_default();
}

/// Only ES256 is signed with.
fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    if *algorithm != Algorithm::ES256 {
        return Err(new_error(ErrorKind::UnsupportedAlgorithm));
    }
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_bytes(), &random);
    let pair = pair.map_err(|_| new_error(ErrorKind::InvalidEcdsaKey))?;
    Ok(Box::new(Es256Signer { pair, random }))
}

/// All algorithms of public keys that `ring` has. Never one of a shared secret: a public key would
/// then be a secret that everyone knows.
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let verified_by: &'static dyn VerificationAlgorithm = match algorithm {
        Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::EdDSA => &signature::ED25519,
        Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    };
    if key.family() != algorithm.family() {
        return Err(new_error(ErrorKind::InvalidKeyFormat));
    }
    let key = key.try_get_as_bytes()?.to_vec();
    Ok(Box::new(PublicKey {
        algorithm: *algorithm,
        key: UnparsedPublicKey::new(verified_by, key),
    }))
}

/// The key of a JSON web key, in the form that is verified with here.
///
/// # Errors
/// If it is a shared secret, or malformed.
pub(crate) fn public_key(key: &Jwk) -> Result<DecodingKey, Error> {
    match &key.algorithm {
        AlgorithmParameters::OctetKey(_) => Err(new_error(ErrorKind::UnsupportedAlgorithm)),
        AlgorithmParameters::RSA(rsa) => {
            let integer = |text: &str| {
                let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
                bytes.map_err(|_| new_error(ErrorKind::InvalidRsaKey("not base64".into())))
            };
            let (n, e) = (integer(&rsa.n)?, integer(&rsa.e)?);
            // The form of RFC 8017, appendix A.1.1.
            let der = yasna::construct_der(|writer| {
                writer.write_sequence(|writer| {
                    writer.next().write_bigint_bytes(&n, true);
                    writer.next().write_bigint_bytes(&e, true);
                });
            });
            Ok(DecodingKey::from_rsa_der(&der))
        }
        _ => DecodingKey::from_jwk(key),
    }
}

struct Es256Signer {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl Signer<Vec<u8>> for Es256Signer {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let signature = self.pair.sign(&self.random, message);
        let signature = signature.map_err(|_| SignatureError::new())?;
        Ok(signature.as_ref().to_vec())
    }
}

impl JwtSigner for Es256Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }
}

struct PublicKey {
    algorithm: Algorithm,
    key: UnparsedPublicKey<Vec<u8>>,
}

impl Verifier<Vec<u8>> for PublicKey {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        let verified = self.key.verify(message, signature);
        verified.map_err(|_| SignatureError::new())
    }
}

impl JwtVerifier for PublicKey {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The examples of RFC 7515 (appendices A.2 and A.3).
    const MODULUS: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const RS256: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    const ES256: &str =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

    fn is_verified(algorithm: Algorithm, header: &str, payload: &str, signature: &str) -> bool {
        install();
        let jwk = match header {
            "eyJhbGciOiJSUzI1NiJ9" => json!({"kty": "RSA", "n": MODULUS, "e": "AQAB"}),
            _ => json!({
                "kty": "EC", "crv": "P-256",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            }),
        };
        let jwk: Jwk = serde_json::from_value(jwk).unwrap();
        let key = public_key(&jwk).unwrap();
        let message = format!("{header}.{payload}");
        let verified = jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, algorithm);
        verified.unwrap_or(false)
    }

    #[test]
    fn the_examples_of_the_standard_are_verified_and_altered_ones_are_not() {
        let (rsa, ec) = ("eyJhbGciOiJSUzI1NiJ9", "eyJhbGciOiJFUzI1NiJ9");
        assert!(is_verified(Algorithm::RS256, rsa, PAYLOAD, RS256));
        assert!(is_verified(Algorithm::ES256, ec, PAYLOAD, ES256));
        let altered = PAYLOAD.replacen("joe", "eve", 1).replacen('J', "K", 1);
        assert!(!is_verified(Algorithm::RS256, rsa, &altered, RS256));
        assert!(!is_verified(Algorithm::ES256, ec, &altered, ES256));
        // Another algorithm of the same key, one of another key, and one of a shared secret.
        for algorithm in [Algorithm::PS256, Algorithm::ES256, Algorithm::HS256] {
            assert!(
                !is_verified(algorithm, rsa, PAYLOAD, RS256),
                "{algorithm:?}"
            );
        }
    }
}
