//! Watches the pods of this node in the API, saves them on disk, and runs a worker for each; the
//! kubelet's pod workers.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Pod;
use pandaemon_client::list_watch::{self, Handler, ListWatch, ListWatchEvent};
use pandaemon_runtime::Shutdown;
use pandaemon_types::Uid;
use tokio::sync::Notify;

use crate::{
    api::object_cache,
    config::Paths,
    context::Context,
    files,
    pleg::{self, ExitEvents},
    pod::{
        PodRef,
        api_status::foreign_conditions,
        worker::{self, PodUpdate},
    },
    pods::Pods,
    supervise::spawn_loop,
};

/// Whether an earlier agent has saved pods of this node.
#[must_use]
pub(crate) fn has_saved_pods(paths: &Paths) -> bool {
    saved_files(&paths.saved_pods()).next().is_some()
}

fn saved_files(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let files = files::entries(dir);
    files.filter_map(|(name, path)| name.ends_with(".json").then_some(path))
}

/// Runs the workers of all pods of this node. Clones share them.
#[derive(Clone)]
pub(crate) struct PodWorkers {
    context: Arc<Context>,
    pods: Pods,
    shutdown: Shutdown,
    /// Notified when a complete list of pods has been received.
    synced: Arc<Notify>,
}

impl PodWorkers {
    /// Starts the workers of the saved pods, the watch of pods, and the pod lifecycle event
    /// generator.
    #[must_use]
    pub(crate) fn start(context: Arc<Context>, shutdown: Shutdown) -> Pods {
        let pods = Pods::default();
        let workers = Self {
            context: Arc::clone(&context),
            pods: pods.clone(),
            shutdown: shutdown.clone(),
            synced: Arc::default(),
        };
        workers.start_saved_pods();
        let exits = Arc::new(ExitEvents::default());
        if let Some(tasks) = context.tasks.clone() {
            let exits = Arc::clone(&exits);
            spawn_loop("exit events", &shutdown, move || {
                Arc::clone(&exits).follow(tasks.clone())
            });
        }
        let (synced, store) = (Arc::clone(&workers.synced), pods.clone());
        spawn_loop("PLEG", &shutdown, move || {
            let (context, exits) = (Arc::clone(&context), Arc::clone(&exits));
            pleg::relist(context, store.clone(), Arc::clone(&synced), exits)
        });
        spawn_loop("pod watch", &shutdown, move || workers.clone().watch());
        pods
    }

    fn dir(&self) -> PathBuf {
        self.context.paths.saved_pods()
    }

    /// Starts the workers of the pods that an earlier agent saved, even if the API cannot be
    /// reached.
    fn start_saved_pods(&self) {
        for path in saved_files(&self.dir()) {
            let bytes = std::fs::read(&path).unwrap_or_default();
            match serde_json::from_slice::<Pod>(&bytes) {
                Ok(pod) => self.apply(pod),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "ignored an unreadable saved pod");
                }
            }
        }
    }

    /// Follows the pods of this node, until its Node is deleted: then all of them end.
    async fn watch(self) {
        let (context, pods) = (Arc::clone(&self.context), self.pods.clone());
        tokio::select! {
            biased;
            _uid = context.registration.deleted() => pods.end_all(),
            () = self.follow() => (),
        }
    }

    async fn follow(self) {
        let selector = format!("spec.nodeName={}", self.context.config.node_name);
        let pods = ListWatch::all("/api/v1/pods").fields(selector);
        let client = self.context.client.clone();
        let handler = PodHandler {
            workers: self,
            listed: BTreeSet::new(),
        };
        list_watch::run(&client, &pods, handler).await;
    }

    /// Takes a pod as the API has it: starts its worker, or passes the update to it.
    fn apply(&self, pod: Pod) {
        let Some(pod) = PodRef::new(pod).map(Arc::new) else {
            return;
        };
        if let Some(old) = self.pods.get(&pod.uid) {
            let changed = fingerprint(&old) != fingerprint(&pod);
            if changed {
                self.save_pod(&pod);
            }
            let update = changed.then(|| PodUpdate::Sync(Arc::clone(&pod)));
            self.pods.update(pod, update);
            return;
        }
        self.save_pod(&pod);
        self.start_worker(pod);
    }

    fn start_worker(&self, pod: Arc<PodRef>) {
        let uid = pod.uid.clone();
        let (context, shutdown) = (Arc::clone(&self.context), self.shutdown.clone());
        let (worker, run) = worker::start(context, Arc::clone(&pod), shutdown);
        self.pods.insert(pod, worker);
        let this = self.clone();
        pandaemon_runtime::spawn("pod", async move {
            if run.await {
                this.forget(&uid);
            }
        });
    }

    fn removed(&self, pod: Arc<PodRef>) {
        let update = PodUpdate::Removed(Arc::clone(&pod));
        self.pods.update(pod, Some(update));
    }

    /// Forgets a pod whose worker has removed everything of it.
    fn forget(&self, uid: &str) {
        self.pods.remove(uid);
        if let Err(error) = files::remove(&self.dir().join(format!("{uid}.json"))) {
            tracing::warn!(%error, uid, "cannot remove the file of a saved pod");
        }
    }

    fn save_pod(&self, pod: &PodRef) {
        let path = self.dir().join(format!("{}.json", pod.uid));
        let written = serde_json::to_vec(&pod.to_object())
            .map_err(std::io::Error::other)
            .and_then(|bytes| files::replace(&path, &bytes));
        if let Err(error) = written {
            tracing::warn!(%error, pod = pod.name, "cannot save a pod; it will not start without the API");
        }
    }
}

