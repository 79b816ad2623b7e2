//! The phases of a run, one after the other, and what cleans up behind them.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use jiff::Timestamp;
use kube::Client;
use pandaemon_runtime::{Shutdown, spawn};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::{
    BenchArgs,
    board::{Board, DaemonSet, Goal, Numbers},
    ceiling,
    cluster::{Cluster, LABEL, Manifest},
    meter::{Begun, Meter},
    nodes::{self, Usable},
    progress::Progress,
    report::{Ceiling, Results, Spread},
};
use crate::{
    crew::Crew,
    follow::{self, Source, follow},
    node::Fleet,
    pod::Pod,
    pods::Tap,
};

/// Between two nodes that join, so that the trace of one is gone when the next comes.
const PAUSE: Duration = Duration::from_millis(50);

/// A run with everything it needs.
pub(super) struct Run {
    pub(super) args: BenchArgs,
    cluster: Cluster,
    manifest: Manifest,
    /// Value of the label of this run's nodes.
    mark: String,
    crew: Crew,
    board: Arc<Board>,
    pub(super) meter: Meter,
    pub(super) results: Results,
    pub(super) ceiling: Option<Ceiling>,
    pub(super) version: String,
}

impl Run {
    /// Makes everything ready without creating anything yet. Its tasks end with `work`.
    pub(super) async fn prepare(client: Client, args: BenchArgs, work: &Shutdown) -> Result<Self> {
        let mark = format!("r{:x}", Timestamp::now().as_millisecond());
        let namespace = format!("pandaemon-bench-{mark}");
        let manifest = Manifest::load(args.daemonset.as_deref())?;
        let selector = (!args.hollow_external).then_some(mark.as_str());
        let manifest = manifest.fit(&namespace, selector, &args.roll);
        let cluster = Cluster { client, namespace };
        let version = cluster.version().await?;
        let meter = Meter::start(&args.pid, work)?;
        let board = Arc::new(Board::new(&cluster.namespace));
        let count = if args.hollow_external {
            0
        } else {
            args.nodes.get() + args.joining()
        };
        let fleet = Arc::new(Fleet::new(&args.behaviour, count, &[(LABEL, &mark)]));
        let taken = format!("/api/v1/nodes/{}", fleet.name(0));
        ensure!(
            count == 0 || !cluster.exists(&taken).await?,
            "the node {} exists already: delete it, or choose another --name-prefix",
            fleet.name(0)
        );
        let tap: Tap = {
            let board = Arc::clone(&board);
            Arc::new(move |change: &follow::Change<Pod>| board.pods(change))
        };
        let client = cluster.client.clone();
        let crew = Crew::start(client, &args.behaviour, fleet, Some(tap), work);
        watch_daemonset(&cluster, &manifest, &board, work);
        Ok(Self {
            args,
            cluster,
            manifest,
            mark,
            crew,
            board,
            meter,
            results: Results::default(),
            ceiling: None,
            version,
        })
    }

    /// All phases.
    pub(super) async fn measure(&mut self) -> Result<()> {
        let open = timeout(self.args.timeout, self.cluster.open());
        open.await.map_err(|_| self.late("namespace"))??;
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
        self.results.update_seconds = Some(self.update("rolling update", false).await?);
        self.results.rollback_seconds = Some(self.update("roll back", true).await?);
        self.deletion().await?;
        let results = &mut self.results;
        results.cpu_seconds = self
            .meter
            .cpu_of(|name| !["nodes", "ceiling"].contains(&name));
        results.total_cpu_seconds = self.meter.cpu_of(|name| name != "ceiling");
        results.peak_memory_bytes = self.meter.peak();
        let rates = results.pods_per_second.zip(self.ceiling.as_ref());
        results.ceiling_ratio = rates.map(|(rate, ceiling)| rate / ceiling.pods_per_second);
        Ok(())
    }

