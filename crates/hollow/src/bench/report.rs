//! The result of a run: one JSON object, documented in `docs/benchmarks.md`, and a table for
//! people.

use std::{fmt::Write as _, time::Duration};

use serde::Serialize;

use super::process::Machine;

/// Name and version of the object's schema.
pub(super) const SCHEMA: &str = "pandaemon.dev/bench/v1";

/// The result of one run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) schema: &'static str,
    pub(super) label: String,
    /// Start of the run, RFC 3339.
    pub(super) started: String,
    pub(super) machine: Machine,
    pub(super) server: Server,
    pub(super) options: Options,
    pub(super) phases: Vec<Phase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ceiling: Option<Ceiling>,
    pub(super) results: Results,
    pub(super) processes: Vec<Process>,
}

/// The measured API server.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Server {
    /// `gitVersion` of `/version`.
    pub(super) version: String,
}

/// The options of the run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Options {
    /// Version of the benchmark.
    pub(super) client: &'static str,
    pub(super) nodes: u32,
    pub(super) joins: u32,
    pub(super) max_unavailable: String,
    pub(super) start_latency_seconds: f64,
    pub(super) lease_interval_seconds: f64,
    pub(super) parallel: u32,
    pub(super) hollow_external: bool,
}

/// One phase of a run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Phase {
    pub(super) name: &'static str,
    pub(super) seconds: f64,
    /// Processor time of the measured processes together.
    pub(super) cpu_seconds: f64,
    /// Processor time of the benchmark itself, with its hollow nodes.
    pub(super) client_cpu_seconds: f64,
    /// Most memory of the measured processes together, sampled.
    pub(super) peak_memory_bytes: u64,
}

/// The results; those that were not measured are left out.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Results {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nodes_per_second: Option<f64>,
    /// From the first creation of a node until all are usable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nodes_ready_seconds: Option<f64>,
    /// From the creation of the DaemonSet until its pods exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pods_exist_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pods_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) available_seconds: Option<f64>,
    /// From the request that makes a node until its pod is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) join_milliseconds: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) update_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rollback_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deletion_seconds: Option<f64>,
    /// Of all measured processes, from the DaemonSet's creation to its deletion.
    pub(super) cpu_seconds: f64,
    /// The same, and the creation of the nodes.
    pub(super) total_cpu_seconds: f64,
    /// The highest sum of the sampled memory of all measured processes.
    pub(super) peak_memory_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ceiling_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) other_clients: Option<OtherClients>,
}

/// The clients beside the rolling update and the roll back, and how the server and the nodes did.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OtherClients {
    pub(super) listers: u32,
    pub(super) creators: u32,
    pub(super) listed_pods: u32,
    /// Whether they could use half of the processors only.
    pub(super) half_of_processors: bool,
    pub(super) seconds: f64,
    pub(super) lists_per_second: f64,
    pub(super) creations_per_second: f64,
    /// Requests that priority and fairness refused.
    pub(super) refused_per_second: f64,
    pub(super) errors: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_error: Option<String>,
    /// Renewals of leases.
    pub(super) heartbeats: ServerTimes,
    /// Nodes of the run that were not ready at some time.
    pub(super) lost_nodes: usize,
}

/// How long the server took for requests, as the bounds of the buckets of its metric.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerTimes {
    pub(super) count: u64,
    pub(super) p50_milliseconds: f64,
    pub(super) p99_milliseconds: f64,
    pub(super) max_milliseconds: f64,
}

/// The distribution of measured values.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spread {
    pub(super) count: usize,
    pub(super) min: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

/// The rate of pods created by plain parallel requests.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ceiling {
    pub(super) pods_per_second: f64,
    /// Requests under way at the same time that gave this rate.
    pub(super) parallel: usize,
    pub(super) levels: Vec<Level>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Level {
    pub(super) parallel: usize,
    pub(super) pods_per_second: f64,
}

/// What a measured process used.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) command: String,
    /// Seconds of processor time during the run.
    pub(super) cpu_seconds: f64,
    /// Highest resident memory since its start (VmHWM), also before the run.
    pub(super) peak_memory_bytes: u64,
}

impl Spread {
    /// The distribution of some durations in milliseconds; `None` if there are none.
    pub(super) fn of(times: &[Duration]) -> Option<Self> {
        let mut sorted: Vec<f64> = times
            .iter()
            .map(|time| time.as_secs_f64() * 1000.0)
            .collect();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            count: sorted.len(),
            min: percentile(&sorted, 0)?,
            p50: percentile(&sorted, 50)?,
            p99: percentile(&sorted, 99)?,
            max: percentile(&sorted, 100)?,
        })
    }
}

/// The nearest-rank percentile of sorted values.
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

