//! Assembles and signs certificates (X.509 version 3, RFC 5280).
//!
//! `rcgen` has one value of a kind in a subject, but a user in two groups has two organizations. So
//! the subject and the key of a request are taken byte for byte, as upstream's signer does.

use std::net::IpAddr;

use jiff::{Timestamp, tz::TimeZone};
use pandaemon_certificates::encode::write_oid;
use rcgen::{KeyPair, SigningKey as _};
use yasna::{
    DERWriter, Tag, construct_der,
    tags::{TAG_GENERALIZEDTIME, TAG_UTCTIME},
};

use super::{Result, unusable};

const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const ALTERNATIVE_NAMES: &[u64] = &[2, 5, 29, 17];
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const AUTHORITY_KEY: &[u64] = &[2, 5, 29, 35];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
const SERVER_AUTH: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 1];
const CLIENT_AUTH: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 2];

/// The bits of the key usage: digital signature, and key encipherment (RSA without forward
/// secrecy).
const DIGITAL_SIGNATURE: u8 = 0b1000_0000;
const KEY_ENCIPHERMENT: u8 = 0b0010_0000;
/// The length of the key usage in bits, with both.
const KEY_USAGE_BITS: usize = 3;

/// What a certificate is for. No certificate is for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usage {
    /// Its holder is a client.
    Client,
    /// Its holder is a server.
    Server,
}

/// What a certificate says.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    /// The subject, in DER.
    pub subject: &'a [u8],
    /// The public key (`SubjectPublicKeyInfo`), in DER.
    pub public_key: &'a [u8],
    /// The alternative names, in DER.
    pub alternative_names: Option<&'a [u8]>,
    /// What it is for.
    pub usage: Usage,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// To when it is valid.
    pub not_after: Timestamp,
}

/// Who signs certificates.
pub(super) struct Issuer {
    /// The subject of its certificate, in DER.
    pub name: Vec<u8>,
    /// The identifier of its key, if its certificate has one.
    pub key_identifier: Option<Vec<u8>>,
    /// With what it signs.
    pub key: KeyPair,
}

