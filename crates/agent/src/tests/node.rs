//! An agent without its host: pod workers with the fake runtime and the API server in memory.

use std::{path::PathBuf, sync::Arc, time::Duration};

use pandaemon_client::events::EventRecorder;
use pandaemon_cri::FakeRuntime;
use pandaemon_runtime::Shutdown;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::fake_api::FakeApi;
use crate::{
    api::{identity::Identity, node_registration::NodeRegistration, object_cache::ObjectCache},
    clock::Clock,
    config::{Config, Paths},
    context::Context,
    host::{
        CgroupVersion, Machine, api_server_rules::ApiServerRules, cgroups::PodCgroups, tmpfs::Tmpfs,
    },
    images::Images,
    pod_workers::PodWorkers,
    pods::Pods,
    sealed::SealedFiles,
};

/// The time at which the clock of a test begins, in milliseconds since 1970.
pub(super) const BEGIN: i64 = 1_000_000_000_000;

/// A node whose pods run in the fake runtime.
pub(super) struct Node {
    pub(super) api: FakeApi,
    pub(super) runtime: FakeRuntime,
    pub(super) pods: Pods,
    clock: watch::Sender<i64>,
    context: Arc<Context>,
    shutdown: Shutdown,
    dir: Arc<tempfile::TempDir>,
}

impl Node {
    /// A node with the image `image:1`, whose agent has started.
    pub(super) fn start() -> Self {
        Self::start_with(FakeApi::default(), FakeRuntime::with_images(&["image:1"]))
    }

