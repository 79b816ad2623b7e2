//! Watches that go on after the server was stopped or killed, over TLS, as those of client-go's
//! reflector do.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use pandaemon_store::{Embedded, Options, Store as _};
use pandaemon_testkit::ServerOptions;
use serde_json::{Value, json};

use crate::harness::{Server, json_of};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
/// How long a client waits for an event.
const LIMIT: Duration = Duration::from_secs(30);

/// Copies a directory and what is below it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(file.file_name());
        match file.file_type().unwrap().is_dir() {
            true => copy(&file.path(), &target),
            false => drop(fs::copy(file.path(), target).unwrap()),
        }
    }
}

/// A server on a store of which the files stay, as its certificates do: a start without news writes
/// nothing.
struct Life {
    server: Server,
    client: kube::Client,
    store: Arc<Embedded>,
}

impl Life {
    async fn start(directory: &Path) -> Self {
        let store = Arc::new(Embedded::open(directory, Options::default()).unwrap());
        let data_dir = tempfile::tempdir().unwrap();
        let kept = directory.with_extension("data");
        if kept.exists() {
            copy(&kept, data_dir.path());
        }
        let options = ServerOptions {
            data_dir: Some(data_dir),
            store: Some(Arc::clone(&store) as _),
            ..ServerOptions::default()
        };
        let server = Server::start_with(options).await.unwrap();
        Self {
            client: server.tls_client().await.unwrap(),
            server,
            store,
        }
    }

    /// Stops it. Returns where the next one starts.
    async fn stop(mut self, directory: &Path) -> PathBuf {
        self.server.stop().await;
        self.store.close().await;
        copy(self.server.data_dir(), &directory.with_extension("data"));
        directory.to_owned()
    }

    /// What a kill of the process leaves is what is in its files now. Returns where they are.
    fn kill(self, directory: &Path) -> PathBuf {
        let mut left = directory.to_owned();
        left.as_mut_os_string().push("-left");
        copy(directory, &left);
        copy(self.server.data_dir(), &left.with_extension("data"));
        left
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = self.client.send(request).await.unwrap();
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, json_of(std::str::from_utf8(&body).unwrap()))
    }
}

fn map(name: &str, app: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"app": app}}})
}

fn lease(name: &str) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
        "spec": {"holderIdentity": name}})
}

fn version_of(object: &Value) -> u64 {
    let version = object["metadata"]["resourceVersion"].as_str().unwrap();
    version.parse().unwrap()
}

fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap().to_owned()
}

/// Upstream: `Reflector.ListAndWatch`.
struct Reflector {
    path: &'static str,
    query: &'static str,
    known: BTreeMap<String, u64>,
    version: Option<u64>,
    lists: usize,
}

impl Reflector {
    const fn new(path: &'static str, query: &'static str) -> Self {
        Self {
            path,
            query,
            known: BTreeMap::new(),
            version: None,
            lists: 0,
        }
    }

    /// Lists and watches until it knows an object of this name.
    async fn until(&mut self, life: &Life, wanted: &str) {
        while !self.known.contains_key(wanted) {
            let version = match self.version {
                Some(version) => version,
                None => self.list(life).await,
            };
            let (path, query) = (self.path, self.query);
            let watch = format!(
                "{path}?{query}&watch=true&allowWatchBookmarks=true&resourceVersion={version}"
            );
            let watch = Request::get(watch).body(Body::empty()).unwrap();
            let mut body = life.client.send(watch).await.unwrap().into_body();
            let mut rest = Vec::new();
            while !self.known.contains_key(wanted) && self.version.is_some() {
                let frame = tokio::time::timeout(LIMIT, body.frame()).await;
                let Some(frame) = frame.expect("an event is missing") else {
                    break;
                };
                rest.extend_from_slice(&frame.unwrap().into_data().unwrap());
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    self.event(&json_of(std::str::from_utf8(&line).unwrap()));
                }
            }
        }
    }

    async fn list(&mut self, life: &Life) -> u64 {
        let (code, list) = life.get(&format!("{}?{}", self.path, self.query)).await;
        assert_eq!(code, 200, "{list}");
        let items = list["items"].as_array().unwrap().iter();
        self.known = items
            .map(|item| (name_of(item), version_of(item)))
            .collect();
        self.lists += 1;
        let version = version_of(&list);
        self.version = Some(version);
        version
    }

    fn event(&mut self, event: &Value) {
        let object = &event["object"];
        let kind = event["type"].as_str().unwrap();
        if kind == "ERROR" {
            assert_eq!(
                (object["code"].clone(), &object["reason"]),
                (410.into(), &json!("Expired"))
            );
            self.version = None;
            return;
        }
        let version = version_of(object);
        let before = self.version.unwrap();
        let is_later = if kind == "BOOKMARK" {
            version >= before
        } else {
            version > before
        };
        assert!(is_later, "{event} after {before}");
        self.version = Some(version);
        let known = match kind {
            "BOOKMARK" => return,
            "DELETED" => self.known.remove(&name_of(object)),
            _ => self.known.insert(name_of(object), version),
        };
        assert_eq!(
            known.is_none(),
            kind == "ADDED",
            "{event}, which was {known:?}"
        );
    }

    async fn assert_same(&mut self, life: &Life) {
        let known = self.known.clone();
        self.list(life).await;
        assert_eq!(known, self.known, "{} {}", self.path, self.query);
    }
}

