//! What each party may do at the kubelet server. Every cell of `rights/table.txt` is a request over
//! TLS to the server of an agent whose node has joined a real API server, which decides.

use std::{fs, net::Ipv4Addr, sync::Arc};

use http::{HeaderMap, HeaderValue, Request};
use kube::config::AuthInfo;
use pandaemon_cri::FakeRuntime;
use pandaemon_runtime::Shutdown;
use pandaemon_testkit::{
    Server,
    join::join,
    parties::{self, Parties, Party},
    rights_table,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{node, streams::serve_streams};
use crate::{
    api::{
        certificates::Certificates,
        identity::{Identity, identity_scope},
    },
    clock::Clock,
    config::{Config, Paths},
    host::tmpfs::Tmpfs,
    pod_workers::PodWorkers,
    server::KubeletServer,
    tls,
};

const TABLE: &str = include_str!("rights/table.txt");
/// The node of the agent.
const NODE: &str = "node-d";
const PODS: &str = "/api/v1/namespaces/default/pods";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// An agent whose node has joined, and which runs the pod `p`.
struct Agent {
    /// The kubelet server as its clients know it.
    config: kube::Config,
    /// The client certificate of the node.
    credentials: AuthInfo,
    shutdown: Shutdown,
    _dir: tempfile::TempDir,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

impl Agent {
    async fn start(server: &Server) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let running = server.running();
        let url = format!("https://{}", running.address());
        let data = dir.path().join("data");
        let config = Config::new(&url, &running.agent_token(), NODE, &data);
        let paths = Paths::new(&config);
        let address = Ipv4Addr::LOCALHOST.into();
        let joined = join(server, NODE).await;
        let identity = Identity::new(paths.identity());
        for (name, text) in [
            ("ca.crt", &running.ca_pem()),
            ("client-ca.crt", &joined.client_cas),
            ("client.crt", &joined.client),
            ("client.key", &joined.key),
            ("serving.crt", &joined.serving),
            ("serving.key", &joined.key),
            ("subject", &identity_scope(NODE, address, "")),
        ] {
            identity.write(name, text).unwrap();
        }
        let certificates = Certificates::new(&config, identity, address).unwrap();
        let shutdown = Shutdown::default();
        let runtime = FakeRuntime::with_images(&["image:1"]);
        serve_streams(runtime.clone()).await;
        let context = node::context(
            certificates.client(),
            config,
            &runtime,
            Clock::System,
            Tmpfs::Recorded(Arc::default()),
            &shutdown,
        );
        let pods = PodWorkers::start(Arc::clone(&context), shutdown.clone());
        run_pod(server, &paths).await;
        let tls = certificates.serving();
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let address = listener.local_addr().unwrap();
        let run = Arc::new(KubeletServer { tls }).run(context, pods, listener);
        pandaemon_runtime::spawn("kubelet server", async move {
            run.await;
            drop(certificates);
        });
        let ca = fs::read_to_string(server.data_dir().join("pki/agent-ca.crt")).unwrap();
        let mut config = kube::Config::new(format!("https://{address}").parse().unwrap());
        config.root_cert = Some(vec![tls::first_certificate(&ca).unwrap().to_vec()]);
        config.tls_server_name = Some(NODE.to_owned());
        Self {
            config,
            credentials: parties::certificate(&joined.client, &joined.key),
            shutdown,
            _dir: dir,
        }
    }
}

/// Creates the pod, waits until it runs, and writes its log, as a runtime does.
async fn run_pod(server: &Server, paths: &Paths) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {
            "nodeName": NODE, "automountServiceAccountToken": false,
            "containers": [{"name": "c", "image": "image:1", "imagePullPolicy": "IfNotPresent"}],
        },
    });
    server.create(PODS, pod).await;
    let runs = |pod: &Value| pod["status"]["phase"] == "Running";
    let pod = server.until(&format!("{PODS}/p"), runs).await;
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let logs = paths.pod_logs("default", "p", uid).join("c");
    fs::create_dir_all(&logs).unwrap();
    fs::write(logs.join("0.log"), "").unwrap();
}

