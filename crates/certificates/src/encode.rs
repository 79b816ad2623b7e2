//! Subjects and certificate requests as DER (RFC 5280, RFC 2986).
//!
//! `rcgen` has one value of a kind in a subject, but a user in two groups has two organizations.

use yasna::{DERWriter, Tag, construct_der, models::ObjectIdentifier};

const COMMON_NAME: &[u64] = &[2, 5, 4, 3];
const ORGANIZATION: &[u64] = &[2, 5, 4, 10];
const ECDSA_WITH_SHA256: &[u64] = &[1, 2, 840, 10045, 4, 3, 2];

/// Writes an object identifier.
pub fn write_oid(writer: DERWriter<'_>, id: &[u64]) {
    writer.write_oid(&ObjectIdentifier::from_slice(id));
}

/// A subject of organizations and a common name, in DER: a user in groups.
#[must_use]
pub fn subject(organizations: &[&str], common_name: &str) -> Vec<u8> {
    construct_der(|writer| {
        writer.write_sequence(|writer| {
            let organizations = organizations.iter().map(|name| (ORGANIZATION, *name));
            for (id, text) in organizations.chain([(COMMON_NAME, common_name)]) {
                writer.next().write_set(|writer| {
                    writer.next().write_sequence(|writer| {
                        write_oid(writer.next(), id);
                        writer.next().write_utf8_string(text);
                    });
                });
            }
        });
    })
}

/// What the sender of a certificate request signs: the subject and the public key
/// (`SubjectPublicKeyInfo`), both in DER.
#[must_use]
pub fn request_to_sign(subject: &[u8], public_key: &[u8]) -> Vec<u8> {
    construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_u8(0);
            writer.next().write_der(subject);
            writer.next().write_der(public_key);
            // No attributes.
            writer
                .next()
                .write_tagged_implicit(Tag::context(0), |writer| writer.write_set(|_| {}));
        });
    })
}

/// A certificate request, in DER, from what was signed with an ECDSA key on the curve P-256.
#[must_use]
pub fn signed_request(signed: &[u8], signature: &[u8]) -> Vec<u8> {
    construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_der(signed);
            writer
                .next()
                .write_sequence(|writer| write_oid(writer.next(), ECDSA_WITH_SHA256));
            let bits = signature.len() * 8;
            writer.next().write_bitvec_bytes(signature, bits);
        });
    })
}
