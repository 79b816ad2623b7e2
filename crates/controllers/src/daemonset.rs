//! The DaemonSet loop: tells the pure planner what happens, and does what it says.
//!
//! One task owns the planner. Feeds (one per kind) send it events, it plans, and each action becomes a
//! task that sends its outcome back as an event. Nothing is decided here, and no action waits for
//! another: a slow DaemonSet holds up only itself.

mod execute;
mod feed;
mod words;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use kube::Client;
use pandaemon_planner::{Action, Event, Listed, Options, Planner, Severity};
use pandaemon_runtime::Shutdown;
use pandaemon_types::Timestamp;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use self::{
    execute::{Executor, execute},
    feed::Kind,
};
use crate::telemetry::Telemetry;
use pandaemon_client::events::{EventRecorder, EventType, ObjectReference};

/// Batches of events that may wait for the planner.
const PENDING: usize = 1_024;
/// Batches that are taken in before the next plan.
const BATCHES: usize = 512;

/// What the loop works with.
#[derive(Clone)]
pub struct Setup {
    /// The cluster.
    pub client: Client,
    /// No other scheduler binds pods in this cluster, so that a pod which fits is created on its node at once.
    pub embedded: bool,
    /// Lists are asked for as streams, where the server can.
    pub streamed: bool,
    /// How long requests that are under way may take to end after a stop.
    pub drain: Duration,
    /// What is counted.
    pub telemetry: Telemetry,
}

impl Setup {
    /// For a control plane that is in this process.
    #[must_use]
    pub fn new(client: Client, embedded: bool) -> Self {
        Self {
            client,
            embedded,
            streamed: false,
            drain: Duration::ZERO,
            telemetry: Telemetry::default(),
        }
    }
}

/// Runs the loop until a stop is asked for. When this returns, none of its requests is under way.
///
/// # Errors
/// When the loop cannot go on.
pub async fn run(setup: Setup, stop: Shutdown) -> anyhow::Result<()> {
    let (sender, events) = mpsc::channel(PENDING);
    let client = setup.client.clone();
    let recorder = EventRecorder::start(client.clone(), "daemonset-controller", stop.clone());
    let planner = Planner::new(Options {
        bind: setup.embedded,
        verdicts: false,
    });
    let (tasks, abort) = (TaskTracker::new(), Shutdown::default());
    let drain = setup.drain;
    let shell = Shell {
        planner,
        recorder,
        executor: Arc::new(Executor::new(client)),
        setup,
        sender,
        stop: stop.clone(),
        listed: BTreeSet::new(),
        tasks: tasks.clone(),
        abort: abort.clone(),
    };
    stop.guard(shell.run(events)).await;
    tasks.close();
    // Too late or not: nothing of it matters after this.
    let _drained = tokio::time::timeout(drain, tasks.wait()).await;
    abort.trigger();
    tasks.wait().await;
    Ok(())
}

struct Shell {
    planner: Planner,
    recorder: EventRecorder,
    executor: Arc<Executor>,
    setup: Setup,
    sender: mpsc::Sender<Vec<Event>>,
    stop: Shutdown,
    /// The kinds that were read as a whole.
    listed: BTreeSet<Kind>,
    /// The actions under way, and what ends them.
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
            // Before everything is known, a plan would create what is there already.
            if self.listed.contains(&Kind::Pods) {
                let began = Instant::now();
                let plan = self.planner.plan(now());
                self.setup.telemetry.planned(began.elapsed());
                self.setup.telemetry.knows(self.planner.known());
                wake_at = plan.wake_at;
                plan.actions.into_iter().for_each(|action| self.act(action));
            }
        }
    }

    fn follow(&self, kind: Kind) {
        let (client, sender) = (self.setup.client.clone(), self.sender.clone());
        let (stop, streamed) = (self.stop.clone(), self.setup.streamed);
        pandaemon_runtime::spawn("daemonset feed", async move {
            stop.guard(feed::follow(client, kind, streamed, sender))
                .await;
        });
    }

    fn observe(&mut self, batch: Vec<Event>) {
        let now = now();
        self.setup.telemetry.observed(batch.len());
        for event in batch {
            if let Event::Listed(listed) = &event {
                let first = self.listed.insert(match listed {
                    Listed::Sets(_) => Kind::Sets,
                    Listed::Nodes(_) => Kind::Nodes,
                    Listed::Pods { .. } => Kind::Pods,
                    Listed::Revisions(_) => Kind::Revisions,
                });
                // Pods come last: finding the owner of each is cheaper than finding the pods of each.
                if first && self.listed.len() == 3 {
                    self.follow(Kind::Pods);
                }
            }
            self.planner.observe(event, now);
        }
    }

    fn act(&self, action: Action) {
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
                resource_version: String::new(),
            };
            let level = match severity {
                Severity::Normal => EventType::Normal,
                Severity::Warning => EventType::Warning,
            };
            self.recorder.event(&about, level, reason, message);
            return;
        }
        let (executor, sender) = (Arc::clone(&self.executor), self.sender.clone());
        let (abort, telemetry) = (self.abort.clone(), self.setup.telemetry.clone());
        let work = async move {
            let word = words::action(&action);
            if let Some(reason) = words::reason(&action) {
                telemetry.deleting(reason);
            }
            let under_way = telemetry.under_way();
            let result = execute(&executor, &action).await;
            drop(under_way);
            telemetry.acted(word, result.is_ok());
            if let Err(failure) = &result {
                tracing::debug!(?action, message = failure.message, "action failed");
            }
            let outcome = Event::Outcome {
                action: Box::new(action),
                result,
            };
            // Without a receiver the loop has ended, and nobody wants to know.
            drop(sender.send(vec![outcome]).await);
        };
        let work = async move { abort.guard(work).await };
        pandaemon_runtime::spawn("daemonset action", self.tasks.track_future(work));
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
