//! The fast path against the full path: the same writes on two registries, one of which uses the
//! full path only.

use std::cell::Cell;

use pandaemon_machinery::{
    KindRef,
    decode::{self, Decoded, FieldValidation, MediaType},
    scheme,
};
use pandaemon_runtime::metrics::Metrics;
use pandaemon_store::{Durability, Embedded, Op, Options, Transaction};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::{
    admission,
    cache::watch_cache,
    registry::{bootstrap, patch::PatchType},
};

const NAMESPACE: &str = "kube-node-lease";
const TIME: &str = "2026-01-01T00:00:00.000000Z";
const LATER: &str = "2026-01-01T00:00:10.000001Z";

fn kind() -> &'static KindRef {
    scheme::built_in()
        .find_resource("coordination.k8s.io", "v1", "leases")
        .unwrap()
}

/// A call of a manager at a time in seconds.
fn call(name: &str, manager: &str, now: i64) -> Call {
    Call {
        manager: manager.to_owned(),
        now: Timestamp::from_second(1_800_000_000 + now).unwrap(),
        ..Call::internal(scheme::built_in().clone(), kind(), NAMESPACE, name)
    }
}

async fn registry() -> (TempDir, Registry) {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(Embedded::open(directory.path(), Options::default()).unwrap());
    let cache = Arc::new(watch_cache::WatchCache::load(&*store).await.unwrap());
    let followed = Arc::clone(&store) as _;
    let reflector = watch_cache::run_reflector(Arc::clone(&cache), followed);
    pandaemon_runtime::spawn("reflector", reflector);
    let registry = Registry::new(
        store,
        cache,
        admission::Chain::new(
            admission::AdmissionConfiguration::default(),
            Vec::new(),
            &Metrics::default(),
        ),
    );
    bootstrap::create_missing(&registry).await.unwrap();
    (directory, registry)
}

fn decoded(body: &[u8]) -> Result<Decoded> {
    decode::decode(
        scheme::built_in(),
        kind(),
        body,
        MediaType::Json,
        FieldValidation::Warn,
    )
}

async fn full_path(
    registry: &Registry,
    call: &Call,
    form: RenewalForm,
    body: &[u8],
) -> Result<Written> {
    match form {
        RenewalForm::MergePatch => registry.patch_full(call, PatchType::Merge, body).await,
        RenewalForm::Put => registry.update(call, decoded(body)?).await,
    }
}

/// Creates a Lease in both registries, with the same uid.
async fn create(both: [&Registry; 2], name: &str, manager: &str, lease: &Value) -> Arc<Object> {
    let call = call(name, manager, 0);
    let body = Decoded {
        value: lease.clone(),
        warnings: Vec::new(),
    };
    let created = both[0].create(&call, body).await.unwrap().object;
    let op = Op::Put(created.bytes.clone());
    let copy = Transaction {
        durability: Durability::Volatile,
        ..Transaction::of(Arc::clone(&created.key), Expect::Absent, op)
    };
    let revision = both[1].store.commit(copy).await.unwrap();
    assert_eq!(revision, created.revision);
    both[1].cache.reached(revision).await;
    created
}

fn lease(name: &str) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": NAMESPACE, "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": name, "uid": "u"}]},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": TIME}})
}

/// Removes a field of the metadata.
fn remove(object: &mut Value, field: &str) {
    crate::registry::meta::edit(object, |metadata| metadata.remove(field));
}

