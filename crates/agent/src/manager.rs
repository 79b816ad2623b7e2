//! All pods of this node: watched from the API, remembered on disk, each handed to its worker.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    runtime::watcher::{self, Event},
};
use pandaemon_runtime::Shutdown;
use parking_lot::RwLock;
use tokio::sync::{Notify, mpsc};

use crate::{
    context::Context,
    files, orphans,
    pod::{
        PodRef,
        sandbox::POD_UID,
        worker::{self, Desired, Handle},
    },
};

/// Workers that have ended and wait to be noted.
const ENDED: usize = 64;
/// How often the runtime is asked what changed by itself.
const RELIST: Duration = Duration::from_secs(1);
/// How often it is asked while it also tells.
const RELIST_BESIDE: Duration = Duration::from_secs(5);
/// After it told: when to look, in milliseconds. The lists show an end a moment after it is told.
const SOON: [u64; 5] = [20, 80, 150, 250, 500];
/// Rounds of that between two searches for what nobody owns any more.
const CLEAN_EVERY: u32 = 10;

/// The pods of this node as others may see them.
#[derive(Clone, Default)]
pub(crate) struct Pods(Arc<RwLock<BTreeMap<String, Entry>>>);

#[derive(Clone)]
struct Entry {
    pod: Arc<PodRef>,
    handle: Handle,
}

impl Pods {
    /// A pod by namespace and name, with its present status.
    #[must_use]
    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<Arc<PodRef>> {
        let pods = self.0.read();
        let mut found = pods
            .values()
            .filter(|e| e.pod.namespace == namespace && e.pod.name == name);
        found.next_back().map(|entry| Arc::clone(&entry.pod))
    }

    /// All pods as objects, with their present status.
    #[must_use]
    pub(crate) fn list(&self) -> Vec<serde_json::Value> {
        let pods = self.0.read();
        let object = |entry: &Entry| {
            let mut object = serde_json::to_value(entry.pod.to_object()).unwrap_or_default();
            object["status"] = entry.handle.status.borrow().clone();
            object
        };
        pods.values().map(object).collect()
    }

    /// How many there are.
    #[must_use]
    pub(crate) fn count(&self) -> usize {
        self.0.read().len()
    }

    fn uids(&self) -> BTreeSet<String> {
        self.0.read().keys().cloned().collect()
    }
}

/// The one who owns the workers.
pub(crate) struct Manager {
    context: Arc<Context>,
    pods: Pods,
    shutdown: Shutdown,
    done: mpsc::Sender<String>,
    /// Pods seen in the list that is being received.
    listed: BTreeSet<String>,
    /// Wakes the relist when the first whole list has arrived.
    synced: Arc<Notify>,
}

impl Manager {
    /// A manager, with the pods known from disk already started.
    #[must_use]
    pub(crate) fn start(context: Arc<Context>, shutdown: Shutdown) -> Pods {
        let (done, ended) = mpsc::channel(ENDED);
        let pods = Pods::default();
        let manager = Self {
            context,
            pods: pods.clone(),
            shutdown: shutdown.clone(),
            done,
            listed: BTreeSet::new(),
            synced: Arc::new(Notify::new()),
        };
        manager.remember();
        let (context, synced) = (Arc::clone(&manager.context), Arc::clone(&manager.synced));
        let exits = Arc::new(Exits::default());
        let follow = Arc::clone(&exits).follow(Arc::clone(&context));
        let stop = shutdown.clone();
        pandaemon_runtime::spawn("exits", async move { stop.guard(follow).await });
        let relist = relist(context, pods.clone(), synced, exits);
        let stop = shutdown.clone();
        pandaemon_runtime::spawn("relist", async move { stop.guard(relist).await });
        pandaemon_runtime::spawn(
            "pods",
            async move { shutdown.guard(manager.run(ended)).await },
        );
        pods
    }

    fn dir(&self) -> PathBuf {
        self.context.paths.known_pods()
    }