    async fn nodes(&mut self) -> Result<()> {
        let count = self.args.nodes.get();
        let begun = self.meter.begin("nodes")?;
        let progress = Progress::begin("nodes", count);
        let usable = Usable::default();
        let watching = nodes::until_usable(&self.cluster.client, &self.mark, count, &usable);
        let registering = async {
            self.crew.register(0..count, || progress.step()).await?;
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
        let rate = f64::from(count) / created.duration_since(begun.since()).as_secs_f64();
        self.results.nodes_per_second = Some(rate);
        let end = ready.max(created);
        let seconds = self.meter.end(&begun, end)?;
        self.results.nodes_ready_seconds = Some(seconds);
        progress.done(seconds, &format!("{rate:.0} nodes/s"));
        Ok(())
    }

    async fn ceiling(&mut self) -> Result<()> {
        let begun = self.meter.begin("ceiling")?;
        let progress = Progress::begin("ceiling", 5);
        let span = self.args.ceiling_span;
        let step = |level| progress.at(level, String::new());
        let measured = ceiling::measure(&self.cluster, span, step);
        let measured = timeout(self.args.timeout, measured).await;
        let ceiling = measured.map_err(|_| self.late("ceiling"))??;
        let seconds = self.meter.end(&begun, Instant::now())?;
        progress.done(seconds, &format!("{:.0} pods/s", ceiling.pods_per_second));
        self.ceiling = Some(ceiling);
        Ok(())
    }

    async fn roll_out(&mut self) -> Result<()> {
        let nodes = self.args.nodes.get();
        let begun = self.meter.begin("roll-out")?;
        let count = usize::try_from(nodes)?;
        self.board
            .aim(vec![Goal::Pods(count), Goal::Available(nodes)]);
        let sets = self.cluster.path("/apis/apps/v1", "daemonsets");
        self.cluster.create(&sets, &self.manifest.0).await?;
        let progress = Progress::begin("roll-out", nodes);
        let reached = self
            .reached(&progress, |numbers| numbers.status.number_available)
            .await?;
        let [exist, available] = reached[..] else {
            return Err(self.late("roll-out"));
        };
        let exist = exist.duration_since(begun.since()).as_secs_f64();
        let rate = f64::from(nodes) / exist;
        let seconds = self.meter.end(&begun, available)?;
        progress.done(
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
        let begun = self.meter.begin("joins")?;
        let progress = Progress::begin("joins", joins);
        let mut times = Vec::new();
        for index in first..first + joins {
            self.board
                .aim(vec![Goal::Ready(self.crew.fleet().name(index))]);
            let start = Instant::now();
            self.crew.register(index..index + 1, || ()).await?;
            let reached = self.board.reached(self.args.timeout, |_| ()).await;
            let reached = reached.ok_or_else(|| self.late("joins"))?;
            times.extend(reached.iter().map(|end| end.duration_since(start)));
            progress.step();
            sleep(PAUSE).await;
        }
        let seconds = self.meter.end(&begun, Instant::now())?;
        self.board.aim(vec![Goal::Available(first + joins)]);
        let settled = self.board.reached(self.args.timeout, |_| ()).await;
        settled.ok_or_else(|| self.late("joins"))?;
        let spread = Spread::of(&times).context("nobody joined")?;
        progress.done(seconds, &format!("p50 {:.1} ms", spread.p50));
        self.results.join_milliseconds = Some(spread);
        Ok(())
    }

    async fn update(&mut self, name: &'static str, back: bool) -> Result<f64> {
        let nodes = self.args.nodes.get() + self.args.joining();
        let after = self.board.generation();
        let begun = self.meter.begin(name)?;
        self.board.aim(vec![Goal::Updated { nodes, after }]);
        if back {
            self.cluster.undo(self.manifest.name()).await?;
        } else {
            self.cluster.change(self.manifest.name()).await?;
        }
        let progress = Progress::begin(name, nodes);
        let updated = |numbers: &Numbers| numbers.status.updated_number_scheduled;
        self.finish(&begun, progress, updated).await
    }

    async fn deletion(&mut self) -> Result<()> {
        let nodes = self.args.nodes.get() + self.args.joining();
        let begun = self.meter.begin("deletion")?;
        self.board.aim(vec![Goal::Pods(0)]);
        self.cluster.delete_daemonset(self.manifest.name()).await?;
        let progress = Progress::begin("deletion", nodes);
        let gone = move |numbers: &Numbers| {
            nodes.saturating_sub(u32::try_from(numbers.pods).unwrap_or(u32::MAX))
        };
        let seconds = self.finish(&begun, progress, gone).await?;
        self.results.deletion_seconds = Some(seconds);
        Ok(())
    }

    /// Waits for the only goal of a phase, and ends it.
    async fn finish(
        &mut self,
        begun: &Begun,
        progress: Progress,
        position: impl Fn(&Numbers) -> u32,
    ) -> Result<f64> {
        let reached = self.reached(&progress, position).await?;
        let end = reached.first().copied().unwrap_or_else(Instant::now);
        let seconds = self.meter.end(begun, end)?;
        progress.done(seconds, "");
        Ok(seconds)
    }

    async fn reached(
        &self,
        progress: &Progress,
        position: impl Fn(&Numbers) -> u32,
    ) -> Result<Vec<Instant>> {
        let show = |numbers: &Numbers| {
            let at = usize::try_from(position(numbers)).unwrap_or(usize::MAX);
            progress.at(at, format!("{} pods", numbers.pods));
        };
        let reached = self.board.reached(self.args.timeout, show).await;
        reached.ok_or_else(|| self.late(progress.name()))
    }

    /// A phase took too long; this says how far it came.
    fn late(&self, phase: &str) -> anyhow::Error {
        let Numbers { pods, status } = self.board.numbers();
        anyhow!(
            "{phase}: not done after {:?} (--timeout): {pods} pods exist; the DaemonSet wants {}, \
             has {} of the newest template, {} available",
            self.args.timeout,
            status.desired_number_scheduled,
            status.updated_number_scheduled,
            status.number_available
        )
    }

    /// What somebody has to delete by hand if the run is not allowed to.
    pub(super) fn left_behind(&self) -> String {
        let namespace = &self.cluster.namespace;
        let mark = &self.mark;
        format!("kubectl delete namespace {namespace}; kubectl delete nodes -l {LABEL}={mark}")
    }

    /// Removes everything that was created.
    pub(super) async fn clean(&self) -> Result<()> {
        let deleted = self.cluster.delete_daemonset(self.manifest.name()).await;
        self.board.aim(vec![Goal::Pods(0)]);
        let gone = self.board.reached(self.args.timeout, |_| ()).await;
        let gone = gone.map(drop).ok_or_else(|| self.late("cleaning up"));
        let count = self.crew.fleet().count;
        let progress = Progress::begin("cleaning up", count);
        let start = Instant::now();
        self.crew.delete(0..count, || progress.step()).await;
        let closed = timeout(self.args.timeout, self.cluster.close()).await;
        let closed = closed.unwrap_or_else(|_| Err(anyhow!("the namespace does not go away")));
        progress.done(start.elapsed().as_secs_f64(), "");
        deleted.and(gone).and(closed)
    }

    /// Waits for the tasks after their end was asked for.
    pub(super) async fn ended(&mut self) {
        self.crew.ended().await;
    }
}

fn watch_daemonset(cluster: &Cluster, manifest: &Manifest, board: &Arc<Board>, work: &Shutdown) {
    let (send, mut changes) = mpsc::channel::<Vec<follow::Change<DaemonSet>>>(follow::QUEUE);
    let query = format!(
        "daemonsets?fieldSelector=metadata.name%3D{}&",
        manifest.name()
    );
    let source = Source {
        path: cluster.path("/apis/apps/v1", &query),
        from_now: false,
    };
    let (client, board, work) = (cluster.client.clone(), Arc::clone(board), work.clone());
    spawn("bench-daemonset", async move {
        let reading = async {
            while let Some(batch) = changes.recv().await {
                batch.into_iter().for_each(|change| board.daemonset(change));
            }
        };
        work.guard(async { futures::join!(follow(client, source, send), reading) })
            .await
    });
}
