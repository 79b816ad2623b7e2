//! The CAs of new and of old data directories.

use std::{fs, os::unix::fs::PermissionsExt as _};

use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use rustls::{RootCertStore, client::WebPkiServerVerifier, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};

use super::*;
use x509_parser::prelude::FromDer as _;

fn open(dir: &Path, names: &[String]) -> Pki {
    Pki::open(dir, names, Lifetimes::default()).unwrap()
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn read(dir: &Path, file: &str) -> String {
    fs::read_to_string(dir.join("pki").join(file)).unwrap()
}

/// A request that asks for more than a node gets.
fn request() -> CertificateRequest {
    let key = KeyPair::generate().unwrap();
    let names = vec!["evil.example".into(), "10.0.0.7".into()];
    let mut params = CertificateParams::new(names).unwrap();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "system:masters");
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    pandaemon_certificates::request::parse(pem.as_bytes()).unwrap()
}

fn roots(pems: &[&str]) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for pem in pems {
        roots.add(der(pem)).unwrap();
    }
    Arc::new(roots)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Whether a client may show this certificate to a server that trusts these CAs.
fn is_client(chain: &[&str], cas: &[&str]) -> bool {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(cas), provider());
    let chain: Vec<_> = chain.iter().map(|pem| der(pem)).collect();
    let verified =
        verifier
            .build()
            .unwrap()
            .verify_client_cert(&chain[0], &chain[1..], UnixTime::now());
    verified.is_ok()
}

/// Whether a client that trusts these CAs takes the certificate for that of a server of this name.
fn is_server(certificate: &str, name: &str, cas: &[&str]) -> bool {
    use rustls::client::danger::ServerCertVerifier as _;
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(cas), provider());
    let verified = verifier.build().unwrap().verify_server_cert(
        &der(certificate),
        &[],
        &ServerName::try_from(name.to_owned()).unwrap(),
        &[],
        UnixTime::now(),
    );
    verified.is_ok()
}

#[test]
fn certificates_are_reused_and_renewed_for_new_names() {
    let dir = tempfile::tempdir().unwrap();
    let names = vec!["localhost".to_owned(), "FD00:0::1".to_owned()];
    let first = open(dir.path(), &names);
    let server = read(dir.path(), "server.crt");
    let again = open(dir.path(), &names);
    assert_eq!(first.server_ca(), again.server_ca());
    assert_eq!(server, read(dir.path(), "server.crt"));
    assert_eq!(first.tokens.agent, again.tokens.agent);
    assert!(is_server(&server, "fd00::1", &[first.server_ca()]));
    first.renew().unwrap();
    assert_eq!(server, read(dir.path(), "server.crt"));
    let renewed = open(dir.path(), &names[..1]);
    assert_ne!(server, read(dir.path(), "server.crt"));
    assert_eq!(
        first.admin.borrow().certificate,
        renewed.admin.borrow().certificate
    );
    for file in fs::read_dir(dir.path().join("pki")).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert!(!dir.path().join("pki").join(CROSS_SIGNED).exists());
}

#[test]
fn the_certificate_of_the_administrator_is_renewed_while_the_server_runs() {
    let dir = tempfile::tempdir().unwrap();
    let hour = Lifetimes {
        own: Duration::from_secs(3600),
        ..Lifetimes::default()
    };
    let mut pki = Pki::open(dir.path(), &[], hour).unwrap();
    let first = pki.admin.borrow().clone();
    let follower = pki.admin.subscribe();
    pki.renew().unwrap();
    assert!(!follower.has_changed().unwrap(), "it is new");
    // What has an hour left is in the last third of a year.
    pki.lifetimes = Lifetimes::default();
    pki.renew().unwrap();
    assert!(follower.has_changed().unwrap());
    let second = follower.borrow().clone();
    assert_ne!(
        (&first.certificate, &first.key),
        (&second.certificate, &second.key)
    );
    assert_eq!(second.certificate, read(dir.path(), "admin.crt"));
    assert_eq!(second.key, read(dir.path(), "admin.key"));
    for pair in [&first, &second] {
        assert!(is_client(&[&pair.certificate], &pki.client_cas()));
        let user = ClientCertificate::of(&der(&pair.certificate)).unwrap().user;
        assert_eq!(user, crate::auth::User::admin());
    }
}

#[test]
fn a_node_gets_certificates_with_its_own_name_only() {
    let dir = tempfile::tempdir().unwrap();
    let pki = open(dir.path(), &[]);
    let client = pki.sign_node_client(&request(), "n1", None).unwrap();
    let user = ClientCertificate::of(&der(&client)).unwrap().user;
    assert_eq!(user.node(), Some("n1"));
    assert!(!user.is_in("system:masters"));
    let serving = pki.sign_node_serving(&request(), "n1", None).unwrap();
    let der = der(&serving);
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(names(&parsed), ["n1"]);
    let days = parsed.validity().not_after.timestamp() - jiff::Timestamp::now().as_second();
    assert_eq!((days + 60) / (24 * 3600), 30);
}