#[tokio::test]
async fn plain_renewals_take_the_fast_path_and_other_writes_do_not() {
    let (_directory, registry) = registry().await;
    let body = Decoded {
        value: lease("n"),
        warnings: Vec::new(),
    };
    let created = registry.create(&call("n", "kubelet", 0), body).await;
    let object = created.unwrap().object;
    let put = |change: &dyn Fn(&mut Value)| {
        let mut value = object.value().unwrap();
        value["spec"]["renewTime"] = LATER.into();
        change(&mut value);
        (RenewalForm::Put, value.to_string())
    };
    let patch = |spec: Value| {
        let body = json!({ "spec": spec }).to_string();
        (RenewalForm::MergePatch, body)
    };
    let is_fast = |(form, body): (RenewalForm, String), manager: &str| {
        renewed(
            &object,
            form,
            body.as_bytes(),
            manager,
            "2027-01-01T00:00:00Z",
        )
        .is_some()
    };
    let whole = json!({"holderIdentity": "n", "leaseDurationSeconds": 40, "renewTime": LATER});
    let fast = [
        patch(json!({ "renewTime": LATER })),
        patch(whole),
        put(&|_| ()),
        put(&|lease| remove(lease, "managedFields")),
    ];
    for renewal in fast {
        assert!(is_fast(renewal.clone(), "kubelet"), "{renewal:?}");
        assert!(!is_fast(renewal, "kubectl"), "another manager");
    }
    let slow = [
        patch(json!({"renewTime": LATER, "holderIdentity": "m"})),
        patch(json!({"renewTime": LATER, "holderIdentity": null})),
        patch(json!({"renewTime": LATER, "strategy": "x"})),
        patch(json!({ "renewTime": "2026-01-01T00:00:10Z" })),
        patch(json!({ "renewTime": "2026-13-01T00:00:10.000000Z" })),
        patch(json!({ "renewTime": "2026-01-01T00:00:60.000000Z" })),
        put(&|lease| lease["metadata"]["resourceVersion"] = "1".into()),
        put(&|lease| lease["metadata"]["uid"] = "other".into()),
        put(&|lease| lease["metadata"]["labels"] = json!({"a": "b"})),
        put(&|lease| lease["metadata"]["ownerReferences"] = json!([])),
        put(&|lease| lease["metadata"]["managedFields"] = json!([])),
        put(&|lease| lease["spec"]["leaseDurationSeconds"] = 41.into()),
        put(&|lease| lease["kind"] = "Least".into()),
    ];
    for write in slow {
        assert!(!is_fast(write.clone(), "kubelet"), "{write:?}");
    }
}

