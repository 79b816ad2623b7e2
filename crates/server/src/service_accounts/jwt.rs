//! JSON web tokens with the signatures of `ring`: only ES256 is used.

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    dangerous,
    errors::{Error, ErrorKind, new_error},
    signature::{Error as SignatureError, Signer, Verifier},
};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
    },
};
use serde::de::DeserializeOwned;

use super::claims::Claims;
use crate::{auth::TokenError, pki::SigningKey};

/// A token with these claims, signed by a key.
pub(super) fn sign(key: &SigningKey, claims: &Claims) -> Result<String, Error> {
    let header = Header {
        kid: Some(key.id.clone()),
        typ: None,
        ..Header::new(Algorithm::ES256)
    };
    jsonwebtoken::encode(&header, claims, &key.private)
}

/// The claims of a token that a key has signed, times and audiences unchecked.
pub(super) fn verify(key: &SigningKey, token: &str) -> Option<Claims> {
    let mut validation = Validation::new(Algorithm::ES256);
    // These are checked with the texts and the leeway of upstream.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let verified = jsonwebtoken::decode::<Claims>(token, &key.public, &validation);
    verified.ok().map(|token| token.claims)
}

/// The claims of a token whose signature is not verified.
///
/// # Errors
/// `Unknown` for what is no token.
pub(super) fn unverified_claims<T: DeserializeOwned>(token: &str) -> Result<T, TokenError> {
    dangerous::insecure_decode_claims(token).map_err(|_| TokenError::Unknown)
}

/// The ID of the key that has signed a token.
///
/// # Errors
/// `Unknown` for what is no token.
pub(super) fn key_id(token: &str) -> Result<Option<String>, TokenError> {
    let header = jsonwebtoken::decode_header(token);
    header
        .map(|header| header.kid)
        .map_err(|_| TokenError::Unknown)
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Has all web tokens of the process signed and verified here.
pub(super) fn install_provider() {
    // Another server in this process has done so already.
    let _installed = PROVIDER.install_default();
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    check(*algorithm)?;
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_bytes(), &random);
    let pair = pair.map_err(|_| new_error(ErrorKind::InvalidEcdsaKey))?;
    Ok(Box::new(Es256Signer { pair, random }))
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    check(*algorithm)?;
    let point = key.try_get_as_bytes()?.to_vec();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    Ok(Box::new(Es256Verifier(key)))
}

fn check(algorithm: Algorithm) -> Result<(), Error> {
    match algorithm {
        Algorithm::ES256 => Ok(()),
        _ => Err(new_error(ErrorKind::UnsupportedAlgorithm)),
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

struct Es256Verifier(UnparsedPublicKey<Vec<u8>>);

impl Verifier<Vec<u8>> for Es256Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        let verified = self.0.verify(message, signature);
        verified.map_err(|_| SignatureError::new())
    }
}

impl JwtVerifier for Es256Verifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }
}
