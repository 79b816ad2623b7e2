//! The phases of a run, and its clean-up.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use jiff::Timestamp;
use kube::Client;
use pandaemon_client::{
    list_watch::{Delta, ListWatch, watch},
    rest::Rest,
};
use pandaemon_runtime::{Shutdown, spawn};
use tokio::time::{Instant, sleep, timeout};

use super::{
    BenchArgs, ceiling,
    cluster::{Cluster, LABEL, Manifest},
    nodes::{self, Usable},
    other_clients,
    phase_timer::{PhaseTimer, RunningPhase},
    progress::{Counts, DaemonSet, Goal, Progress},
    progress_bar::PhaseBar,
    report::{Ceiling, Results, Spread},
};
use crate::{node::HollowNodes, node_tasks::NodeTasks, pod::Pod, pod_loop::PodObserver};

/// Pause between two joining nodes, so that writes about one are over when the next registers.
const PAUSE: Duration = Duration::from_millis(50);

/// The state of a run.
pub(super) struct Run {
    pub(super) args: BenchArgs,
    cluster: Cluster,
    manifest: Manifest,
    /// Value of the label of this run's nodes.
    run_id: String,
    tasks: NodeTasks,
    progress: Arc<Progress>,
    pub(super) timer: PhaseTimer,
    pub(super) results: Results,
    pub(super) ceiling: Option<Ceiling>,
    other_clients: Option<other_clients::Running>,
    pub(super) version: String,
}

impl Run {
    /// Starts the tasks and watches; nothing is created yet. They end with `work`.
    pub(super) async fn prepare(
        client: Client,
        mut args: BenchArgs,
        work: &Shutdown,
    ) -> Result<Self> {
        // An administrator's requests never wait for those of others.
        args.behaviour.as_nodes |= args.other_clients.is_wanted();
        let run_id = format!("r{:x}", Timestamp::now().as_millisecond());
        let namespace = format!("pandaemon-bench-{run_id}");
        let manifest = Manifest::load(args.daemonset.as_deref())?;
        let selector = (!args.hollow_external).then_some(run_id.as_str());
        let manifest = manifest.with_run(&namespace, selector, &args.roll);
        let rest = Rest::new(client);
        let cluster = Cluster { rest, namespace };
        let version = cluster.version().await?;
        let timer = PhaseTimer::start(&args.pid, work)?;
        let progress = Arc::new(Progress::new(&cluster.namespace));
        let count = if args.hollow_external {
            0
        } else {
            args.nodes.get() + args.joining()
        };
        let hollow_nodes = Arc::new(HollowNodes::new(
            &args.behaviour,
            count,
            &[(LABEL, &run_id)],
        ));
        let taken = format!("/api/v1/nodes/{}", hollow_nodes.name(0));
        ensure!(
            count == 0 || !cluster.exists(&taken).await?,
            "the node {} exists already: delete it, or choose another --name-prefix",
            hollow_nodes.name(0)
        );
        let observer: PodObserver = {
            let progress = Arc::clone(&progress);
            Arc::new(move |delta: &Delta<Pod>| progress.pods(delta))
        };
        let client = cluster.rest.client().clone();
        let tasks = NodeTasks::start(client, &args.behaviour, hollow_nodes, Some(observer), work);
        watch_daemonset(&cluster, &manifest, &progress, work);
        Ok(Self {
            args,
            cluster,
            manifest,
            run_id,
            tasks,
            progress,
            timer,
            results: Results::default(),
            ceiling: None,
            other_clients: None,
            version,
        })
    }

    /// Runs all phases.
    pub(super) async fn measure(&mut self) -> Result<()> {
        let open = timeout(self.args.timeout, self.cluster.create_namespace());
        open.await.map_err(|_| self.timed_out("namespace"))??;
        if !self.args.hollow_external {
            self.nodes().await?;
        }
        if self.args.ceiling {
            self.ceiling().await?;
        }
        self.roll_out().await?;
        if self.args.joining() > 0 {
            self.joins().await?;
        }
        if self.args.other_clients.is_wanted() {
            self.start_other_clients().await?;
        }
        self.results.update_seconds = Some(self.update("rolling update", false).await?);
        self.results.rollback_seconds = Some(self.update("roll back", true).await?);
        if let Some(clients) = self.other_clients.take() {
            self.end_other_clients(clients).await?;
        }
        self.deletion().await?;
        let results = &mut self.results;
        results.cpu_seconds = self
            .timer
            .cpu_of(|name| !["nodes", "ceiling"].contains(&name));
        results.total_cpu_seconds = self.timer.cpu_of(|name| name != "ceiling");
        results.peak_memory_bytes = self.timer.peak();
        let rates = results.pods_per_second.zip(self.ceiling.as_ref());
        results.ceiling_ratio = rates.map(|(rate, ceiling)| rate / ceiling.pods_per_second);
        Ok(())
    }

