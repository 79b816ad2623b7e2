//! Clients that watch as client-go's reflectors do: list, watch, resume from the last revision.

use std::{pin::pin, sync::Arc, time::Duration};

use fastrand::Rng;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, WatchEvent, WatchParams},
};
use pandaemon_histories::{Change, Entry, Selector, WatchLog};
use tokio::time::{sleep, timeout};

use super::{
    clients::{NAMESPACE, snapshot, version},
    recorder::Recorder,
};

/// How long a watch is read from at most before it is asked for anew.
const WATCH_SECONDS: u32 = 3;
/// How long a watch may be silent.
const SILENCE: Duration = Duration::from_secs(5);

pub(super) struct Watcher {
    log: WatchLog,
    is_slow: bool,
    random: Rng,
    recorder: Arc<Recorder>,
    /// The last revision that it knows of; `None` when it has to list.
    last: Option<u64>,
}

impl Watcher {
    pub(super) fn new(
        name: &str,
        selector: Selector,
        random: Rng,
        recorder: Arc<Recorder>,
    ) -> Self {
        Self {
            log: WatchLog {
                name: name.to_owned(),
                selector,
                entries: Vec::new(),
            },
            is_slow: name.contains("slow"),
            random,
            recorder,
            last: None,
        }
    }

    fn labels(&self) -> Option<String> {
        match self.log.selector {
            Selector::All => None,
            Selector::Even => Some("parity=even".to_owned()),
        }
    }

    /// Watches until it has seen the last write of all.
    pub(super) async fn run(mut self) -> WatchLog {
        while !self.is_done() {
            let server = self.recorder.server().await;
            let api: Api<ConfigMap> = Api::namespaced(server.client, NAMESPACE);
            if self.list_and_watch(&api).await.is_none() {
                sleep(Duration::from_millis(20)).await;
            }
        }
        self.log
    }

    fn is_done(&self) -> bool {
        let last = self.recorder.last();
        last.is_some_and(|last| self.last.is_some_and(|seen| seen >= last))
    }

    /// `None` after an error.
    async fn list_and_watch(&mut self, api: &Api<ConfigMap>) -> Option<()> {
        let last = match self.last {
            Some(last) => {
                self.log.entries.push(Entry::Resumed(last));
                last
            }
            None => {
                let parameters = ListParams {
                    label_selector: self.labels(),
                    ..ListParams::default()
                };
                let list = timeout(SILENCE, api.list(&parameters)).await.ok()?.ok()?;
                let list = snapshot(&list);
                let revision = list.revision;
                self.log.entries.push(Entry::Listed(list));
                self.last = Some(revision);
                revision
            }
        };
        let parameters = WatchParams {
            label_selector: self.labels(),
            timeout: Some(self.random.u32(1..=WATCH_SECONDS)),
            ..WatchParams::default()
        };
        let last = last.to_string();
        let watch = timeout(SILENCE, api.watch(&parameters, &last));
        let watch = match watch.await.ok()? {
            Ok(watch) => watch,
            Err(error) => {
                self.refused(&error);
                return None;
            }
        };
        let mut watch = pin!(watch);
        // Some break off before the end.
        let most = self.random.usize(1..400);
        for _ in 0..most {
            let event = match timeout(SILENCE, watch.next()).await.ok()?? {
                Ok(event) => event,
                Err(error) => {
                    self.refused(&error);
                    return None;
                }
            };
            self.see(event)?;
            if self.is_done() {
                break;
            }
            if self.is_slow {
                sleep(Duration::from_millis(self.random.u64(0..10))).await;
            }
        }
        Some(())
    }

    /// A watch that is too old has to list again.
    fn refused(&mut self, error: &kube::Error) {
        if matches!(error, kube::Error::Api(status) if status.code == 410) {
            self.last = None;
        }
    }

    fn see(&mut self, event: WatchEvent<ConfigMap>) -> Option<()> {
        let (change, map) = match event {
            WatchEvent::Added(map) => (Change::Added, map),
            WatchEvent::Modified(map) => (Change::Modified, map),
            WatchEvent::Deleted(map) => (Change::Deleted, map),
            WatchEvent::Bookmark(bookmark) => {
                let revision = bookmark.metadata.resource_version.parse().unwrap();
                self.log.entries.push(Entry::Bookmark(revision));
                self.last = Some(revision);
                return Some(());
            }
            WatchEvent::Error(status) => {
                if status.code == 410 {
                    self.last = None;
                }
                return None;
            }
        };
        if let Some(version) = version(&map) {
            self.last = Some(version.revision);
            self.log.entries.push(Entry::Event {
                change,
                key: map.name_any(),
                version,
            });
        }
        Some(())
    }
}
