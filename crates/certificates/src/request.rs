//! Certificate requests (PKCS #10), as bytes: what somebody asks to have certified.
//! Upstream: `certificates.ParseCSR` and `crypto/x509.ParseCertificateRequest`.

use std::net::IpAddr;

use x509_parser::{
    certification_request::X509CertificationRequest,
    cri_attributes::ParsedCriAttribute,
    extensions::{GeneralName, ParsedExtension, X509Extension},
    oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME,
    pem::parse_x509_pem,
    prelude::FromDer as _,
};

/// The label of the PEM block.
const LABEL: &str = "CERTIFICATE REQUEST";

/// Why a certificate request cannot be read. The texts of the first two are upstream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no PEM block, or one with another label.
    #[error("PEM block type must be CERTIFICATE REQUEST")]
    NotPem,
    /// The block is no PKCS #10 request.
    #[error("asn1: syntax error: the block is no certificate request")]
    NotARequest,
    /// Another thing follows the request in the block.
    #[error("asn1: syntax error: trailing data")]
    TrailingData,
    /// The sender does not have the key, or the algorithm is not known.
    #[error("x509: the signature of the certificate request is not valid")]
    Signature,
    /// A part of the request cannot be read.
    #[error("x509: the {0} of the certificate request cannot be read")]
    Unreadable(&'static str),
}

/// What a certificate request asks for. Its sender has the key; nothing else of it is verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CertificateRequest {
    /// The whole request, in DER.
    pub der: Vec<u8>,
    /// The subject, in DER.
    pub subject: Vec<u8>,
    /// The common name of the subject: the last one, as in Go. Empty for none.
    pub common_name: String,
    /// The organizations of the subject.
    pub organizations: Vec<String>,
    /// The public key (`SubjectPublicKeyInfo`), in DER.
    pub public_key: Vec<u8>,
    /// The value of the extension of alternative names, in DER; `None` for a request without.
    pub alternative_names: Option<Vec<u8>>,
    /// The DNS names.
    pub dns_names: Vec<String>,
    /// The IP addresses.
    pub ip_addresses: Vec<IpAddr>,
    /// The e-mail addresses.
    pub email_addresses: Vec<String>,
    /// The URIs, such as those of SPIFFE.
    pub uris: Vec<String>,
}

/// Reads a certificate request in PEM.
///
/// # Errors
/// [`Error`] states the reason.
pub fn parse(pem: &[u8]) -> Result<CertificateRequest, Error> {
    let (_, block) = parse_x509_pem(pem).map_err(|_| Error::NotPem)?;
    if block.label != LABEL {
        return Err(Error::NotPem);
    }
    parse_der(&block.contents)
}

/// Reads a certificate request in DER.
///
/// # Errors
/// [`Error`] states the reason.
pub fn parse_der(der: &[u8]) -> Result<CertificateRequest, Error> {
    let parsed = X509CertificationRequest::from_der(der);
    let (rest, request) = parsed.map_err(|_| Error::NotARequest)?;
    if !rest.is_empty() {
        return Err(Error::TrailingData);
    }
    let info = &request.certification_request_info;
    let mut found = CertificateRequest {
        der: der.to_vec(),
        subject: info.subject.as_raw().to_vec(),
        public_key: info.subject_pki.raw.to_vec(),
        ..CertificateRequest::default()
    };
    let text = |value: Result<&str, _>| value.map(str::to_owned);
    for name in info.subject.iter_common_name() {
        found.common_name = text(name.as_str()).map_err(|_| Error::Unreadable("subject"))?;
    }
    for name in info.subject.iter_organization() {
        let name = text(name.as_str()).map_err(|_| Error::Unreadable("subject"))?;
        found.organizations.push(name);
    }
    for attribute in info.iter_attributes() {
        if let ParsedCriAttribute::ExtensionRequest(requested) = attribute.parsed_attribute() {
            for extension in &requested.extensions {
                found.add_extension(extension)?;
            }
        }
    }
    request.verify_signature().map_err(|_| Error::Signature)?;
    Ok(found)
}

impl CertificateRequest {
    fn add_extension(&mut self, extension: &X509Extension<'_>) -> Result<(), Error> {
        if extension.oid != OID_X509_EXT_SUBJECT_ALT_NAME {
            return Ok(());
        }
        let unreadable = Error::Unreadable("alternative names");
        let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else {
            return Err(unreadable);
        };
        if self.alternative_names.is_some() {
            return Err(unreadable);
        }
        self.alternative_names = Some(extension.value.to_vec());
        for name in &names.general_names {
            match name {
                GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => self.email_addresses.push((*name).to_owned()),
                GeneralName::URI(name) => self.uris.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => {
                    self.ip_addresses.push(address(bytes).ok_or(unreadable)?);
                }
                GeneralName::Invalid(..) => return Err(unreadable),
                // Go ignores the other kinds of names, too.
                _ => {}
            }
        }
        Ok(())
    }
}

/// The IP address of a name: 4 or 16 bytes.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    v4.or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made with: `openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout
    /// /dev/null -subj /O=a/O=b/CN=jane -addext
    /// subjectAltName=DNS:n.example,IP:10.0.0.7,email:j@example,URI:spiffe://x/y`.
    const REQUEST: &str = include_str!("request/jane.pem");

    #[test]
    fn a_request_of_openssl_is_read() {
        let request = parse(REQUEST.as_bytes()).unwrap();
        assert_eq!(request.common_name, "jane");
        assert_eq!(request.organizations, ["a", "b"]);
        assert_eq!(request.dns_names, ["n.example"]);
        assert_eq!(request.ip_addresses, [IpAddr::from([10, 0, 0, 7])]);
        assert_eq!(request.email_addresses, ["j@example"]);
        assert_eq!(request.uris, ["spiffe://x/y"]);
        assert!(request.alternative_names.is_some());
        assert_eq!(request.public_key.len(), 91);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let certificate = REQUEST.replace("CERTIFICATE REQUEST", "CERTIFICATE");
        let table = [
            ("", Error::NotPem),
            ("nonsense", Error::NotPem),
            (&certificate, Error::NotPem),
            (
                "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
                Error::NotARequest,
            ),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text.as_bytes()), Err(expected), "{text}");
        }
        let mut der = parse(REQUEST.as_bytes()).unwrap().der;
        der.push(0);
        assert_eq!(parse_der(&der), Err(Error::TrailingData));
        der.pop();
        let last = der.len() - 1;
        der[last] ^= 1;
        assert_eq!(parse_der(&der), Err(Error::Signature));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(at in 0_usize..400, to: u8, cut in 0_usize..400) {
            let mut der = parse(REQUEST.as_bytes()).unwrap().der;
            let at = at % der.len();
            der[at] = to;
            der.truncate(der.len() - cut.min(der.len()) / 8);
            let _read = parse_der(&der);
        }
    }
}