    async fn nodes(&mut self) -> Result<()> {
        let count = self.args.nodes.get();
        let phase = self.timer.begin("nodes")?;
        let bar = PhaseBar::begin("nodes", count);
        let usable = Usable::default();
        let watching =
            nodes::wait_until_usable(self.cluster.rest.client(), &self.run_id, count, &usable);
        let registering = async {
            self.tasks.register(0..count, || bar.step()).await?;
            anyhow::Ok(Instant::now())
        };
        let both = async { futures::try_join!(registering, watching) };
        let (created, ready) = timeout(self.args.timeout, both).await.map_err(|_| {
            let usable = usable.count();
            anyhow!(
                "nodes: {usable} of {count} can be used after {:?} (--timeout)",
                self.args.timeout
            )
        })??;
        let rate = f64::from(count) / created.duration_since(phase.since()).as_secs_f64();
        self.results.nodes_per_second = Some(rate);
        let end = ready.max(created);
        let seconds = self.timer.end(&phase, end)?;
        self.results.nodes_ready_seconds = Some(seconds);
        bar.done(seconds, &format!("{rate:.0} nodes/s"));
        Ok(())
    }

    async fn ceiling(&mut self) -> Result<()> {
        let phase = self.timer.begin("ceiling")?;
        let bar = PhaseBar::begin("ceiling", 5);
        let span = self.args.ceiling_span;
        let step = |level| bar.at(level, String::new());
        let measured = ceiling::measure(&self.cluster, span, step);
        let measured = timeout(self.args.timeout, measured).await;
        let ceiling = measured.map_err(|_| self.timed_out("ceiling"))??;
        let seconds = self.timer.end(&phase, Instant::now())?;
        bar.done(seconds, &format!("{:.0} pods/s", ceiling.pods_per_second));
        self.ceiling = Some(ceiling);
        Ok(())
    }

    async fn roll_out(&mut self) -> Result<()> {
        let nodes = self.args.nodes.get();
        let phase = self.timer.begin("roll-out")?;
        let count = usize::try_from(nodes)?;
        self.progress
            .set_goals(vec![Goal::Pods(count), Goal::Available(nodes)]);
        let sets = self.cluster.path("/apis/apps/v1", "daemonsets");
        self.cluster.create(&sets, &self.manifest.0).await?;
        let bar = PhaseBar::begin("roll-out", nodes);
        let reached = self
            .reached(&bar, |counts| counts.status.number_available)
            .await?;
        let [exist, available] = reached[..] else {
            return Err(self.timed_out("roll-out"));
        };
        let exist = exist.duration_since(phase.since()).as_secs_f64();
        let rate = f64::from(nodes) / exist;
        let seconds = self.timer.end(&phase, available)?;
        bar.done(
            seconds,
            &format!("all pods after {exist:.2} s, {rate:.0}/s"),
        );
        let results = &mut self.results;
        results.pods_exist_seconds = Some(exist);
        results.pods_per_second = Some(rate);
        results.available_seconds = Some(seconds);
        Ok(())
    }

    async fn joins(&mut self) -> Result<()> {
        let (first, joins) = (self.args.nodes.get(), self.args.joining());
        let phase = self.timer.begin("joins")?;
        let bar = PhaseBar::begin("joins", joins);
        let mut times = Vec::new();
        for index in first..first + joins {
            self.progress
                .set_goals(vec![Goal::Ready(self.tasks.nodes().name(index))]);
            let start = Instant::now();
            self.tasks.register(index..index + 1, || ()).await?;
            let reached = self.progress.reached(self.args.timeout, |_| ()).await;
            let reached = reached.ok_or_else(|| self.timed_out("joins"))?;
            times.extend(reached.iter().map(|end| end.duration_since(start)));
            bar.step();
            sleep(PAUSE).await;
        }
        let seconds = self.timer.end(&phase, Instant::now())?;
        self.progress
            .set_goals(vec![Goal::Available(first + joins)]);
        let settled = self.progress.reached(self.args.timeout, |_| ()).await;
        settled.ok_or_else(|| self.timed_out("joins"))?;
        let spread = Spread::of(&times).context("no node joined")?;
        bar.done(seconds, &format!("p50 {:.1} ms", spread.p50));
        self.results.join_milliseconds = Some(spread);
        Ok(())
    }

    /// Starts the clients that use the server during the next phases.
    async fn start_other_clients(&mut self) -> Result<()> {
        let phase = self.timer.begin("other clients")?;
        let args = self.args.other_clients.clone();
        let bar = PhaseBar::begin("other clients", args.listers + args.creators);
        let started = other_clients::Running::start(&self.cluster, args);
        let started = timeout(self.args.timeout, started).await;
        self.other_clients = Some(started.map_err(|_| self.timed_out("other clients"))??);
        let seconds = self.timer.end(&phase, Instant::now())?;
        bar.done(seconds, "begin");
        Ok(())
    }

    async fn end_other_clients(&mut self, clients: other_clients::Running) -> Result<()> {
        let phase = self.timer.begin("only other clients")?;
        let bar = PhaseBar::begin("only other clients", 1);
        let ended = clients.end(&self.run_id).await?;
        let seconds = self.timer.end(&phase, Instant::now())?;
        bar.done(seconds, "end");
        self.results.other_clients = Some(ended);
        Ok(())
    }

