//! The DaemonSet controller: passes events to the pure planner and carries out its actions.
//!
//! One task owns the planner. A feed per kind sends it events. Each action runs as a task of its
//! own and sends its outcome back as an event, so that no action waits for another.

mod execute;
mod feed;
mod metric_labels;
mod setup;

use std::time::{Duration, Instant};

use pandaemon_client::{
    events::{EventRecorder, EventType, ObjectReference},
    object_meta::Key,
    rest::Rest,
    supervise::restart_on_panic,
};
use pandaemon_planner::{Action, Event, Failure, FailureKind, Options, Planner, Reply, Severity};
use pandaemon_runtime::{Shutdown, catch_panic};
use pandaemon_types::Timestamp;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use self::{
    execute::{Executor, execute},
    feed::Kind,
};
pub use setup::Setup;

use crate::{flow_control::request_gate::RequestPriority, scheduler::shared_cache::Reservation};

/// Capacity of the event channel, in batches.
const PENDING: usize = 1_024;
/// The largest number of further batches that are applied before the next plan.
const BATCHES: usize = 512;

/// Runs the controller until `stop` is triggered. When this returns, none of its requests is under
/// way.
///
/// # Errors
/// Never today; callers treat an error as the end of the process.
pub async fn run(setup: Setup, stop: Shutdown) -> anyhow::Result<()> {
    let (sender, events) = mpsc::channel(PENDING);
    let client = setup.client.clone();
    let recorder = EventRecorder::start(client.clone(), "daemonset-controller", stop.clone());
    let planner = Planner::new(Options {
        bind: setup.embedded,
        explain: false,
    });
    let (tasks, abort) = (TaskTracker::new(), Shutdown::default());
    let drain = setup.drain;
    let shell = Shell {
        planner,
        recorder,
        executor: Executor::new(Rest::new(client).timeout(setup.timeout)),
        setup,
        sender,
        stop: stop.clone(),
        ended: Shutdown::default(),
        follows_pods: false,
        tasks: tasks.clone(),
        abort: abort.clone(),
    };
    stop.guard(shell.run(events)).await;
    tasks.close();
    // Requests that exceed the drain time are aborted.
    let _drained = tokio::time::timeout(drain, tasks.wait()).await;
    abort.trigger();
    tasks.wait().await;
    Ok(())
}

struct Shell {
    planner: Planner,
    recorder: EventRecorder,
    executor: Executor,
    setup: Setup,
    sender: mpsc::Sender<Vec<Event>>,
    stop: Shutdown,
    /// Triggered when a feed ends although no stop was asked for.
    ended: Shutdown,
    /// Whether pods are listed and watched: they come last.
    follows_pods: bool,
    /// The tasks of the actions under way, and the signal that aborts them.
    tasks: TaskTracker,
    abort: Shutdown,
}

impl Shell {
    async fn run(mut self, mut events: mpsc::Receiver<Vec<Event>>) {
        for kind in [Kind::Sets, Kind::Revisions, Kind::Nodes] {
            self.follow(kind);
        }
        let mut wake_at = None;
        loop {
            tokio::select! {
                // A feed that ended would leave the planner deaf: a new run starts with new lists.
                () = self.ended.triggered() => return,
                batch = events.recv() => {
                    let Some(batch) = batch else { return };
                    self.observe(batch);
                    for _ in 0..BATCHES {
                        let Ok(batch) = events.try_recv() else { break };
                        self.observe(batch);
                    }
                }
                () = sleep_until(wake_at) => {}
            }
            let began = Instant::now();
            let plan = self.planner.plan(now());
            self.setup.telemetry.planned(began.elapsed());
            self.setup.telemetry.knows(self.planner.known());
            wake_at = plan.wake_at;
            plan.actions.into_iter().for_each(|action| self.act(action));
        }
    }

    fn follow(&self, kind: Kind) {
        let (setup, sender) = (self.setup.clone(), self.sender.clone());
        let (stop, ended) = (self.stop.clone(), self.ended.clone());
        pandaemon_runtime::spawn("daemonset feed", async move {
            let start = || feed::follow(&setup, kind, sender.clone());
            stop.guard(restart_on_panic("daemonset feed", start)).await;
            ended.trigger();
        });
    }

