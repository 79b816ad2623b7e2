//! The signers of `kubernetes.io`, and what they demand. Upstream:
//! `pkg/apis/certificates/helpers.go` and `pkg/controller/certificates/signer`.

use std::collections::BTreeSet;

use crate::CertificateRequest;

/// Signs certificates of clients of the API server. Never approved by itself.
pub const KUBE_APISERVER_CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// Signs certificates of node agents as clients of the API server.
pub const KUBE_APISERVER_CLIENT_KUBELET: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Signs certificates with which node agents serve.
pub const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
/// Stands for all signers of the time before there were names. Not allowed, and not signed.
pub const LEGACY_UNKNOWN: &str = "kubernetes.io/legacy-unknown";

/// The group of node agents, which their certificates name as the organization.
pub const NODES: &str = "system:nodes";
/// What precedes the node's name in the user name of its agent.
pub const NODE_USER: &str = "system:node:";

const DIGITAL_SIGNATURE: &str = "digital signature";
const KEY_ENCIPHERMENT: &str = "key encipherment";
const CLIENT_AUTH: &str = "client auth";
const SERVER_AUTH: &str = "server auth";

/// Why a request is not one for that signer. The texts are upstream's.
pub type Reason = &'static str;

/// The node whose client certificate this request is for. Upstream: `ValidateKubeletClientCSR`.
///
/// # Errors
/// Why it is no such request.
pub fn kubelet_client<'a>(
    request: &'a CertificateRequest,
    usages: &[String],
) -> Result<&'a str, Reason> {
    check_organization(request)?;
    let names = [
        (
            request.dns_names.is_empty(),
            "DNS subjectAltNames are not allowed",
        ),
        (
            request.email_addresses.is_empty(),
            "Email subjectAltNames are not allowed",
        ),
        (
            request.ip_addresses.is_empty(),
            "IP subjectAltNames are not allowed",
        ),
        (
            request.uris.is_empty(),
            "URI subjectAltNames are not allowed",
        ),
    ];
    if let Some((_, why)) = names.into_iter().find(|(is_empty, _)| !is_empty) {
        return Err(why);
    }
    let node = node(request)?;
    match are(usages, CLIENT_AUTH) {
        true => Ok(node),
        false => Err("usages did not match [client auth digital signature key encipherment]"),
    }
}

/// The node whose serving certificate this request is for. Upstream: `ValidateKubeletServingCSR`.
///
/// # Errors
/// Why it is no such request.
pub fn kubelet_serving<'a>(
    request: &'a CertificateRequest,
    usages: &[String],
) -> Result<&'a str, Reason> {
    check_organization(request)?;
    if request.dns_names.is_empty() && request.ip_addresses.is_empty() {
        return Err("DNS or IP subjectAltName is required");
    }
    if !request.email_addresses.is_empty() {
        return Err("Email subjectAltNames are not allowed");
    }
    if !request.uris.is_empty() {
        return Err("URI subjectAltNames are not allowed");
    }
    if !are(usages, SERVER_AUTH) {
        return Err("usages did not match [digital signature key encipherment server auth]");
    }
    node(request)
}

/// Checks a request for a client certificate. Upstream: `validAPIServerClientUsages`.
///
/// # Errors
/// Why it is no such request.
pub fn client(usages: &[String]) -> Result<(), Reason> {
    let allowed = [DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, CLIENT_AUTH];
    if let Some(_other) = usages
        .iter()
        .find(|usage| !allowed.contains(&usage.as_str()))
    {
        return Err(
            "only the usages client auth, digital signature and key encipherment are allowed",
        );
    }
    match usages.iter().any(|usage| usage == CLIENT_AUTH) {
        true => Ok(()),
        false => Err("the usage client auth is required"),
    }
}

fn check_organization(request: &CertificateRequest) -> Result<(), Reason> {
    match request.organizations.as_slice() {
        [only] if only == NODES => Ok(()),
        _ => Err("subject organization is not system:nodes"),
    }
}

fn node(request: &CertificateRequest) -> Result<&str, Reason> {
    request
        .common_name
        .strip_prefix(NODE_USER)
        .ok_or("subject common name does not begin with system:node:")
}

/// Whether the usages are this one and digital signature, with key encipherment or without.
fn are(usages: &[String], auth: &str) -> bool {
    let found: BTreeSet<&str> = usages.iter().map(String::as_str).collect();
    let least = BTreeSet::from([DIGITAL_SIGNATURE, auth]);
    let most = BTreeSet::from([DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, auth]);
    found == least || found == most
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn request(change: impl FnOnce(&mut CertificateRequest)) -> CertificateRequest {
        let mut request = CertificateRequest {
            common_name: "system:node:n1".into(),
            organizations: vec![NODES.into()],
            ..CertificateRequest::default()
        };
        change(&mut request);
        request
    }

    fn usages(all: &[&str]) -> Vec<String> {
        all.iter().map(|&usage| usage.to_owned()).collect()
    }

    #[test]
    fn requests_of_nodes_are_known_by_subject_names_and_usages() {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let client = usages(&[CLIENT_AUTH, DIGITAL_SIGNATURE]);
        let serving = usages(&[DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, SERVER_AUTH]);
        let plain = request(|_| ());
        let named = request(|request| request.dns_names = vec!["n1".into()]);
        assert_eq!(kubelet_client(&plain, &client), Ok("n1"));
        assert_eq!(kubelet_serving(&named, &serving), Ok("n1"));
        let table = [
            (named, client.clone(), "DNS subjectAltNames are not allowed"),
            (
                request(|request| request.ip_addresses = vec![address]),
                client.clone(),
                "IP subjectAltNames are not allowed",
            ),
            (
                request(|request| request.organizations.push("system:masters".into())),
                client.clone(),
                "subject organization is not system:nodes",
            ),
            (
                request(|request| request.common_name = "n1".into()),
                client.clone(),
                "subject common name does not begin with system:node:",
            ),
            (
                plain.clone(),
                serving.clone(),
                "usages did not match [client auth digital signature key encipherment]",
            ),
        ];
        for (request, usages, why) in table {
            assert_eq!(kubelet_client(&request, &usages), Err(why));
        }
        let table = [
            (
                plain,
                serving.clone(),
                "DNS or IP subjectAltName is required",
            ),
            (
                request(|request| {
                    request.dns_names = vec!["n1".into()];
                    request.uris = vec!["x:y".into()];
                }),
                serving,
                "URI subjectAltNames are not allowed",
            ),
            (
                request(|request| request.dns_names = vec!["n1".into()]),
                client,
                "usages did not match [digital signature key encipherment server auth]",
            ),
        ];
        for (request, usages, why) in table {
            assert_eq!(kubelet_serving(&request, &usages), Err(why));
        }
    }

    #[test]
    fn client_certificates_are_for_clients_only() {
        assert!(client(&usages(&[CLIENT_AUTH])).is_ok());
        assert!(client(&usages(&[DIGITAL_SIGNATURE])).is_err());
        assert!(client(&usages(&[CLIENT_AUTH, SERVER_AUTH])).is_err());
    }
}
