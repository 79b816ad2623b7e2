//! Addresses and node ports of Services: no two have the same, whatever becomes of their writes,
//! and none is lost.

use std::{collections::BTreeSet, sync::Arc};

use futures::future::BoxFuture;
use pandaemon_store::{
    Entry, Error, Follower, Page, Range, Result, Revision, Store, Transaction,
    double::{Double, Faults},
};
use pandaemon_testkit::ServerOptions;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::harness::Server;

pub(crate) const SERVICES: &str = "/api/v1/namespaces/default/services";

pub(crate) fn service(name: &str, kind: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"type": kind, "externalName": "x.example", "ports": [{"port": 80}]}})
}

/// The address and the node ports of a Service.
fn values(service: &Value) -> Vec<String> {
    let spec = &service["spec"];
    let ports = spec["ports"].as_array().into_iter().flatten();
    let ports = ports.map(|port| &port["nodePort"]);
    let all = ports.chain([&spec["clusterIP"], &spec["healthCheckNodePort"]]);
    let all = all.filter(|value| !value.is_null() && *value != "None");
    all.map(ToString::to_string).collect()
}

/// All values of the stored Services.
async fn stored(server: &Server) -> Vec<String> {
    let (code, list) = server.get("/api/v1/services").await;
    assert_eq!(code, 200, "{list}");
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(values)
        .collect()
}

pub(crate) async fn assert_distinct(server: &Server) {
    let all = stored(server).await;
    let distinct: BTreeSet<&String> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "{all:?}");
}

/// A store in which writes of Services wait, and go on when their clients have left.
#[derive(Debug)]
pub(crate) struct SlowStore {
    inner: Double,
    /// A permit for each write that has begun.
    pub(crate) begun: Arc<Semaphore>,
    /// A permit for each write that may go on.
    pub(crate) open: Arc<Semaphore>,
    /// Whether the next write gets no answer and comes later.
    next_is_late: Arc<Mutex<bool>>,
    late: Arc<Mutex<Option<Transaction>>>,
}

impl SlowStore {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Double::new(Faults::default(), 1),
            begun: Arc::new(Semaphore::new(0)),
            open: Arc::new(Semaphore::new(1_000)),
            next_is_late: Arc::default(),
            late: Arc::default(),
        })
    }
}

impl Store for SlowStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>>> {
        self.inner.get(key)
    }

    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page>> {
        self.inner.range(range)
    }

    fn latest(&self) -> BoxFuture<'_, Result<Revision>> {
        self.inner.latest()
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Revision>> {
        if !transaction.writes[0].key.starts_with("/services/") {
            return self.inner.commit(transaction);
        }
        if std::mem::take(&mut *self.next_is_late.lock()) {
            *self.late.lock() = Some(transaction);
            let unknown = Error::Unknown("the connection was lost".into());
            return Box::pin(std::future::ready(Err(unknown)));
        }
        let (inner, begun, open) = (self.inner.clone(), self.begun.clone(), self.open.clone());
        let request = pandaemon_runtime::spawn("commit", async move {
            begun.add_permits(1);
            open.acquire().await.unwrap().forget();
            inner.commit(transaction).await
        });
        Box::pin(async { request.await.unwrap().unwrap() })
    }

    fn follow(&self, from: Revision, follower: Arc<dyn Follower>) -> BoxFuture<'_, Result<()>> {
        self.inner.follow(from, follower)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

pub(crate) async fn start_on(store: &Arc<SlowStore>) -> Server {
    let options = ServerOptions {
        store: Some(Arc::clone(store) as _),
        ..ServerOptions::default()
    };
    Server::start_with(options).await.unwrap()
}

#[tokio::test]
async fn a_write_whose_client_has_left_keeps_its_values() {
    let store = SlowStore::new();
    let server = start_on(&store).await;
    store.open.forget_permits(1_000);
    store.begun.forget_permits(1_000);
    let (one, two) = (service("one", "NodePort"), service("two", "NodePort"));
    let mut left = Box::pin(server.post(SERVICES, &one));
    tokio::select! {
        answer = &mut left => panic!("{answer:?}"),
        begun = store.begun.acquire() => begun.unwrap().forget(),
    }
    drop(left);
    let mut next = Box::pin(server.post(SERVICES, &two));
    for _ in 0..200 {
        assert!(futures::poll!(&mut next).is_pending());
        tokio::task::yield_now().await;
    }
    store.open.add_permits(1_000);
    assert_eq!(next.await.0, 201);
    assert_eq!(server.get(&format!("{SERVICES}/one")).await.0, 200);
    assert_distinct(&server).await;
}

#[tokio::test]
async fn a_write_without_an_answer_keeps_its_values() {
    let store = SlowStore::new();
    let server = start_on(&store).await;
    *store.next_is_late.lock() = true;
    let late = service("late", "NodePort");
    let (code, status) = server.post(SERVICES, &late).await;
    assert_eq!((code, &status["reason"]), (504, &json!("Timeout")));
    assert_eq!(
        server.post(SERVICES, &service("next", "NodePort")).await.0,
        201
    );
    let transaction = store.late.lock().take().unwrap();
    let revision = store.inner.commit(transaction).await.unwrap();
    let path = format!("{SERVICES}/late?resourceVersion={revision}");
    assert_eq!(server.get(&path).await.0, 200);
    assert_distinct(&server).await;
    // A write that did not happen and never will keeps nothing.
    *store.next_is_late.lock() = true;
    let lost = service("lost", "NodePort");
    assert_eq!(server.post(SERVICES, &lost).await.0, 504);
    assert_eq!(server.post(SERVICES, &lost).await.0, 201);
    let mut wanted = service("wanted", "NodePort");
    wanted["spec"]["ports"][0]["nodePort"] = 30_003.into();
    let (code, made) = server.post(SERVICES, &wanted).await;
    assert_eq!(code, 201, "{made}");
    assert_distinct(&server).await;
}

