//! Certificate authorities: one for each purpose.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PublicKeyData as _,
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::{
    extensions::ParsedExtension,
    prelude::{FromDer as _, X509Certificate},
};

use super::{
    Pair, Result,
    certificate::{Contents, Issuer, Usage},
    files, unusable,
};

/// How long a CA is valid.
const CA_DAYS: i64 = 3650;
/// Certificates are valid since a while ago, because the clocks of nodes differ.
const BACKDATED: SignedDuration = SignedDuration::from_hours(1);

/// The length of a line of PEM.
const PEM_LINE: usize = 64;

/// A certificate authority: its certificate and its key.
pub(crate) struct Ca {
    /// The certificate, in PEM.
    pub certificate: String,
    der: CertificateDer<'static>,
    issuer: Issuer,
    not_after: Timestamp,
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ca")
    }
}

/// Subject, names and usage of a certificate to sign.
#[derive(Debug)]
pub(crate) struct Leaf<'a> {
    /// The subject, in DER.
    pub subject: &'a [u8],
    /// The alternative names, in DER.
    pub alternative_names: Option<&'a [u8]>,
    /// What it is for.
    pub usage: Usage,
    /// How long it is valid.
    pub lifetime: SignedDuration,
}

impl Ca {
    /// The CA of these files.
    ///
    /// # Errors
    /// When a file cannot be read or parsed.
    pub(super) fn read(dir: &Path, file: &str) -> Result<Option<Self>> {
        files::read_pair(dir, file)?
            .map(|pair| Self::of(&pair))
            .transpose()
    }

    /// The CA of these files, which are created with this name if they do not exist.
    ///
    /// # Errors
    /// When a file cannot be read, written or parsed.
    pub(super) fn open(dir: &Path, file: &str, name: &str) -> Result<Self> {
        match Self::read(dir, file)? {
            Some(found) => Ok(found),
            None => {
                let new = Self::create(name)?;
                new.write(dir, file)?;
                Ok(new)
            }
        }
    }

    /// A new CA with this name.
    ///
    /// # Errors
    /// When the key cannot be made.
    pub(super) fn create(name: &str) -> Result<Self> {
        let key = KeyPair::generate().map_err(unusable)?;
        let certificate = params(name)?.self_signed(&key).map_err(unusable)?;
        Self::of(&Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// Writes certificate and key.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn write(&self, dir: &Path, file: &str) -> Result<()> {
        let pair = Pair {
            certificate: self.certificate.clone(),
            key: self.issuer.key.serialize_pem(),
        };
        files::write_pair(dir, file, &pair)
    }

    fn of(pair: &Pair) -> Result<Self> {
        let der = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).map_err(unusable)?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(unusable)?;
        let identifier =
            parsed
                .extensions()
                .iter()
                .find_map(|extension| match extension.parsed_extension() {
                    ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                    _ => None,
                });
        let issuer = Issuer {
            name: parsed.subject().as_raw().to_vec(),
            key_identifier: identifier,
            key: KeyPair::from_pem(&pair.key).map_err(unusable)?,
        };
        let not_after = parsed.validity().not_after.timestamp();
        let not_after = Timestamp::from_second(not_after).map_err(unusable)?;
        Ok(Self {
            certificate: pair.certificate.clone(),
            not_after,
            issuer,
            der,
        })
    }

    /// A certificate of this CA for the key of another, which may sign client certificates only:
    /// who trusts this CA as one of clients then trusts the other.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub(super) fn cross_sign(&self, other: &Self, name: &str) -> Result<String> {
        let key = &self.issuer.key;
        let issuer = rcgen::Issuer::from_ca_cert_der(&self.der, key).map_err(unusable)?;
        let mut params = params(name)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let signed = params.signed_by(&other.issuer.key, &issuer);
        Ok(signed.map_err(unusable)?.pem())
    }

    /// Signs a certificate for a public key (in DER), which is returned in PEM.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub(crate) fn sign(&self, leaf: &Leaf<'_>, public_key: &[u8]) -> Result<String> {
        let now = Timestamp::now();
        let der = self.issuer.sign(&Contents {
            subject: leaf.subject,
            public_key,
            alternative_names: leaf.alternative_names,
            usage: leaf.usage,
            not_before: now - BACKDATED,
            not_after: (now + leaf.lifetime).min(self.not_after),
        })?;
        Ok(pem(&der))
    }

    /// A new key with its certificate.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn issue(&self, leaf: &Leaf<'_>) -> Result<Pair> {
        let key = KeyPair::generate().map_err(unusable)?;
        let certificate = self.sign(leaf, &key.subject_public_key_info())?;
        Ok(Pair {
            certificate,
            key: key.serialize_pem(),
        })
    }

    /// Whether this CA has signed a certificate.
    #[must_use]
    pub(super) fn has_signed(&self, certificate: &X509Certificate<'_>) -> bool {
        X509Certificate::from_der(&self.der).is_ok_and(|(_, own)| {
            certificate.issuer().as_raw() == own.subject().as_raw()
                && certificate.verify_signature(Some(own.public_key())).is_ok()
        })
    }
}

fn params(name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let now = Timestamp::now();
    let time = |at: Timestamp| {
        let seconds = std::time::Duration::from_secs(at.as_second().unsigned_abs());
        rcgen::date_time_ymd(1970, 1, 1)
            .checked_add(seconds.try_into().map_err(unusable)?)
            .ok_or_else(|| unusable("the clock is out of range"))
    };
    params.not_before = time(now - BACKDATED)?;
    params.not_after = time(now + SignedDuration::from_hours(24 * CA_DAYS))?;
    Ok(params)
}

/// A certificate in PEM.
fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines = text.as_bytes().chunks(PEM_LINE);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in lines {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}