    /// A node with this API server and runtime, whose agent has started.
    pub(super) fn start_with(api: FakeApi, runtime: FakeRuntime) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let tmpfs = Tmpfs::Recorded(Arc::default());
        Self::boot(api, runtime, dir, watch::Sender::new(BEGIN), tmpfs)
    }

    fn boot(
        api: FakeApi,
        runtime: FakeRuntime,
        dir: Arc<tempfile::TempDir>,
        clock: watch::Sender<i64>,
        tmpfs: Tmpfs,
    ) -> Self {
        let shutdown = Shutdown::default();
        let data = dir.path().join("data");
        let config = Config::new("https://10.0.0.9:6443", "a.b", "n1", &data);
        let manual = Clock::Manual(clock.clone());
        let context = context(api.client(), config, &runtime, manual, tmpfs, &shutdown);
        let pods = PodWorkers::start(Arc::clone(&context), shutdown.clone());
        Self {
            api,
            runtime,
            pods,
            clock,
            context,
            shutdown,
            dir,
        }
    }

    /// Ends the agent and starts another one with the same data directory and runtime.
    pub(super) async fn restart(self) -> Self {
        let runtime = self.runtime.clone();
        let (api, clock, context, dir) = self.end().await;
        Self::boot(api, runtime, dir, clock, context.tmpfs.clone())
    }

    /// Ends the agent, as a reboot does: an empty runtime, and nothing in memory. Starts another
    /// agent with the same data directory.
    pub(super) async fn reboot(self) -> Self {
        let runtime = FakeRuntime::with_images(&["image:1"]);
        let mounted = self.mounted();
        let (api, clock, _context, dir) = self.end().await;
        for path in mounted {
            std::fs::remove_dir_all(&path).unwrap();
            std::fs::create_dir(path).unwrap();
        }
        Self::boot(api, runtime, dir, clock, Tmpfs::Recorded(Arc::default()))
    }

    async fn end(
        self,
    ) -> (
        FakeApi,
        watch::Sender<i64>,
        Arc<Context>,
        Arc<tempfile::TempDir>,
    ) {
        let (api, clock) = (self.api.clone(), self.clock.clone());
        let (context, dir) = (Arc::clone(&self.context), Arc::clone(&self.dir));
        drop(self);
        // Every task of the agent has a share of the context.
        until("the agent has ended", || Arc::strong_count(&context) == 1).await;
        (api, clock, context, dir)
    }

    /// Where the agent has mounted a tmpfs.
    pub(super) fn mounted(&self) -> Vec<PathBuf> {
        match &self.context.tmpfs {
            Tmpfs::Recorded(mounted) => mounted.lock().clone(),
            Tmpfs::System => Vec::new(),
        }
    }

    /// What the parts of the agent share.
    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The paths of the agent.
    pub(super) fn paths(&self) -> &Paths {
        &self.context.paths
    }

    /// The ConfigMaps and Secrets that pods use.
    pub(super) fn object_cache(&self) -> &ObjectCache {
        &self.context.object_cache
    }

    /// Advances the clock.
    pub(super) fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap();
        self.clock.send_modify(|now| *now += by);
    }

    /// Makes the process of the newest container of this name exit, and wakes the pod's worker.
    pub(super) fn exit(&self, pod: &str, container: &str, code: i32) {
        let id = self.runtime.containers(container).pop().unwrap();
        self.runtime
            .exit(&id, code, *self.clock.borrow() * 1_000_000);
        self.pods.wake(&uid(pod));
    }

    /// Waits until a call that begins with `call` was made to the runtime.
    pub(super) async fn called(&self, call: &str) {
        let wait = self.runtime.called(call);
        if tokio::time::timeout(Duration::from_secs(30), wait)
            .await
            .is_err()
        {
            panic!("no call {call:?}; {:#?}", self.runtime.calls());
        }
    }

    /// The calls to the runtime that begin with `call`.
    pub(super) fn calls(&self, call: &str) -> Vec<String> {
        let mut calls = self.runtime.calls();
        calls.retain(|one| one.starts_with(call));
        calls
    }

    /// Wakes a pod's worker and waits until it has looked at the runtime and acted, twice: what the
    /// first look led to has then begun.
    pub(super) async fn settle(&self, pod: &str) {
        let look = format!("list_containers {}", uid(pod));
        for _ in 0..2 {
            let before = self.calls(&look).len();
            self.pods.wake(&uid(pod));
            until(&look, || self.calls(&look).len() > before).await;
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

/// What the parts of an agent share that reaches the API server through this client. The parent of
/// its data directory is the test's.
pub(super) fn context(
    api: kube::Client,
    config: Config,
    runtime: &FakeRuntime,
    clock: Clock,
    tmpfs: Tmpfs,
    shutdown: &Shutdown,
) -> Arc<Context> {
    let paths = Paths::new(&config);
    let registration = NodeRegistration::load(&config.node_name, Identity::new(paths.identity()));
    let client = registration.watch(api);
    let sealed = Arc::new(SealedFiles::open(&paths.sealing_key()).unwrap());
    let cgroups = config.data_dir.with_file_name("cgroup");
    std::fs::create_dir_all(&cgroups).unwrap();
    let runtime = Arc::new(runtime.clone());
    Arc::new(Context {
        api_server: Arc::new(ApiServerRules::new(&config, &paths, false)),
        clock,
        machine: Machine {
            cgroups: CgroupVersion::V2,
            may_lower_oom_score: false,
            shared_mounts: false,
            overlay: false,
            iptables: false,
            memory: 1 << 30,
            cpus: 2,
            kernel: String::new(),
            os_image: String::new(),
        },
        address: [10, 0, 0, 8].into(),
        images: Images::new(Arc::clone(&runtime) as _, Default::default()),
        runtime,
        tasks: None,
        cgroups: PodCgroups::new(CgroupVersion::V2, &cgroups, "pandaemon"),
        object_cache: ObjectCache::new(client.clone(), paths.saved_objects(), Arc::clone(&sealed)),
        sealed,
        tmpfs,
        events: EventRecorder::start_on(
            client.clone(),
            "kubelet",
            config.node_name.clone(),
            shutdown.clone(),
        ),
        client,
        registration,
        paths,
        config,
    })
}

/// Lets other tasks run until this holds.
pub(super) async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
    assert!(waited.is_ok(), "waited too long for: {what}");
}

/// The uid of the pod with this name.
pub(super) fn uid(pod: &str) -> String {
    format!("uid-{pod}")
}

/// A pod with these containers: a name and an image each.
pub(super) fn pod(name: &str, containers: &[(&str, &str)]) -> Value {
    let containers: Vec<_> = containers
        .iter()
        .map(|(name, image)| json!({ "name": name, "image": image, "imagePullPolicy": "IfNotPresent" }))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "default", "uid": uid(name) },
        "spec": { "nodeName": "n1", "terminationGracePeriodSeconds": 30, "containers": containers },
    })
}
