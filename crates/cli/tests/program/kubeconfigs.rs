//! `pandaemon kubeconfig`, and the end of what it made.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use http::Request;
use kube::{
    Client, Config,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
};
use pandaemon_testkit::ServerProcess;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};

use crate::process::{PROGRAM, program};

const TIMEOUT: Duration = Duration::from_secs(20);

async fn client(kubeconfig: &str) -> (Config, Client) {
    let file = Kubeconfig::from_yaml(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(file, &options)
        .await
        .unwrap();
    (config.clone(), Client::try_from(config).unwrap())
}

async fn code(client: &Client, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string().into_bytes()))
        .unwrap();
    let response = client.send(request).await.unwrap();
    let code = response.status().as_u16();
    let body = http_body_util::BodyExt::collect(response.into_body()).await;
    let body = body.unwrap().to_bytes();
    (code, serde_json::from_slice(&body).unwrap_or_default())
}

/// The serial number of the client certificate of a kubeconfig, as `openssl` prints it.
fn serial(kubeconfig: &str) -> String {
    use base64::Engine as _;
    let file = Kubeconfig::from_yaml(kubeconfig).unwrap();
    let user = file.auth_infos[0].auth_info.as_ref().unwrap();
    let data = user.client_certificate_data.as_ref().unwrap();
    let pem = base64::engine::general_purpose::STANDARD
        .decode(data)
        .unwrap();
    let der = CertificateDer::from_pem_slice(&pem).unwrap();
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
    certificate.raw_serial_as_string().to_uppercase()
}

/// A control plane with all controllers.
fn start(folder: &Path, flags: &[&str]) -> ServerProcess {
    ServerProcess::start(Path::new(PROGRAM), folder, flags).unwrap()
}

/// Waits until a request is answered with this code.
async fn until_answered(client: &Client, path: &str, expected: u16) {
    let begun = Instant::now();
    loop {
        let (found, body) = code(client, "GET", path, &Value::Null).await;
        if found == expected {
            return;
        }
        assert!(
            begun.elapsed() < TIMEOUT,
            "{found} instead of {expected}: {body}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn made(admin: &Path, arguments: &[&str]) -> std::process::Output {
    let mut command = program();
    command
        .arg("kubeconfig")
        .args(arguments)
        .arg("--kubeconfig")
        .arg(admin);
    command.output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kubeconfig_has_the_rights_of_its_roles_until_its_serial_number_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let revoked = folder.path().join("revoked");
    std::fs::write(&revoked, "# none yet\n").unwrap();
    let flags = ["--client-revoked-serials-file", revoked.to_str().unwrap()];
    let server = start(folder.path(), &flags);
    let admin = std::fs::read_to_string(server.kubeconfig()).unwrap();
    let (_, admin) = client(&admin).await;

    let output = made(
        server.kubeconfig(),
        &[
            "--user", "jane", "--group", "dev", "--group", "ops", "--ttl", "1h",
        ],
    );
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, jane) = client(&text).await;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let reviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let (_, who) = code(&jane, "POST", reviews, &review).await;
    let user = json!({"username": "jane", "groups": ["dev", "ops", "system:authenticated"]});
    assert_eq!(who["status"]["userInfo"], user);
    let pods = "/api/v1/namespaces/default/pods";
    assert_eq!(code(&jane, "GET", pods, &Value::Null).await.0, 403);
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "ops"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "ops"}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    assert_eq!(code(&admin, "POST", bindings, &binding).await.0, 201);
    until_answered(&jane, pods, 200).await;
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let (_, left) = code(&admin, "GET", requests, &Value::Null).await;
    assert_eq!(left["items"], json!([]), "the request is cleaned up");

    // Open connections end, too.
    std::fs::write(&revoked, format!("serial={}\n", serial(&text))).unwrap();
    until_answered(&jane, pods, 401).await;
    assert_eq!(code(&admin, "GET", pods, &Value::Null).await.0, 200);
}

#[test]
fn a_kubeconfig_is_never_one_of_the_administrator() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &[]);
    let file = folder.path().join("jane");
    let path = file.to_str().unwrap();
    let output = made(server.kubeconfig(), &["--user", "jane", "--output", path]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    for (arguments, expected) in [
        (
            &["--user", "eve", "--group", "system:masters"][..],
            "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed",
        ),
        (
            &["--user", "eve", "--ttl", "5m"],
            "--ttl must be between 10m and 8760h (a year)",
        ),
    ] {
        let output = made(server.kubeconfig(), arguments);
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(expected), "{text}");
    }
}
