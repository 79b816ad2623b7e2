//! SIGKILL of the server under load: acknowledged writes are there after the next start, and
//! watches continue without a gap or get 410.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams},
};

use crate::process::{client, start_server};

const WRITERS: usize = 16;

/// Acknowledged states by object name: resource version and count, `None` for a deleted object.
type Known = BTreeMap<String, Option<(u64, u64)>>;

fn version(map: &ConfigMap) -> u64 {
    map.resource_version().unwrap().parse().unwrap()
}

fn count(map: &ConfigMap) -> u64 {
    map.data.as_ref().unwrap()["count"].parse().unwrap()
}

fn map(name: &str, count: u64) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.to_owned());
    let data = [
        ("count".to_owned(), count.to_string()),
        ("text".to_owned(), "v".repeat(700)),
    ];
    map.data = Some(data.into());
    map
}

/// Creates, updates and deletes objects until a request fails. Returns the acknowledged states, and
/// the name of the object of the failed request.
async fn write(maps: Api<ConfigMap>, name: String, ended: Arc<AtomicBool>) -> (Known, String) {
    let mut known = Known::new();
    for round in 0_u64.. {
        let name = format!("{name}-{round}");
        let Ok(mut now) = maps.create(&PostParams::default(), &map(&name, 0)).await else {
            return (known, name);
        };
        known.insert(name.clone(), Some((version(&now), 0)));
        for count in 1..4 {
            let mut next = map(&name, count);
            next.metadata.resource_version = now.resource_version();
            let Ok(answer) = maps.replace(&name, &PostParams::default(), &next).await else {
                return (known, name);
            };
            assert!(version(&answer) > version(&now), "versions go up");
            known.insert(name.clone(), Some((version(&answer), count)));
            now = answer;
        }
        if round % 3 == 0 {
            if maps.delete(&name, &DeleteParams::default()).await.is_err() {
                return (known, name);
            }
            known.insert(name.clone(), None);
        }
        assert!(!ended.load(Ordering::Acquire) || round < 100_000);
    }
    unreachable!()
}

/// Checks that the stored objects equal the acknowledged states. Only the failed request, for the
/// object `open`, may have been carried out or not.
fn compare(round: usize, there: &BTreeMap<String, (u64, u64)>, known: &Known, open: &str) {
    for (name, told) in known {
        let found = there.get(name);
        if name == open {
            let (version, count) = told.expect("names are used once");
            match found {
                None => assert_eq!(count, 3, "round {round}: {name} was not being deleted"),
                Some((v, c)) if *c == count => assert_eq!(*v, version, "round {round}: {name}"),
                Some((v, c)) => assert!(*c == count + 1 && *v > version, "round {round}: {name}"),
            }
        } else {
            assert_eq!(found, told.as_ref(), "round {round}: {name}");
        }
    }
}

/// Checks that a watch from a version before the crash gets the events after it, or 410, and that
/// no version is used twice.
async fn resume(maps: &Api<ConfigMap>, newest: u64) {
    let (options, from) = (WatchParams::default().timeout(3), newest.to_string());
    let mut watch = match maps.watch(&options, &from).await {
        Ok(watch) => Box::pin(watch),
        Err(kube::Error::Api(status)) if status.code == 410 => return,
        Err(error) => panic!("{error}"),
    };
    let later = map(&format!("later-{newest}"), 0);
    let made = maps.create(&PostParams::default(), &later).await;
    let made = version(&made.unwrap());
    assert!(
        made > newest,
        "a version was used again: {made} after {newest}"
    );
    while let Some(event) = watch.next().await {
        match event.unwrap() {
            WatchEvent::Error(status) => return assert_eq!(status.code, 410, "{status:?}"),
            WatchEvent::Added(map) | WatchEvent::Modified(map) | WatchEvent::Deleted(map) => {
                assert!(version(&map) > newest, "an event of an old version");
                if version(&map) == made {
                    return;
                }
            }
            WatchEvent::Bookmark(_) => (),
        }
    }
    panic!("the watch ended without the event");
}

async fn all(maps: &Api<ConfigMap>) -> BTreeMap<String, (u64, u64)> {
    let list = maps.list(&ListParams::default()).await.unwrap();
    let list = list
        .items
        .iter()
        .filter(|map| map.name_any() != "kube-root-ca.crt");
    list.map(|map| (map.name_any(), (version(map), count(map))))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_a_kill_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start_server(folder.path());
    let mut before = BTreeMap::new();
    for (round, time) in [400, 30, 900, 150].into_iter().enumerate() {
        let maps = Api::<ConfigMap>::namespaced(client(&server).await, "default");
        let ended = Arc::new(AtomicBool::new(false));
        let writers = (0..WRITERS).map(|writer| {
            let (maps, ended) = (maps.clone(), Arc::clone(&ended));
            pandaemon_runtime::spawn("writer", write(maps, format!("r{round}-w{writer}"), ended))
        });
        let writers: Vec<_> = writers.collect();
        tokio::time::sleep(Duration::from_millis(time)).await;
        server.kill().unwrap();
        ended.store(true, Ordering::Release);
        let mut told = Vec::new();
        for writer in writers {
            told.push(writer.await.unwrap().expect("no panic"));
        }
        server = start_server(folder.path());
        let maps = Api::<ConfigMap>::namespaced(client(&server).await, "default");
        let there = all(&maps).await;
        let mut newest = 0;
        for (known, open) in &told {
            compare(round, &there, known, open);
            newest = newest.max(known.values().flatten().map(|(v, _)| *v).max().unwrap_or(0));
        }
        for (name, state) in &before {
            assert_eq!(
                there.get(name),
                Some(state),
                "round {round}: {name} of an earlier round"
            );
        }
        if newest > 0 {
            resume(&maps, newest).await;
        }
        before = all(&maps).await;
    }
    assert!(before.len() > WRITERS, "no load");
    assert_eq!(server.stop().unwrap().code(), Some(0));
}
