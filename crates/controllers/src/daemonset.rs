//! The DaemonSet loop: tells the pure planner what happens, and does what it says.
//!
//! One task owns the planner. Feeds (one per kind) send it events, it plans, and each action becomes a
//! task that sends its outcome back as an event. Nothing is decided here, and no action waits for
//! another: a slow DaemonSet holds up only itself.

mod execute;
mod feed;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kube::Client;
use pandaemon_planner::{Action, Event, Listed, Options, Planner, Severity};
use pandaemon_runtime::Shutdown;
use pandaemon_types::Timestamp;
use tokio::sync::mpsc;

use self::{
    execute::{Executor, execute},
    feed::Kind,
};
use crate::recorder::{About, Level, Recorder};

/// Batches of events that may wait for the planner.
const PENDING: usize = 1_024;
/// Batches that are taken in before the next plan.
const BATCHES: usize = 512;

/// Runs the loop until a stop is asked for. `embedded` says that no other scheduler binds pods in this
/// cluster, so that a pod which fits is created on its node at once.
///
/// # Errors
/// When the loop cannot go on.
pub async fn run(client: Client, embedded: bool, stop: Shutdown) -> anyhow::Result<()> {
    let (sender, events) = mpsc::channel(PENDING);
    let recorder = Recorder::start(client.clone(), "daemonset-controller", stop.clone());
    let planner = Planner::new(Options {
        bind: embedded,
        verdicts: false,
    });
    let shell = Shell {
        planner,
        recorder,
        executor: Arc::new(Executor::new(client.clone())),
        client,
        sender,
        stop: stop.clone(),
        listed: BTreeSet::new(),
    };
    stop.guard(shell.run(events)).await;
    Ok(())
}

struct Shell {
    planner: Planner,
    recorder: Recorder,
    executor: Arc<Executor>,
    client: Client,
    sender: mpsc::Sender<Vec<Event>>,
    stop: Shutdown,
    /// The kinds that were read as a whole.
    listed: BTreeSet<Kind>,
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
                let plan = self.planner.plan(now());
                wake_at = plan.wake_at;
                plan.actions.into_iter().for_each(|action| self.act(action));
            }
        }
    }

    fn follow(&self, kind: Kind) {
        let (client, sender) = (self.client.clone(), self.sender.clone());
        let stop = self.stop.clone();
        pandaemon_runtime::spawn("daemonset feed", async move {
            stop.guard(feed::follow(client, kind, sender)).await;
        });
    }

    fn observe(&mut self, batch: Vec<Event>) {
        let now = now();
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
            let about = About {
                api_version: "apps/v1".to_owned(),
                kind: "DaemonSet".to_owned(),
                namespace: set.namespace.to_string(),
                name: set.name.to_string(),
                uid: uid.to_string(),
                resource_version: String::new(),
            };
            let level = match severity {
                Severity::Normal => Level::Normal,
                Severity::Warning => Level::Warning,
            };
            self.recorder.event(&about, level, reason, message);
            return;
        }
        let (executor, sender) = (Arc::clone(&self.executor), self.sender.clone());
        let stop = self.stop.clone();
        pandaemon_runtime::spawn("daemonset action", async move {
            let work = async {
                let result = execute(&executor, &action).await;
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
            stop.guard(work).await;
        });
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