#[test]
fn a_certificate_counts_for_its_purpose_only() {
    let dir = tempfile::tempdir().unwrap();
    let pki = open(dir.path(), &["api.example".to_owned()]);
    let client = pki.sign_node_client(&request(), "n1", None).unwrap();
    let serving = pki.sign_node_serving(&request(), "n1", None).unwrap();
    let (clients, agents, servers) = (pki.client_cas(), pki.agent_cas(), [pki.server_ca()]);
    assert!(
        is_client(&[&client], &clients) && is_client(&[&pki.admin.borrow().certificate], &clients)
    );
    assert!(!is_client(&[&serving], &clients));
    assert!(!is_client(&[&read(dir.path(), "server.crt")], &clients));
    assert!(is_server(&serving, "n1", &agents));
    assert!(!is_server(&serving, "n1", &servers));
    assert!(!is_server(&serving, "n2", &agents));
    assert!(!is_server(&client, "n1", &agents));
    assert!(!is_server(
        &read(dir.path(), "server.crt"),
        "api.example",
        &agents
    ));
}

/// Files as they were when one CA was for everything, with certificates of a node.
struct Former {
    node_client: String,
    node_serving: String,
}

impl Former {
    fn write(data: &Path) -> Self {
        let dir = data.join("pki");
        fs::create_dir_all(&dir).unwrap();
        let ca = Ca::create("pandaemon-ca").unwrap();
        ca.write(&dir, "ca").unwrap();
        let pair = files::read_pair(&dir, "ca").unwrap().unwrap();
        let key = KeyPair::from_pem(&pair.key).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&pair.certificate, key).unwrap();
        let leaf = |file: &str, name: &str, usage| {
            let key = KeyPair::generate().unwrap();
            let names = vec!["n1".to_owned(), "127.0.0.1".to_owned()];
            let mut params = CertificateParams::new(names).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![usage];
            let certificate = params.signed_by(&key, &issuer).unwrap().pem();
            let pair = Pair {
                certificate: certificate.clone(),
                key: key.serialize_pem(),
            };
            files::write_pair(&dir, file, &pair).unwrap();
            certificate
        };
        leaf(
            "admin",
            "pandaemon-admin",
            rcgen::ExtendedKeyUsagePurpose::ClientAuth,
        );
        leaf(
            "client",
            "pandaemon-server",
            rcgen::ExtendedKeyUsagePurpose::ClientAuth,
        );
        Self {
            node_client: leaf(
                "n",
                "system:node:n1",
                rcgen::ExtendedKeyUsagePurpose::ClientAuth,
            ),
            node_serving: leaf(
                "s",
                "system:node:n1",
                rcgen::ExtendedKeyUsagePurpose::ServerAuth,
            ),
        }
    }
}

#[test]
fn a_data_directory_of_one_ca_goes_on_without_a_break() {
    let dir = tempfile::tempdir().unwrap();
    let former = Former::write(dir.path());
    let (ca, admin) = (read(dir.path(), "ca.crt"), read(dir.path(), "admin.crt"));
    for _ in 0..2 {
        let pki = open(dir.path(), &["api.example".to_owned()]);
        // Tokens and kubeconfigs name the same CA.
        assert_eq!(pki.server_ca(), ca);
        assert!(is_server(
            &read(dir.path(), "server.crt"),
            "api.example",
            &[&ca]
        ));
        // Certificates of the time before count for their purpose.
        assert!(is_client(&[&former.node_client], &pki.client_cas()));
        assert!(is_client(&[&admin], &pki.client_cas()));
        assert!(!is_client(&[&former.node_serving], &pki.client_cas()));
        assert!(is_server(&former.node_serving, "n1", &pki.agent_cas()));
        assert!(!is_server(&former.node_client, "n1", &pki.agent_cas()));
        // An agent of that time trusts the former CA only, one of today the CA of clients only.
        let client = read(dir.path(), "client.crt");
        let cross = pki.cross_signed.clone().unwrap();
        assert!(is_client(&[&client, &cross], &[&ca]));
        assert!(is_client(&[&client, &cross], &[pki.client_cas()[0]]));
        assert!(!is_client(&[&client], &[&ca]));
        // Nothing new is signed by the former CA but the server's own certificate.
        assert_ne!(read(dir.path(), "admin.crt"), admin);
        let serving = pki.sign_node_serving(&request(), "n1", None).unwrap();
        assert!(!is_server(&serving, "n1", &[&ca]));
    }
}

#[test]
fn certificates_of_all_kinds_of_keys_are_verified() {
    let algorithms = [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ];
    for algorithm in algorithms {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pair = Pair {
            certificate: params.self_signed(&key).unwrap().pem(),
            key: key.serialize_pem(),
        };
        let dir = tempfile::tempdir().unwrap();
        files::write_pair(dir.path(), "ca", &pair).unwrap();
        let ca = Ca::read(dir.path(), "ca").unwrap().unwrap();
        let leaf = Leaf {
            subject: &subject(&["a", "b"], "jane"),
            alternative_names: None,
            usage: Usage::Client,
            lifetime: SignedDuration::from_hours(1),
        };
        let signed = ca.issue(&leaf).unwrap().certificate;
        assert!(is_client(&[&signed], &[&ca.certificate]), "{algorithm:?}");
        let user = ClientCertificate::of(&der(&signed)).unwrap().user;
        assert_eq!(user.groups, ["a", "b", "system:authenticated"]);
    }
}