    /// Starts the pods that ran here when the agent last knew, also without a control plane.
    fn remember(&self) {
        let entries = std::fs::read_dir(self.dir())
            .into_iter()
            .flatten()
            .flatten();
        for entry in entries.filter(|one| one.path().extension().is_some_and(|e| e == "json")) {
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            match serde_json::from_slice::<Pod>(&bytes) {
                Ok(pod) => self.apply(pod),
                Err(error) => tracing::warn!(path = %entry.path().display(), %error, "known pod"),
            }
        }
    }

    async fn run(mut self, mut ended: mpsc::Receiver<String>) {
        let api: Api<Pod> = Api::all(self.context.client.clone());
        let selector = format!("spec.nodeName={}", self.context.config.node_name);
        let config = watcher::Config::default().fields(&selector);
        let mut stream = std::pin::pin!(watcher::watcher(api, config));
        let mut pause = Duration::from_millis(100);
        loop {
            tokio::select! {
                Some(uid) = ended.recv() => self.end(&uid),
                item = stream.next() => match item {
                    Some(Ok(event)) => {
                        pause = Duration::from_millis(100);
                        self.handle(event);
                    }
                    Some(Err(error)) => {
                        tracing::debug!(%error, "watch pods");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(Duration::from_secs(5));
                    }
                    None => return,
                },
            }
        }
    }

    fn handle(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                self.listed.extend(pod.metadata.uid.clone());
                self.apply(pod);
            }
            Event::InitDone => {
                let gone: Vec<_> = self.pods.uids().difference(&self.listed).cloned().collect();
                for uid in gone {
                    let pod = self
                        .pods
                        .0
                        .read()
                        .get(&uid)
                        .map(|entry| Arc::clone(&entry.pod));
                    if let Some(pod) = pod {
                        self.gone(pod);
                    }
                }
                self.synced.notify_one();
            }
            Event::Apply(pod) => self.apply(pod),
            Event::Delete(pod) => {
                if let Some(pod) = PodRef::new(pod) {
                    self.gone(Arc::new(pod));
                }
            }
        }
    }

    fn apply(&self, pod: Pod) {
        let Some(pod) = PodRef::new(pod) else { return };
        let (uid, pod) = (pod.uid.clone(), Arc::new(pod));
        let mut pods = self.pods.0.write();
        if let Some(entry) = pods.get_mut(&uid) {
            if essence(&entry.pod) != essence(&pod) {
                self.keep_copy(&pod);
                entry
                    .handle
                    .desired
                    .send_replace(Desired::Pod(Arc::clone(&pod)));
            }
            entry.pod = pod;
            return;
        }
        self.keep_copy(&pod);
        let handle = worker::start(
            &self.context,
            Arc::clone(&pod),
            false,
            self.done.clone(),
            self.shutdown.clone(),
        );
        pods.insert(uid, Entry { pod, handle });
    }

    fn gone(&self, pod: Arc<PodRef>) {
        let mut pods = self.pods.0.write();
        if let Some(entry) = pods.get_mut(&pod.uid) {
            entry
                .handle
                .desired
                .send_replace(Desired::Gone(Arc::clone(&pod)));
            entry.pod = pod;
        }
    }

    fn end(&self, uid: &str) {
        self.pods.0.write().remove(uid);
        if let Err(error) = files::remove(&self.dir().join(format!("{uid}.json"))) {
            tracing::warn!(%error, uid, "forget a pod");
        }
    }

    fn keep_copy(&self, pod: &PodRef) {
        let path = self.dir().join(format!("{}.json", pod.uid));
        let written = serde_json::to_vec(&pod.to_object())
            .map_err(std::io::Error::other)
            .and_then(|bytes| files::replace(&path, &bytes, 0o600));
        if let Err(error) = written {
            tracing::warn!(%error, pod = pod.name, "keep a copy of a pod");
        }
    }
}

