//! Measures phases: wall time, and processor time and memory of the control plane's processes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use pandaemon_runtime::{Shutdown, spawn};
use tokio::time::{Instant, interval};

use super::{
    process::{self, Usage},
    report::{Phase, Process},
};

/// Interval between samples of memory.
const SAMPLING: Duration = Duration::from_millis(50);

/// Measures the phases of a run and the processes given with `--pid`.
pub(super) struct PhaseTimer {
    processes: Vec<(u32, String, Usage)>,
    /// The highest sum of their resident memory in the current phase, in bytes.
    peak: Arc<AtomicU64>,
    pub(super) phases: Vec<Phase>,
}

/// A phase that is being measured.
pub(super) struct RunningPhase {
    name: &'static str,
    since: Instant,
    cpu: Duration,
    own: Duration,
}

impl PhaseTimer {
    /// Samples the memory of the processes until `work` ends.
    ///
    /// # Errors
    /// When there is no such process.
    pub(super) fn start(pids: &[u32], work: &Shutdown) -> Result<Self> {
        let described = pids
            .iter()
            .map(|pid| Ok((*pid, process::command(*pid)?, process::usage(*pid)?)));
        let processes = described.collect::<Result<Vec<_>>>()?;
        let peak = Arc::new(AtomicU64::new(0));
        let sampling = sample(pids.to_vec(), Arc::clone(&peak));
        let work = work.clone();
        spawn("bench-memory", async move { work.guard(sampling).await });
        let phases = Vec::new();
        Ok(Self {
            processes,
            peak,
            phases,
        })
    }

    fn cpu(&self) -> Result<Duration> {
        let usages = self.processes.iter().map(|(pid, ..)| process::usage(*pid));
        usages.map(|usage| Ok(usage?.cpu)).sum()
    }

    pub(super) fn begin(&self, name: &'static str) -> Result<RunningPhase> {
        let (cpu, own) = (self.cpu()?, own_cpu()?);
        self.peak.store(0, Ordering::Relaxed);
        let since = Instant::now();
        Ok(RunningPhase {
            name,
            since,
            cpu,
            own,
        })
    }

    /// Records a phase that took until `end`. Returns its seconds.
    pub(super) fn end(&mut self, phase: &RunningPhase, end: Instant) -> Result<f64> {
        let seconds = end.saturating_duration_since(phase.since).as_secs_f64();
        let cpu = self.cpu()?.saturating_sub(phase.cpu);
        let own = own_cpu()?.saturating_sub(phase.own);
        let now: Result<u64> = self
            .processes
            .iter()
            .map(|(pid, ..)| Ok(process::usage(*pid)?.resident))
            .sum();
        self.phases.push(Phase {
            name: phase.name,
            seconds,
            cpu_seconds: cpu.as_secs_f64(),
            client_cpu_seconds: own.as_secs_f64(),
            peak_memory_bytes: self.peak.load(Ordering::Relaxed).max(now?),
        });
        Ok(seconds)
    }

    /// The processes with what they used since the start.
    pub(super) fn processes(&self) -> Result<Vec<Process>> {
        let describe = |(pid, command, before): &(u32, String, Usage)| {
            let now = process::usage(*pid)?;
            Ok(Process {
                pid: *pid,
                command: command.clone(),
                cpu_seconds: now.cpu.saturating_sub(before.cpu).as_secs_f64(),
                peak_memory_bytes: now.peak,
            })
        };
        self.processes.iter().map(describe).collect()
    }

    /// Seconds of processor time of the phases whose name `counts` accepts.
    pub(super) fn cpu_of(&self, counts: impl Fn(&str) -> bool) -> f64 {
        let phases = self.phases.iter().filter(|phase| counts(phase.name));
        phases.map(|phase| phase.cpu_seconds).sum()
    }

    pub(super) fn peak(&self) -> u64 {
        let phases = self.phases.iter();
        phases
            .map(|phase| phase.peak_memory_bytes)
            .max()
            .unwrap_or(0)
    }
}

impl RunningPhase {
    pub(super) const fn since(&self) -> Instant {
        self.since
    }
}

fn own_cpu() -> Result<Duration> {
    Ok(process::usage(std::process::id())?.cpu)
}

async fn sample(pids: Vec<u32>, peak: Arc<AtomicU64>) {
    if pids.is_empty() {
        return std::future::pending().await;
    }
    let mut ticks = interval(SAMPLING);
    loop {
        ticks.tick().await;
        // A process that exited is reported at the end of the phase.
        let usages = pids.iter().filter_map(|pid| process::usage(*pid).ok());
        peak.fetch_max(usages.map(|usage| usage.resident).sum(), Ordering::Relaxed);
    }
}