/// Lets a user, or a service account of the namespace `default`, use these subresources of Nodes.
async fn grant(server: &Server, kind: &str, name: &str, rule: Value) {
    let group = "rbac.authorization.k8s.io";
    let object = |kind: &str| json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": name}});
    let mut role = object("ClusterRole");
    role["rules"] = json!([rule]);
    server.create(&format!("{RBAC}/clusterroles"), role).await;
    let mut binding = object("ClusterRoleBinding");
    binding["roleRef"] = json!({"apiGroup": group, "kind": "ClusterRole", "name": name});
    binding["subjects"] = match kind {
        "User" => json!([{"apiGroup": group, "kind": kind, "name": name}]),
        _ => json!([{"kind": kind, "name": name, "namespace": "default"}]),
    };
    server
        .create(&format!("{RBAC}/clusterrolebindings"), binding)
        .await;
}

/// Those whom roles let use the kubelet server, and the API server.
async fn with_rights(server: &Server) -> Vec<Party> {
    let rule = |resources: &[&str], verbs: &[&str]| json!({"apiGroups": [""], "resources": resources, "verbs": verbs});
    let all = ["nodes/proxy", "nodes/metrics", "nodes/log", "nodes/stats"];
    let mut one_node = rule(&all, &["*"]);
    one_node["resourceNames"] = json!(["node-a"]);
    let mut found = Vec::new();
    for (name, rule) in [
        ("scraper", rule(&["nodes/metrics"], &["get"])),
        ("log-stats", rule(&["nodes/log", "nodes/stats"], &["get"])),
        ("proxy-get", rule(&["nodes/proxy"], &["get"])),
        ("of-node-a", one_node),
    ] {
        grant(server, "User", name, rule).await;
        let credentials = parties::user(server, name).await;
        found.push(Party { name, credentials });
    }
    let name = "prometheus";
    parties::create_account(server, name).await;
    let rule = rule(&["nodes/metrics"], &["get"]);
    grant(server, "ServiceAccount", name, rule).await;
    let credentials = parties::account_token(server, name).await;
    found.push(Party { name, credentials });
    let read = |name: &str| fs::read_to_string(server.data_dir().join("pki").join(name)).unwrap();
    found.push(Party {
        name: "api-server",
        credentials: parties::certificate(&read("client.crt"), &read("client.key")),
    });
    found
}

/// The request of a verb and a path.
fn request(verb: &str, path: &str) -> Request<Vec<u8>> {
    let (method, headers): (_, &[(&str, &str)]) = match verb {
        "impersonate" => (
            "GET",
            &[
                ("impersonate-user", "pandaemon-admin"),
                ("impersonate-group", "system:masters"),
                ("x-remote-user", "pandaemon-admin"),
                ("x-remote-group", "system:masters"),
            ],
        ),
        "upgrade" => (
            "GET",
            &[
                ("connection", "upgrade"),
                ("upgrade", "websocket"),
                ("sec-websocket-version", "13"),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ("sec-websocket-protocol", "v5.channel.k8s.io"),
            ],
        ),
        method => (method, &[]),
    };
    let mut request = Request::builder()
        .method(method.to_uppercase().as_str())
        .uri(path)
        .body(Vec::new())
        .unwrap();
    let headers = headers.iter().map(|(name, value)| {
        let name = http::HeaderName::from_static(name);
        (name, HeaderValue::from_static(value))
    });
    *request.headers_mut() = HeaderMap::from_iter(headers);
    request
}

#[tokio::test]
async fn every_party_may_do_at_the_kubelet_server_what_the_table_says() {
    let Parties {
        server,
        all: mut parties,
        ..
    } = Parties::new().await;
    let agent = Agent::start(&server).await;
    parties.push(Party {
        name: "itself",
        credentials: agent.credentials.clone(),
    });
    parties.extend(with_rights(&server).await);
    let request = async |verb: &str, path: &str| request(verb, path);
    let rows = rights_table::check(TABLE, &parties, &agent.config, request).await;
    assert!(rows > 40, "only {rows} requests");
}
