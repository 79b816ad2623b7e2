//! `pandaemon kubeconfig`: a kubeconfig with a client certificate for a person or a program.
//!
//! The certificate comes by a CertificateSigningRequest, which this command creates and approves.
//! So it works with any cluster whose administrator's kubeconfig is at hand. The key is written to
//! the new kubeconfig only.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use pandaemon_certificates::encode;
use pandaemon_client::{connect, rest::Rest};
use pandaemon_runtime::files::replace_private;
use pandaemon_server::kubeconfig;
use pandaemon_types::time::rfc3339_seconds;
use pem::Pem;
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};

use crate::{
    args::KubeconfigArgs,
    progress::{print_result, print_status},
};

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const SIGNER: &str = "kubernetes.io/kube-apiserver-client";
/// The shortest life of a certificate that the API accepts.
const SHORTEST: Duration = Duration::from_secs(600);
/// The longest life that a server of ours signs for.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
/// How often, and how many times, it is looked whether the certificate is there.
const PAUSE: Duration = Duration::from_millis(200);
const LOOKS: u32 = 150;

/// Makes the kubeconfig.
pub(crate) async fn run(args: KubeconfigArgs) -> anyhow::Result<()> {
    ensure!(
        (SHORTEST..=LONGEST).contains(&args.ttl),
        "--ttl must be between 10m and 8760h (a year)"
    );
    let config = connect::config(Some(&args.cluster.kubeconfig), None).await?;
    let roots = config.root_cert.clone().unwrap_or_default();
    let roots = roots.into_iter().map(|der| Pem::new("CERTIFICATE", der));
    let ca = pem::encode_many(&roots.collect::<Vec<_>>());
    let server = match &args.server {
        Some(server) => server.clone(),
        None => config.cluster_url.to_string(),
    };
    let server = server.trim_end_matches('/');
    let rest = Rest::new(connect::direct(config)?);
    let key = KeyPair::generate().context("make a key")?;
    let certificate = certificate(&rest, &args, &key).await?;
    let text = kubeconfig(server, &ca, &args.user, &certificate, &key.serialize_pem());
    match &args.output {
        None => print_result(text.trim_end()),
        Some(path) => {
            replace_private(path, text.as_bytes())
                .with_context(|| format!("write {}", path.display()))?;
            print_status(&format!("  ok  {} acts as {}", path.display(), args.user));
        }
    }
    print_status("      It has the rights of the roles that are bound to the user and its groups");
    Ok(())
}

/// Asks for a certificate of the key, approves that, and waits for it.
async fn certificate(rest: &Rest, args: &KubeconfigArgs, key: &KeyPair) -> anyhow::Result<String> {
    let made: Value = rest
        .create(REQUESTS, &request(args, key)?)
        .await
        .context("ask for the certificate")?;
    let name = made["metadata"]["name"].as_str().unwrap_or_default();
    let path = format!("{REQUESTS}/{name}");
    let outcome = issued(rest, &path, made.clone()).await;
    // Also after a failure: nobody else waits for it.
    let deleted = rest.delete(&path, &json!({})).await;
    let certificate = outcome?;
    deleted.with_context(|| format!("delete the certificate request {name}"))?;
    Ok(certificate)
}

async fn issued(rest: &Rest, path: &str, mut request: Value) -> anyhow::Result<String> {
    let now = rfc3339_seconds(Timestamp::now());
    request["status"]["conditions"] = json!([{
        "type": "Approved", "status": "True", "reason": "PandaemonKubeconfig",
        "message": "approved by whoever asked for the kubeconfig",
        "lastUpdateTime": now, "lastTransitionTime": now,
    }]);
    let _approved: Value = rest
        .replace(&format!("{path}/approval"), &request)
        .await
        .context("approve the certificate request")?;
    for _ in 0..LOOKS {
        let request: Option<Value> = rest.get(path).await.context("read the request")?;
        let status = &request.unwrap_or_default()["status"];
        if let Some(certificate) = status["certificate"].as_str() {
            let pem = STANDARD
                .decode(certificate)
                .context("read the certificate")?;
            return String::from_utf8(pem).context("read the certificate");
        }
        let conditions = status["conditions"].as_array().into_iter().flatten();
        let mut failed = conditions.filter(|one| one["type"] == "Failed");
        if let Some(failed) = failed.next() {
            bail!("the certificate was not signed: {}", failed["message"]);
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("nobody has signed the certificate: is the controller csrsigning running?")
}

fn request(args: &KubeconfigArgs, key: &KeyPair) -> anyhow::Result<Value> {
    let groups: Vec<&str> = args.groups.iter().map(String::as_str).collect();
    let subject = encode::subject(&groups, &args.user);
    let to_sign = encode::request_to_sign(&subject, &key.subject_public_key_info());
    let signature = key.sign(&to_sign).context("sign the request")?;
    let der = encode::signed_request(&to_sign, &signature);
    let pem = pem::encode(&Pem::new("CERTIFICATE REQUEST", der));
    Ok(json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "kubeconfig-"},
        "spec": {
            "request": STANDARD.encode(pem),
            "signerName": SIGNER,
            "usages": ["digital signature", "client auth"],
            "expirationSeconds": args.ttl.as_secs(),
        },
    }))
}