impl Issuer {
    /// Signs a certificate, which is returned in DER.
    ///
    /// # Errors
    /// For a key of a kind that this server does not know.
    pub(super) fn sign(&self, contents: &Contents<'_>) -> Result<Vec<u8>> {
        let algorithm = self.algorithm()?;
        let unsigned = construct_der(|writer| self.write(writer, &algorithm, contents));
        let signature = self.key.sign(&unsigned).map_err(unusable)?;
        Ok(construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_der(&unsigned);
                writer.next().write_der(&algorithm);
                let bits = signature.len() * 8;
                writer.next().write_bitvec_bytes(&signature, bits);
            });
        }))
    }

    /// The algorithm of the signature, in DER.
    fn algorithm(&self) -> Result<Vec<u8>> {
        let found = self.key.algorithm();
        let known: [(&rcgen::SignatureAlgorithm, &[u64], bool); 4] = [
            (
                &rcgen::PKCS_ECDSA_P256_SHA256,
                &[1, 2, 840, 10045, 4, 3, 2],
                false,
            ),
            (
                &rcgen::PKCS_ECDSA_P384_SHA384,
                &[1, 2, 840, 10045, 4, 3, 3],
                false,
            ),
            (&rcgen::PKCS_ED25519, &[1, 3, 101, 112], false),
            (
                &rcgen::PKCS_RSA_SHA256,
                &[1, 2, 840, 113_549, 1, 1, 11],
                true,
            ),
        ];
        let Some((_, id, has_null)) = known.into_iter().find(|(known, ..)| *known == found) else {
            let text = "the key of a CA is neither ECDSA (P-256, P-384), Ed25519 nor RSA";
            return Err(unusable(text));
        };
        Ok(construct_der(|writer| {
            writer.write_sequence(|writer| {
                write_oid(writer.next(), id);
                if has_null {
                    writer.next().write_null();
                }
            });
        }))
    }

    fn write(&self, writer: DERWriter<'_>, algorithm: &[u8], contents: &Contents<'_>) {
        writer.write_sequence(|writer| {
            // Version 3.
            writer
                .next()
                .write_tagged(Tag::context(0), |writer| writer.write_u8(2));
            let serial = uuid::Uuid::new_v4().into_bytes();
            writer.next().write_bigint_bytes(&serial, true);
            writer.next().write_der(algorithm);
            writer.next().write_der(&self.name);
            writer.next().write_sequence(|writer| {
                write_time(writer.next(), contents.not_before);
                write_time(writer.next(), contents.not_after);
            });
            writer.next().write_der(contents.subject);
            writer.next().write_der(contents.public_key);
            writer.next().write_tagged(Tag::context(3), |writer| {
                writer.write_sequence(|writer| {
                    self.write_extensions(contents, |id, critical, value| {
                        write_extension(writer.next(), id, critical, value);
                    });
                });
            });
        });
    }

    /// Calls `write` with identifier, criticality and value of each extension.
    fn write_extensions(
        &self,
        contents: &Contents<'_>,
        mut write: impl FnMut(&[u64], bool, &[u8]),
    ) {
        let usage = construct_der(|writer| {
            writer.write_bitvec_bytes(&[DIGITAL_SIGNATURE | KEY_ENCIPHERMENT], KEY_USAGE_BITS);
        });
        write(KEY_USAGE, true, &usage);
        let usage = construct_der(|writer| {
            writer.write_sequence(|writer| {
                let id = match contents.usage {
                    Usage::Client => CLIENT_AUTH,
                    Usage::Server => SERVER_AUTH,
                };
                write_oid(writer.next(), id);
            });
        });
        write(EXTENDED_KEY_USAGE, false, &usage);
        // Not the certificate of a CA: that is the default.
        write(
            BASIC_CONSTRAINTS,
            true,
            &construct_der(|writer| writer.write_sequence(|_| ())),
        );
        if let Some(identifier) = &self.key_identifier {
            let value = construct_der(|writer| {
                writer.write_sequence(|writer| {
                    writer
                        .next()
                        .write_tagged_implicit(Tag::context(0), |writer| {
                            writer.write_bytes(identifier);
                        });
                });
            });
            write(AUTHORITY_KEY, false, &value);
        }
        if let Some(names) = contents.alternative_names {
            write(ALTERNATIVE_NAMES, false, names);
        }
    }
}

fn write_extension(writer: DERWriter<'_>, id: &[u64], critical: bool, value: &[u8]) {
    writer.write_sequence(|writer| {
        write_oid(writer.next(), id);
        if critical {
            writer.next().write_bool(true);
        }
        writer.next().write_bytes(value);
    });
}

/// A time with seconds: in the short form before 2050, as RFC 5280 wants it.
fn write_time(writer: DERWriter<'_>, time: Timestamp) {
    let time = time.to_zoned(TimeZone::UTC);
    let (tag, form) = match time.year() {
        ..2050 => (TAG_UTCTIME, "%y%m%d%H%M%SZ"),
        _ => (TAG_GENERALIZEDTIME, "%Y%m%d%H%M%SZ"),
    };
    let text = time.strftime(form).to_string();
    writer.write_tagged_implicit(tag, |writer| writer.write_bytes(text.as_bytes()));
}

/// Alternative names, in DER: each is an IP address or a DNS name.
pub(super) fn alternative_names(names: &[String]) -> Vec<u8> {
    construct_der(|writer| {
        writer.write_sequence(|writer| {
            for name in names {
                let (tag, value) = match name.parse() {
                    Ok(IpAddr::V4(address)) => (7, address.octets().to_vec()),
                    Ok(IpAddr::V6(address)) => (7, address.octets().to_vec()),
                    Err(_) => (2, name.clone().into_bytes()),
                };
                writer
                    .next()
                    .write_tagged_implicit(Tag::context(tag), |writer| writer.write_bytes(&value));
            }
        });
    })
}
