//! The pod lifecycle event generator: notices what changes in the container runtime and wakes the
//! workers of the pods concerned; the kubelet's PLEG.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use pandaemon_cri::TaskService;
use tokio::sync::Notify;

use crate::{context::Context, orphans, pod::sandbox::POD_UID, pods::Pods};

/// How often the runtime's sandboxes and containers are listed.
const RELIST_INTERVAL: Duration = Duration::from_secs(1);
/// The same while containerd also reports exits.
const RELIST_INTERVAL_WITH_EXITS: Duration = Duration::from_secs(5);
/// The delays before the lists after an exit was reported, in milliseconds. CRI shows the exit a
/// moment later than containerd reports it.
const RELIST_AFTER_EXIT: [u64; 5] = [20, 80, 150, 250, 500];
/// The number of lists between two searches for orphans.
const RELISTS_PER_CLEANUP: u32 = 10;

/// Lists the runtime's sandboxes and containers again and again, and wakes the workers whose pods
/// changed. `synced` says that all pods have been received from the API: from then on orphans are
/// removed. Does not return.
pub(crate) async fn relist(
    context: Arc<Context>,
    pods: Pods,
    synced: Arc<Notify>,
    exits: Arc<ExitEvents>,
) {
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    let (mut cleanup_in, mut quick_relists) = (None, 0);
    loop {
        tokio::select! {
            () = tokio::time::sleep(exits.relist_delay(quick_relists)) => {
                quick_relists = quick_relists.saturating_sub(1);
            }
            () = exits.changed.notified() => {
                quick_relists = RELIST_AFTER_EXIT.len();
                continue;
            }
            () = synced.notified() => cleanup_in = Some(0),
        }
        let Some(hashes) = state_hashes(&context).await else {
            continue;
        };
        for (uid, hash) in &hashes {
            if last.get(uid) != Some(hash) {
                pods.wake(uid);
            }
        }
        for uid in last.keys().filter(|uid| !hashes.contains_key(*uid)) {
            pods.wake(uid);
        }
        cleanup_in = match cleanup_in {
            Some(0) => {
                orphans::remove_orphans(&context, &pods.uids()).await;
                Some(RELISTS_PER_CLEANUP)
            }
            Some(relists) => Some(relists - 1),
            None => None,
        };
        last = hashes;
    }
}

/// The container exits that containerd reports.
#[derive(Default)]
pub(crate) struct ExitEvents {
    changed: Notify,
    subscribed: AtomicBool,
}

impl ExitEvents {
    /// The delay before the next list.
    fn relist_delay(&self, quick_relists: usize) -> Duration {
        let after_exit = RELIST_AFTER_EXIT.iter().rev();
        if let Some(&millis) = after_exit.clone().nth(quick_relists.wrapping_sub(1)) {
            return Duration::from_millis(millis);
        }
        if self.subscribed.load(Ordering::Relaxed) {
            RELIST_INTERVAL_WITH_EXITS
        } else {
            RELIST_INTERVAL
        }
    }

    /// Subscribes to the exits, again after each loss of the connection; does not return.
    pub(crate) async fn follow(self: Arc<Self>, tasks: TaskService) {
        loop {
            if let Ok(mut exits) = tasks.exits().await {
                self.subscribed.store(true, Ordering::Relaxed);
                self.changed.notify_one();
                while exits.next().await.is_some() {
                    self.changed.notify_one();
                }
            }
            self.subscribed.store(false, Ordering::Relaxed);
            self.changed.notify_one();
            tokio::time::sleep(RELIST_INTERVAL).await;
        }
    }
}

/// A hash for each pod of the states of its sandboxes and containers; `None` if the runtime does
/// not respond.
async fn state_hashes(context: &Context) -> Option<BTreeMap<String, u64>> {
    let sandboxes = context.runtime.list_sandboxes(BTreeMap::new());
    let containers = context.runtime.list_containers(BTreeMap::new());
    let (sandboxes, containers) = futures::try_join!(sandboxes, containers).ok()?;
    let sandboxes = sandboxes
        .iter()
        .map(|one| (&one.labels, &one.id, one.state));
    let containers = containers
        .iter()
        .map(|one| (&one.labels, &one.id, one.state));
    let mut hashes: BTreeMap<String, u64> = BTreeMap::new();
    for (labels, id, state) in sandboxes.chain(containers) {
        let Some(uid) = labels.get(POD_UID) else {
            continue;
        };
        let mut hasher = DefaultHasher::new();
        (id, state).hash(&mut hasher);
        // A sum, so that the order of the list does not matter.
        let hash = hashes.entry(uid.clone()).or_default();
        *hash = hash.wrapping_add(hasher.finish());
    }
    Some(hashes)
}