/// The next number of a sequence that a seed repeats.
fn random(state: &mut u64, below: u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

/// Writes Services of a few names, some of which fail, and the clients of some leave.
async fn write_at_random(server: &Server, seed: u64) {
    let mut state = seed;
    for _ in 0..40 {
        let name = format!("s{}", random(&mut state, 6));
        let path = format!("{SERVICES}/{name}");
        let kinds = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"];
        let kind = kinds[usize::try_from(random(&mut state, 4)).unwrap()];
        let mut body = service(&name, kind);
        match random(&mut state, 4) {
            // Refused by the validation, after the allocation.
            0 => body["spec"]["sessionAffinity"] = "Nobody".into(),
            1 => {
                body["spec"]["ports"] =
                    json!([{"name": "a", "port": 80}, {"name": "b", "port": 81}]);
            }
            2 if kind == "LoadBalancer" => body["spec"]["externalTrafficPolicy"] = "Local".into(),
            _ => {}
        }
        let merge = "application/merge-patch+json";
        let dry_run = format!("{SERVICES}?dryRun=All");
        let (method, path, form) = match random(&mut state, 7) {
            0 => ("POST", SERVICES, ""),
            1 => ("POST", &*dry_run, ""),
            2 | 3 => ("PATCH", &*path, merge),
            4 => ("DELETE", &*path, ""),
            _ => ("PUT", &*path, ""),
        };
        if method == "DELETE" {
            body = Value::Null;
        }
        let mut request = Box::pin(server.send(method, path, form, &body));
        if random(&mut state, 3) == 0 {
            // The client leaves.
            for _ in 0..random(&mut state, 60) {
                if futures::poll!(&mut request).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            continue;
        }
        let (code, answer) = request.await;
        assert!(
            matches!(code, 200 | 201 | 404 | 409 | 422 | 504),
            "{code} {answer}"
        );
    }
}

#[tokio::test]
async fn concurrent_writes_share_no_value_and_lose_none() {
    let faults = Faults {
        latency: std::time::Duration::from_millis(1),
        conflicts: 100,
        lost_replies: 50,
        lost_requests: 50,
        broken: 20,
        forgotten: 0,
    };
    for seed in 1..=3 {
        let double = Double::new(Faults::default(), seed);
        let options = ServerOptions {
            store: Some(Arc::new(double.clone())),
            ..ServerOptions::default()
        };
        let server = Server::start_with(options).await.unwrap();
        double.set_faults(faults.clone());
        let writers = (0..8).map(|at| write_at_random(&server, seed * 100 + at));
        futures::future::join_all(writers).await;
        double.set_faults(Faults::default());
        // A last write shows what became of those whose clients have left.
        assert_eq!(
            server.post(SERVICES, &service("last", "NodePort")).await.0,
            201
        );
        assert_distinct(&server).await;
        for name in ["last", "s0", "s1", "s2", "s3", "s4", "s5"] {
            let path = format!("{SERVICES}/{name}");
            server.send("DELETE", &path, "", &Value::Null).await;
        }
        let left = stored(&server).await;
        assert_eq!(left, ["\"10.96.0.1\""]);
    }
}

#[tokio::test]
async fn node_ports_are_given_as_upstream_does() {
    let server = Server::start().await;
    // One port with two protocols has one node port, and load balancers ask at another.
    let mut dns = service("dns", "LoadBalancer");
    dns["spec"]["externalTrafficPolicy"] = "Local".into();
    dns["spec"]["ports"] =
        json!([{"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP"}]);
    let (code, made) = server.post(SERVICES, &dns).await;
    assert_eq!(code, 201, "{made}");
    let ports = |service: &Value| {
        let spec = &service["spec"];
        let all = [
            &spec["ports"][0]["nodePort"],
            &spec["ports"][1]["nodePort"],
            &spec["healthCheckNodePort"],
        ];
        all.map(|port| port.as_i64().unwrap_or_default())
    };
    assert_eq!(ports(&made), [30_000, 30_000, 30_001]);
    let mut taken = service("taken", "NodePort");
    taken["spec"]["ports"][0]["nodePort"] = 30_001.into();
    assert_eq!(server.post(SERVICES, &taken).await.0, 422);
    // An update keeps them, and gives back what it has no more.
    let path = format!("{SERVICES}/dns");
    let (_, kept) = server.send("PUT", &path, "", &dns).await;
    assert_eq!(ports(&kept), [30_000, 30_000, 30_001]);
    dns["spec"]["externalTrafficPolicy"] = "Cluster".into();
    let (_, kept) = server.send("PUT", &path, "", &dns).await;
    assert_eq!(ports(&kept), [30_000, 30_000, 0]);
    assert_eq!(server.post(SERVICES, &taken).await.0, 201);
    // A load balancer may have none.
    let mut without = service("without", "LoadBalancer");
    without["spec"]["allocateLoadBalancerNodePorts"] = false.into();
    let (_, made) = server.post(SERVICES, &without).await;
    assert_eq!(ports(&made), [0, 0, 0]);
    // What the type does not have is an error, not left out.
    for (field, value) in [
        ("clusterIP", json!("10.96.9.9")),
        ("ipFamilies", json!(["IPv4"])),
    ] {
        let mut external = service("external", "ExternalName");
        external["spec"][field] = value;
        assert_eq!(server.post(SERVICES, &external).await.0, 422, "{field}");
    }
    let mut internal = service("internal", "ClusterIP");
    internal["spec"]["ports"][0]["nodePort"] = 30_100.into();
    assert_eq!(server.post(SERVICES, &internal).await.0, 422);
}