/// Creates, relabels, deletes and creates again, and leaves an object of this name.
async fn write(life: &Life, last: &str) {
    for i in 0..40 {
        let path = format!("{MAPS}/m{}", i % 5);
        let name = format!("m{}", i % 5);
        let app = if i % 3 == 0 { "web" } else { "db" };
        // Each outcome is one that the reflectors hear of.
        match i % 4 {
            0 => drop(life.server.send("DELETE", &path, "", &Value::Null).await),
            1 => drop(life.server.post(MAPS, &map(&name, app)).await),
            _ => {
                let merge = "application/merge-patch+json";
                drop(
                    life.server
                        .send("PATCH", &path, merge, &map(&name, app))
                        .await,
                );
            }
        }
        let name = format!("n{}", i % 3);
        drop(life.server.post(LEASES, &lease(&name)).await);
    }
    assert_eq!(life.server.post(MAPS, &map(last, "web")).await.0, 201);
    assert_eq!(life.server.post(LEASES, &lease(last)).await.0, 201);
}

#[tokio::test]
async fn reflectors_know_everything_after_stops_and_kills() {
    let root = tempfile::tempdir().unwrap();
    let mut directory = root.path().join("store");
    let mut all = [
        Reflector::new(MAPS, ""),
        Reflector::new(MAPS, "labelSelector=app%3Dweb"),
        Reflector::new(MAPS, "fieldSelector=metadata.name!%3Dm1"),
        Reflector::new(LEASES, ""),
    ];
    for round in 0..4 {
        let life = Life::start(&directory).await;
        let last = format!("last{round}");
        let [first, second, third, fourth] = &mut all;
        tokio::join!(
            write(&life, &last),
            first.until(&life, &last),
            second.until(&life, &last),
            third.until(&life, &last),
            fourth.until(&life, &last),
        );
        for reflector in &mut all {
            reflector.assert_same(&life).await;
        }
        directory = match round % 2 {
            0 => life.stop(&directory).await,
            _ => life.kill(&directory),
        };
    }
    // The history ends with the server, so each start is a list, beside that of the check.
    let lists = all.map(|reflector| reflector.lists);
    assert_eq!(lists, [8; 4]);
}

#[tokio::test]
async fn a_lease_that_a_restart_drops_is_news() {
    for is_killed in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("store");
        let life = Life::start(&directory).await;
        // The last change that there is.
        let (code, created) = life.server.post(LEASES, &lease("n1")).await;
        assert_eq!(code, 201);
        let known = version_of(&life.get(LEASES).await.1);
        assert_eq!(known, version_of(&created));
        let directory = match is_killed {
            false => life.stop(&directory).await,
            true => life.kill(&directory),
        };

        let life = Life::start(&directory).await;
        let watch = format!("{LEASES}?watch=true&timeoutSeconds=1&resourceVersion={known}");
        let (_, end) = life.get(&watch).await;
        assert_eq!(
            (&end["type"], &end["object"]["code"]),
            (&json!("ERROR"), &json!(410))
        );
        for query in ["", &format!("?resourceVersion={known}")] {
            let (code, list) = life.get(&format!("{LEASES}{query}")).await;
            assert_eq!((code, list["items"].as_array().unwrap().len()), (200, 0));
            assert!(version_of(&list) > known, "{list}");
        }
        let exact = format!("{LEASES}?resourceVersion={known}&resourceVersionMatch=Exact");
        assert_eq!(life.get(&exact).await.0, 410);
        assert_eq!(life.get(&format!("{LEASES}/n1")).await.0, 404);
    }
}