/// Passes the events of the list-watch to the workers.
struct PodHandler {
    workers: PodWorkers,
    /// The uids in the list that is being received.
    listed: BTreeSet<String>,
}

impl PodHandler {
    fn take(&mut self, event: ListWatchEvent<Pod>) {
        match event {
            ListWatchEvent::ListStarted { .. } => self.listed.clear(),
            ListWatchEvent::Page(pods) => {
                for pod in pods {
                    self.listed.extend(pod.metadata.uid.clone());
                    self.workers.apply(pod);
                }
            }
            // Its worker goes on with what is known of it.
            ListWatchEvent::Undecodable(object) => {
                self.listed.insert(object.uid.to_string());
            }
            ListWatchEvent::DeletedUndecodable(object) => {
                let uid = object.uid.to_string();
                self.listed.remove(&uid);
                let known = self.workers.pods.get(&uid);
                known.into_iter().for_each(|pod| self.workers.removed(pod));
            }
            ListWatchEvent::Listed { .. } => {
                let store = &self.workers.pods;
                for uid in store.uids().difference(&self.listed) {
                    if let Some(pod) = store.get(uid) {
                        self.workers.removed(pod);
                    }
                }
                self.workers.synced.notify_one();
            }
            ListWatchEvent::Applied(pod) => self.workers.apply(pod),
            ListWatchEvent::Deleted(pod) => {
                if let Some(pod) = PodRef::new(pod) {
                    self.listed.remove(&pod.uid);
                    self.workers.removed(Arc::new(pod));
                }
            }
        }
    }
}

impl Handler for PodHandler {
    type Object = Pod;

    fn uid(pod: &Pod) -> Uid {
        object_cache::uid(pod)
    }

    fn version(pod: &Pod) -> u64 {
        object_cache::version(pod)
    }

    async fn handle(&mut self, events: Vec<ListWatchEvent<Pod>>) -> bool {
        events.into_iter().for_each(|event| self.take(event));
        true
    }
}

/// The parts of a pod that its worker depends on. The status that the worker wrote itself is not
/// among them; conditions of others are, as readiness gates name them.
fn fingerprint(pod: &PodRef) -> impl PartialEq {
    let meta = &pod.object.metadata;
    (
        serde_json::to_string(&pod.spec).unwrap_or_default(),
        meta.deletion_timestamp.clone(),
        meta.deletion_grace_period_seconds,
        meta.labels.clone(),
        meta.annotations.clone(),
        foreign_conditions(pod).cloned().collect::<Vec<_>>(),
        pod.object
            .status
            .as_ref()
            .is_some_and(|status| matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))),
    )
}