/// What of a pod a worker acts on; the status that it wrote itself is not part of it.
fn essence(pod: &PodRef) -> impl PartialEq {
    let meta = &pod.object.metadata;
    (
        serde_json::to_string(&pod.spec).unwrap_or_default(),
        meta.deletion_timestamp.clone(),
        meta.deletion_grace_period_seconds,
        meta.labels.clone(),
        meta.annotations.clone(),
        pod.spec
            .readiness_gates
            .is_some()
            .then(|| pod.object.status.clone()),
        pod.object
            .status
            .as_ref()
            .is_some_and(|status| matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))),
    )
}

/// Asks the runtime again and again what there is, and tells the workers whose pods changed.
async fn relist(context: Arc<Context>, pods: Pods, synced: Arc<Notify>, exits: Arc<Exits>) {
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    let (mut clean_in, mut soon) = (None, 0);
    loop {
        tokio::select! {
            () = tokio::time::sleep(exits.period(soon)) => soon = soon.saturating_sub(1),
            () = exits.happened.notified() => {
                soon = SOON.len();
                continue;
            }
            () = synced.notified() => clean_in = Some(0),
        }
        let Some(prints) = fingerprints(&context).await else {
            continue;
        };
        for (uid, print) in &prints {
            if last.get(uid) != Some(print)
                && let Some(entry) = pods.0.read().get(uid)
            {
                entry.handle.changed.notify_one();
            }
        }
        for uid in last.keys().filter(|uid| !prints.contains_key(*uid)) {
            if let Some(entry) = pods.0.read().get(uid) {
                entry.handle.changed.notify_one();
            }
        }
        // Only what the API does not know of is cleaned, and only once it has been asked.
        clean_in = match clean_in {
            Some(0) => {
                orphans::clean(&context, &pods.uids()).await;
                Some(CLEAN_EVERY)
            }
            Some(rounds) => Some(rounds - 1),
            None => None,
        };
        last = prints;
    }
}

/// What containerd says by itself about processes that ended.
#[derive(Default)]
struct Exits {
    happened: Notify,
    heard: AtomicBool,
}

impl Exits {
    /// While ends are heard of at once, looking is only for what nobody says.
    fn period(&self, soon: usize) -> Duration {
        if let Some(&millis) = SOON.iter().rev().nth(soon.wrapping_sub(1)) {
            return Duration::from_millis(millis);
        }
        if self.heard.load(Ordering::Relaxed) {
            RELIST_BESIDE
        } else {
            RELIST
        }
    }

    async fn follow(self: Arc<Self>, context: Arc<Context>) {
        let Some(tasks) = &context.tasks else { return };
        loop {
            if let Ok(mut exits) = tasks.exits().await {
                self.heard.store(true, Ordering::Relaxed);
                self.happened.notify_one();
                while exits.next().await.is_some() {
                    self.happened.notify_one();
                }
            }
            self.heard.store(false, Ordering::Relaxed);
            self.happened.notify_one();
            tokio::time::sleep(RELIST).await;
        }
    }
}

/// A number for each pod that differs when anything of it changed.
async fn fingerprints(context: &Context) -> Option<BTreeMap<String, u64>> {
    let sandboxes = context.runtime.list_sandboxes(BTreeMap::new());
    let containers = context.runtime.list_containers(BTreeMap::new());
    let (sandboxes, containers) = futures::try_join!(sandboxes, containers).ok()?;
    let sandboxes = sandboxes
        .iter()
        .map(|one| (&one.labels, &one.id, one.state));
    let containers = containers
        .iter()
        .map(|one| (&one.labels, &one.id, one.state));
    let mut prints: BTreeMap<String, u64> = BTreeMap::new();
    for (labels, id, state) in sandboxes.chain(containers) {
        let Some(uid) = labels.get(POD_UID) else {
            continue;
        };
        let mut hasher = DefaultHasher::new();
        (id, state).hash(&mut hasher);
        // The order of the list must not matter.
        let print = prints.entry(uid.clone()).or_default();
        *print = print.wrapping_add(hasher.finish());
    }
    Some(prints)
}