impl Report {
    /// The table for people.
    pub(super) fn table(&self) -> String {
        let mut rows = self.rows();
        rows.insert(0, ["what".to_owned(), "measured".to_owned()]);
        let width = rows.iter().map(|[what, _]| what.len()).max().unwrap_or(0);
        let mut out = format!("{}\n\n", self.heading());
        for [what, value] in &rows {
            let _infallible = writeln!(out, "{what:width$}  {value}");
        }
        out.push_str("\nphase              seconds  CPU s  CPU s here  memory MiB\n");
        for phase in &self.phases {
            let _infallible = writeln!(
                out,
                "{:17} {:8.3} {:6.2} {:11.2} {:11.1}",
                phase.name,
                phase.seconds,
                phase.cpu_seconds,
                phase.client_cpu_seconds,
                mebibytes(phase.peak_memory_bytes)
            );
        }
        for process in &self.processes {
            let _infallible = writeln!(
                out,
                "process {} ({}): {:.2} s of processor time, at most {:.1} MiB",
                process.pid,
                process.command,
                process.cpu_seconds,
                mebibytes(process.peak_memory_bytes)
            );
        }
        out
    }

    fn heading(&self) -> String {
        let Machine {
            cores,
            cpu,
            memory_bytes,
            kernel,
            load_average,
        } = &self.machine;
        let load: Vec<_> = load_average
            .iter()
            .map(|load| format!("{load:.2}"))
            .collect();
        format!(
            "{}: server {}; {} nodes and {} joining; {cores} cores ({cpu}), {:.0} GiB, Linux {kernel}, load {}",
            self.label,
            self.server.version,
            self.options.nodes,
            self.options.joins,
            mebibytes(*memory_bytes) / 1024.0,
            load.join(" ")
        )
    }

    fn rows(&self) -> Vec<[String; 2]> {
        let mut rows = Vec::new();
        let mut row = |what: &str, value: Option<String>| {
            rows.extend(value.map(|value| [what.to_owned(), value]));
        };
        let seconds = |value: Option<f64>| value.map(|value| format!("{value:.3} s"));
        let rate = |value: Option<f64>| value.map(|value| format!("{value:.0} /s"));
        let Results {
            join_milliseconds,
            ceiling_ratio,
            ..
        } = &self.results;
        let results = &self.results;
        row("nodes created", rate(results.nodes_per_second));
        row("all nodes usable", seconds(results.nodes_ready_seconds));
        row("all pods exist", seconds(results.pods_exist_seconds));
        row("pods created", rate(results.pods_per_second));
        row(
            "numberAvailable = nodes",
            seconds(results.available_seconds),
        );
        let joins = join_milliseconds.as_ref().map(|joins| {
            let Spread {
                count,
                p50,
                p99,
                max,
                ..
            } = joins;
            format!("p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms (of {count})")
        });
        row("node joins until its pod is ready", joins);
        let roll = &self.options.max_unavailable;
        row(
            &format!("rolling update, maxUnavailable {roll}"),
            seconds(results.update_seconds),
        );
        row("roll back", seconds(results.rollback_seconds));
        row(
            "deletion until all pods are gone",
            seconds(results.deletion_seconds),
        );
        if !self.processes.is_empty() {
            row(
                "processor time, roll-out to deletion",
                seconds(Some(results.cpu_seconds)),
            );
            let peak = mebibytes(results.peak_memory_bytes);
            row("peak memory", Some(format!("{peak:.1} MiB")));
        }
        let ceiling = self.ceiling.as_ref().map(|ceiling| {
            let Ceiling {
                pods_per_second,
                parallel,
                ..
            } = ceiling;
            format!("{pods_per_second:.0} /s ({parallel} requests at a time)")
        });
        row("ceiling: pods by plain parallel requests", ceiling);
        if let Some(clients) = &results.other_clients {
            clients.rows(&mut row);
        }
        let ratio = ceiling_ratio.map(|ratio| format!("{ratio:.2}"));
        row("pods created in the roll-out / ceiling", ratio);
        rows
    }
}

impl OtherClients {
    fn rows(&self, row: &mut impl FnMut(&str, Option<String>)) {
        let processors = if self.half_of_processors {
            "half of the processors"
        } else {
            "all processors"
        };
        let who = format!(
            "{} list {} pods, {} create, for {:.0} s with {processors}",
            self.listers, self.listed_pods, self.creators, self.seconds
        );
        row("other clients", Some(who));
        let did = format!(
            "{:.1} lists/s, {:.0} creations/s, {:.1} refused/s, {} errors{}",
            self.lists_per_second,
            self.creations_per_second,
            self.refused_per_second,
            self.errors,
            self.first_error
                .as_ref()
                .map_or(String::new(), |error| format!(" ({error})"))
        );
        row("what they did", Some(did));
        let ServerTimes {
            count,
            p50_milliseconds,
            p99_milliseconds,
            max_milliseconds,
        } = self.heartbeats;
        let times = format!(
            "p50 {p50_milliseconds} ms, p99 {p99_milliseconds} ms, max {max_milliseconds} ms, or less (of {count})"
        );
        row("heartbeats in the server", Some(times));
        row(
            "nodes not ready meanwhile",
            Some(self.lost_nodes.to_string()),
        );
    }
}

fn mebibytes(bytes: u64) -> f64 {
    let kibibytes = u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
    f64::from(kibibytes) / 1024.0
}

#[cfg(test)]
mod tests;