    async fn update(&mut self, name: &'static str, back: bool) -> Result<f64> {
        let nodes = self.args.nodes.get() + self.args.joining();
        let after = self.progress.generation();
        let phase = self.timer.begin(name)?;
        self.progress
            .set_goals(vec![Goal::Updated { nodes, after }]);
        if back {
            self.cluster.roll_back(self.manifest.name()).await?;
        } else {
            self.cluster.update_template(self.manifest.name()).await?;
        }
        let bar = PhaseBar::begin(name, nodes);
        let updated = |counts: &Counts| counts.status.updated_number_scheduled;
        self.finish(&phase, bar, updated).await
    }

    async fn deletion(&mut self) -> Result<()> {
        let nodes = self.args.nodes.get() + self.args.joining();
        let phase = self.timer.begin("deletion")?;
        self.progress.set_goals(vec![Goal::Pods(0)]);
        self.cluster.delete_daemonset(self.manifest.name()).await?;
        let bar = PhaseBar::begin("deletion", nodes);
        let gone = move |counts: &Counts| {
            nodes.saturating_sub(u32::try_from(counts.pods).unwrap_or(u32::MAX))
        };
        let seconds = self.finish(&phase, bar, gone).await?;
        self.results.deletion_seconds = Some(seconds);
        Ok(())
    }

    /// Waits for the only goal of a phase and ends the phase. Returns its seconds.
    async fn finish(
        &mut self,
        phase: &RunningPhase,
        bar: PhaseBar,
        position: impl Fn(&Counts) -> u32,
    ) -> Result<f64> {
        let reached = self.reached(&bar, position).await?;
        let end = reached.first().copied().unwrap_or_else(Instant::now);
        let seconds = self.timer.end(phase, end)?;
        bar.done(seconds, "");
        Ok(seconds)
    }

    async fn reached(
        &self,
        bar: &PhaseBar,
        position: impl Fn(&Counts) -> u32,
    ) -> Result<Vec<Instant>> {
        let show = |counts: &Counts| {
            let at = usize::try_from(position(counts)).unwrap_or(usize::MAX);
            bar.at(at, format!("{} pods", counts.pods));
        };
        let reached = self.progress.reached(self.args.timeout, show).await;
        reached.ok_or_else(|| self.timed_out(bar.name()))
    }

    /// The error of a phase that took too long, with the progress it made.
    fn timed_out(&self, phase: &str) -> anyhow::Error {
        let Counts { pods, status } = self.progress.counts();
        anyhow!(
            "{phase}: not done after {:?} (--timeout): {pods} pods exist; the DaemonSet wants {}, \
             has {} of the newest template, {} available",
            self.args.timeout,
            status.desired_number_scheduled,
            status.updated_number_scheduled,
            status.number_available
        )
    }

    /// The commands that clean up by hand.
    pub(super) fn cleanup_commands(&self) -> String {
        let namespace = &self.cluster.namespace;
        let run_id = &self.run_id;
        format!("kubectl delete namespace {namespace}; kubectl delete nodes -l {LABEL}={run_id}")
    }

    /// Deletes everything that was created.
    pub(super) async fn clean(&mut self) -> Result<()> {
        // Their process ends first.
        drop(self.other_clients.take());
        let other_clients = match self.args.other_clients.is_wanted() {
            true => other_clients::clean(&self.cluster).await,
            false => Ok(()),
        };
        let deleted = self.cluster.delete_daemonset(self.manifest.name()).await;
        self.progress.set_goals(vec![Goal::Pods(0)]);
        let gone = self.progress.reached(self.args.timeout, |_| ()).await;
        let gone = gone.map(drop).ok_or_else(|| self.timed_out("cleaning up"));
        let count = self.tasks.nodes().count;
        let bar = PhaseBar::begin("cleaning up", count);
        let start = Instant::now();
        self.tasks.delete(0..count, || bar.step()).await;
        let closed = timeout(self.args.timeout, self.cluster.delete_namespace()).await;
        let closed = closed.unwrap_or_else(|_| Err(anyhow!("the namespace does not go away")));
        bar.done(start.elapsed().as_secs_f64(), "");
        deleted.and(gone).and(closed).and(other_clients)
    }

    /// Waits for the tasks after the shutdown was triggered.
    pub(super) async fn ended(&mut self) {
        self.tasks.ended().await;
    }
}

fn watch_daemonset(
    cluster: &Cluster,
    manifest: &Manifest,
    progress: &Arc<Progress>,
    work: &Shutdown,
) {
    let source = ListWatch::all(cluster.path("/apis/apps/v1", "daemonsets"));
    let source = source.fields(format!("metadata.name={}", manifest.name()));
    let mut deltas = watch::<DaemonSet>(cluster.rest.client().clone(), source, work.clone());
    let progress = Arc::clone(progress);
    spawn("bench-daemonset", async move {
        while let Some(delta) = deltas.recv().await {
            progress.daemonset(delta);
        }
    });
}
