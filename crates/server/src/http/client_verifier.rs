//! Verifies the certificates of clients: those of users by the CA of clients, and those of front
//! proxies by theirs.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::pki::{ClientCertificate, FrontProxyCertificate, PeerCertificate};

/// Accepts certificates of two CAs, and says which of them one is of.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    clients: Arc<dyn ClientCertVerifier>,
    front_proxies: Arc<dyn ClientCertVerifier>,
    /// The names of both CAs, for clients that have several certificates.
    names: Vec<DistinguishedName>,
}

impl ClientVerifier {
    /// From a verifier for each CA.
    pub(super) fn new(
        clients: Arc<dyn ClientCertVerifier>,
        front_proxies: Arc<dyn ClientCertVerifier>,
    ) -> Self {
        let names = [&clients, &front_proxies].map(|one| one.root_hint_subjects());
        Self {
            names: names.concat(),
            clients,
            front_proxies,
        }
    }

    /// The certificate of a client that showed this chain; `None` if it names no user.
    ///
    /// The chain is verified once more, as the handshake does not say by which CA. A session that
    /// is resumed has the chain of its beginning, which may have expired since: then it is verified
    /// as of the last moment of its validity, and each request is refused.
    ///
    /// # Errors
    /// When the chain leads to neither CA, or is that of a front proxy without a name.
    pub(super) fn peer(
        &self,
        chain: &[CertificateDer<'_>],
    ) -> Result<Option<PeerCertificate>, Error> {
        let Some((own, others)) = chain.split_first() else {
            return Ok(None);
        };
        let proxy = FrontProxyCertificate::of(own);
        let not_after = proxy.as_ref().map(|proxy| proxy.validity.not_after());
        let now = UnixTime::now();
        let at = not_after.map_or(now, |end| now.min(end));
        if self
            .front_proxies
            .verify_client_cert(own, others, at)
            .is_ok()
        {
            let nameless = Error::InvalidCertificate(CertificateError::BadEncoding);
            let proxy = proxy.ok_or(nameless)?;
            return Ok(Some(PeerCertificate::FrontProxy(proxy)));
        }
        self.clients.verify_client_cert(own, others, at)?;
        Ok(ClientCertificate::of(own).map(PeerCertificate::Client))
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let proxy = self.front_proxies.verify_client_cert(own, others, now);
        proxy.or_else(|_| self.clients.verify_client_cert(own, others, now))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients.verify_tls12_signature(message, own, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients.verify_tls13_signature(message, own, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.clients.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
        KeyPair, date_time_ymd,
    };
    use rustls::{RootCertStore, crypto::ring, server::WebPkiClientVerifier};

    use super::*;
    use crate::auth::Caller;

    type Signer = Issuer<'static, KeyPair>;

    fn params(name: &str, is_ca: bool) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        } else {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }
        params
    }

    fn ca(name: &str) -> (CertificateDer<'static>, Signer) {
        let key = KeyPair::generate().unwrap();
        let params = params(name, true);
        let certificate = params.self_signed(&key).unwrap();
        (certificate.der().clone(), Issuer::new(params, key))
    }

    fn leaf(params: &CertificateParams, signer: &Signer) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, signer).unwrap().der().clone()
    }

    fn verifier(of: &CertificateDer<'static>) -> Arc<dyn ClientCertVerifier> {
        let mut roots = RootCertStore::empty();
        roots.add(of.clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap()
    }

    #[test]
    fn the_ca_decides_what_a_certificate_is_also_after_its_end() {
        // Even the names of the CAs are the same.
        let (clients, fronts) = (ca("ca"), ca("ca"));
        let other = ca("ca");
        let verifier = ClientVerifier::new(verifier(&clients.0), verifier(&fronts.0));
        let shown = |chain: &[CertificateDer<'static>]| match verifier.peer(chain) {
            Ok(Some(peer)) => match peer.caller() {
                Caller::User(user) => format!("user {}", user.name),
                Caller::FrontProxy(name) => format!("proxy {name}"),
                Caller::Unknown => "unknown".to_owned(),
            },
            Ok(None) => "none".to_owned(),
            Err(_) => "refused".to_owned(),
        };
        let accepted = |chain: &[CertificateDer<'static>]| {
            let now = UnixTime::now();
            verifier
                .verify_client_cert(&chain[0], &chain[1..], now)
                .is_ok()
        };
        let valid = params("a", false);
        let mut expired = params("a", false);
        expired.not_before = date_time_ymd(2020, 1, 1);
        expired.not_after = date_time_ymd(2021, 1, 1);
        for (signer, params, expected, is_accepted) in [
            (&clients.1, &valid, "user a", true),
            (&fronts.1, &valid, "proxy a", true),
            (&other.1, &valid, "refused", false),
            (&clients.1, &expired, "user a", false),
            (&fronts.1, &expired, "proxy a", false),
            (&other.1, &expired, "refused", false),
        ] {
            let chain = [leaf(params, signer)];
            assert_eq!(
                (shown(&chain).as_str(), accepted(&chain)),
                (expected, is_accepted)
            );
        }
        assert_eq!(shown(&[]), "none");
        // A proxy without a name is not taken for a client without one, who may be anonymous.
        let mut nameless = params("", false);
        nameless.distinguished_name = rcgen::DistinguishedName::new();
        assert_eq!(shown(&[leaf(&nameless, &fronts.1)]), "refused");
        assert_eq!(shown(&[leaf(&nameless, &clients.1)]), "none");
    }

    #[test]
    fn a_chain_over_an_intermediate_ca_is_of_the_ca_that_it_leads_to() {
        let (clients, fronts) = (ca("client-ca"), ca("front-proxy-ca"));
        let verifier = ClientVerifier::new(verifier(&clients.0), verifier(&fronts.0));
        let key = KeyPair::generate().unwrap();
        let between = params("between", true);
        let certificate = between.signed_by(&key, &fronts.1).unwrap().der().clone();
        let chain = [
            leaf(&params("a", false), &Issuer::new(between, key)),
            certificate,
        ];
        let peer = verifier.peer(&chain).unwrap().unwrap();
        assert!(matches!(peer.caller(), Caller::FrontProxy(name) if name == "a"));
    }
}