    fn observe(&mut self, batch: Vec<Event>) {
        let now = now();
        self.setup.telemetry.observed(batch.len());
        for event in batch {
            self.planner.observe(event, now);
        }
        if !self.follows_pods && self.planner.knows_all_but_pods() {
            self.follows_pods = true;
            self.follow(Kind::Pods);
        }
    }

    /// Reserves the resources of a pod that is created on its node. Where the scheduler has given
    /// them to another pod meanwhile, the pod is left to the scheduler.
    fn reserve(&self, action: &mut Action) -> Option<Reservation> {
        let Action::CreatePod {
            set,
            node,
            name,
            bind,
            template,
            ..
        } = action
        else {
            return None;
        };
        let cache = self.setup.scheduler.as_ref().filter(|_| *bind)?;
        let pod = Key::new(&*set.namespace, &**name);
        let reservation = cache.reserve(&pod, node, template.resources());
        *bind = reservation.is_some();
        reservation
    }

    fn act(&self, mut action: Action) {
        if let Action::Event {
            set,
            uid,
            severity,
            reason,
            message,
        } = action
        {
            let about = ObjectReference {
                api_version: "apps/v1".to_owned(),
                kind: "DaemonSet".to_owned(),
                namespace: set.namespace.to_string(),
                name: set.name.to_string(),
                uid: uid.to_string(),
                ..ObjectReference::default()
            };
            let level = match severity {
                Severity::Normal => EventType::Normal,
                Severity::Warning => EventType::Warning,
            };
            self.recorder.event(&about, level, reason, message);
            return;
        }
        let reservation = self.reserve(&mut action);
        let rank = self.planner.rank(action.set());
        let executor = self.executor.with_priority(rank.map(RequestPriority));
        let sender = self.sender.clone();
        let (abort, telemetry) = (self.abort.clone(), self.setup.telemetry.clone());
        let work = async move {
            let word = metric_labels::action(&action);
            if let Some(reason) = metric_labels::reason(&action) {
                telemetry.deleting(reason);
            }
            let under_way = telemetry.under_way();
            let executing = Box::pin(execute(&executor, &action));
            let result = catch_panic("daemonset action", executing).await;
            let result = result.unwrap_or_else(|| Err(panicked()));
            drop(under_way);
            if let Some(reservation) = reservation {
                settle(reservation, &result);
            }
            telemetry.acted(word, result.is_ok());
            if let Err(failure) = &result {
                tracing::debug!(?action, message = failure.message, "action failed");
            }
            let outcome = Event::Outcome {
                action: Box::new(action),
                result,
            };
            // Without a receiver the controller has stopped.
            drop(sender.send(vec![outcome]).await);
        };
        let work = async move { abort.guard(work).await };
        pandaemon_runtime::spawn("daemonset action", self.tasks.track_future(work));
    }
}

/// Gives the room of a pod back if it was not created. A pod whose creation got no answer may
/// exist.
fn settle(reservation: Reservation, result: &Result<Reply, Failure>) {
    match result {
        Ok(_) => reservation.keep(),
        Err(failure) if failure.kind == FailureKind::Unclear => reservation.keep_until_seen(),
        Err(_) => drop(reservation),
    }
}

/// The outcome of an action that panicked: its requests may have been carried out.
fn panicked() -> Failure {
    Failure {
        kind: FailureKind::Unclear,
        message: "the action panicked; the log says where".to_owned(),
        retry_after: 0,
    }
}

fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_millisecond())
}

async fn sleep_until(at: Option<Timestamp>) {
    match at {
        None => std::future::pending().await,
        Some(at) => {
            let millis = u64::try_from(at.millis_since(now())).unwrap_or(0);
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::scheduler::shared_cache::SharedCache;

    #[test]
    fn room_is_kept_unless_the_pod_was_not_created() {
        let failed = |kind| Err(Failure { kind, ..panicked() });
        let cases = [
            (Ok(Reply::Done), true),
            (failed(FailureKind::Unclear), true),
            (failed(FailureKind::Refused), false),
            (failed(FailureKind::NotFound), false),
            (failed(FailureKind::NamespaceTerminating), false),
        ];
        for (result, is_kept) in cases {
            let cache = SharedCache::default();
            let pod = Key::new("ns", "agent-a");
            let room = cache.reserve(&pod, "a", &Arc::default());
            settle(room.expect("no node was seen"), &result);
            assert_eq!(cache.is_reserved(&pod), is_kept, "{result:?}");
        }
    }
}