/// A write of a sequence: how the body differs from a plain renewal.
#[derive(Debug, Clone)]
struct Step {
    form: RenewalForm,
    other_manager: bool,
    time: &'static str,
    changes: Vec<Change>,
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Holder(Option<&'static str>),
    Duration(i64),
    Transitions,
    AcquireTime,
    Label,
    UnknownField,
    NoManagedFields,
    NoUid,
    OldVersion,
    NoVersion,
}

impl Step {
    fn body(&self, current: &Object) -> String {
        let mut value = match self.form {
            RenewalForm::Put => current.value().unwrap(),
            RenewalForm::MergePatch => json!({"spec": {}}),
        };
        value["spec"]["renewTime"] = self.time.into();
        for change in &self.changes {
            let is_put = self.form == RenewalForm::Put;
            let metadata = value["metadata"].as_object_mut().filter(|_| is_put);
            match (change, metadata) {
                (Change::Holder(holder), _) => value["spec"]["holderIdentity"] = json!(holder),
                (Change::Duration(s), _) => value["spec"]["leaseDurationSeconds"] = json!(s),
                (Change::Transitions, _) => value["spec"]["leaseTransitions"] = 1.into(),
                (Change::AcquireTime, _) => value["spec"]["acquireTime"] = TIME.into(),
                (Change::Label, _) => value["metadata"]["labels"] = json!({"a": "b"}),
                (Change::UnknownField, _) => value["spec"]["unknown"] = 1.into(),
                (Change::NoManagedFields, Some(_)) => remove(&mut value, "managedFields"),
                (Change::NoUid, Some(_)) => remove(&mut value, "uid"),
                (Change::NoVersion, Some(_)) => remove(&mut value, "resourceVersion"),
                (Change::OldVersion, Some(m)) => {
                    m.insert("resourceVersion".into(), "1".into());
                }
                (_, None) => {}
            }
        }
        value.to_string()
    }
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        2 => Just(Change::Holder(Some("n"))),
        1 => Just(Change::Holder(Some("m"))),
        1 => Just(Change::Holder(None)),
        2 => Just(Change::Duration(40)),
        1 => Just(Change::Duration(0)),
        1 => Just(Change::Transitions),
        1 => Just(Change::AcquireTime),
        1 => Just(Change::Label),
        1 => Just(Change::UnknownField),
        1 => Just(Change::NoManagedFields),
        1 => Just(Change::NoUid),
        1 => Just(Change::OldVersion),
        1 => Just(Change::NoVersion),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let form = prop_oneof![Just(RenewalForm::MergePatch), Just(RenewalForm::Put)];
    let time = prop_oneof![
        4 => Just(LATER),
        4 => Just("2026-02-28T23:59:59.999999Z"),
        2 => Just(TIME),
        1 => Just("2026-01-01T00:00:10Z"),
        1 => Just("2026-01-01T01:00:10.000001+01:00"),
        1 => Just("2026-02-30T00:00:00.000000Z"),
        1 => Just("2026-01-01T00:00:60.000000Z"),
        1 => Just("0000-01-01T00:00:00.000000Z"),
        1 => Just("soon"),
    ];
    let changes = prop_oneof![
        3 => Just(Vec::new()),
        2 => prop::collection::vec(change(), 1..4),
    ];
    (form, prop::bool::weighted(0.15), time, changes).prop_map(
        |(form, other_manager, time, changes)| Step {
            form,
            other_manager,
            time,
            changes,
        },
    )
}

/// Runs the steps on both registries. Returns the number of renewals on the fast path.
async fn run(both: [&Registry; 2], name: &str, steps: &[Step]) -> usize {
    let mut current = create(both, name, "kubelet", &lease(name)).await;
    let mut fast = 0;
    for (at, step) in (1..).zip(steps) {
        let body = step.body(&current);
        let body = body.as_bytes();
        let manager = if step.other_manager {
            "kubectl"
        } else {
            "kubelet"
        };
        let call = call(name, manager, at);
        let expected = full_path(both[1], &call, step.form, body).await;
        let renewed = both[0].renew_lease(&call, step.form, body).await.unwrap();
        fast += usize::from(renewed.is_some());
        let found = match renewed {
            Some(renewed) => Ok(renewed),
            None => full_path(both[0], &call, step.form, body).await,
        };
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                let bytes =
                    |written: &Written| String::from_utf8(written.object.bytes.to_vec()).unwrap();
                assert_eq!(bytes(&found), bytes(&expected), "{step:?}");
                assert_eq!(found.object.revision, expected.object.revision, "{step:?}");
                assert_eq!(found.warnings, expected.warnings, "{step:?}");
                current = found.object;
            }
            (Err(found), Err(expected)) => assert_eq!(found, expected, "{step:?}"),
            (found, expected) => panic!("{step:?}: {found:?} instead of {expected:?}"),
        }
    }
    fast
}

#[test]
fn the_lease_renewal_fast_path_equals_the_full_path() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (_one, fast) = runtime.block_on(registry());
    let (_two, full) = runtime.block_on(registry());
    let (cases, renewals) = (Cell::new(0), Cell::new(0));
    let config = Config {
        cases: 256,
        failure_persistence: None,
        ..Config::default()
    };
    let steps = prop::collection::vec(step(), 1..12);
    let outcome = TestRunner::new(config).run(&steps, |steps| {
        cases.set(cases.get() + 1);
        let name = format!("n{}", cases.get());
        let fast = runtime.block_on(run([&fast, &full], &name, &steps));
        renewals.set(renewals.get() + fast);
        Ok(())
    });
    outcome.unwrap();
    assert!(renewals.get() > cases.get(), "few renewals were fast");
}
