//! Options of `pandaemon bench`.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use clap::Args;
use pandaemon_types::parse_duration_or_seconds;

use super::other_clients::OtherClientsArgs;
use crate::args::Behaviour;

/// The options of `pandaemon bench`.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct BenchArgs {
    /// Number of hollow nodes
    #[arg(long, value_name = "N", default_value = "100")]
    pub nodes: NonZeroU32,
    /// How much of the DaemonSet may be unavailable in the rolling update: a number or a percentage
    #[arg(long, value_name = "SHARE", default_value = "10%", value_parser = roll)]
    pub roll: String,
    /// Nodes that join one after the other once the DaemonSet is available everywhere
    #[arg(long, value_name = "N", default_value = "20")]
    pub joins: u32,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    /// A process of the control plane whose memory and processor time are measured; may be repeated
    #[arg(long, value_name = "PID")]
    pub pid: Vec<u32>,
    /// The DaemonSet to roll out; it must suit every node
    #[arg(long, value_name = "FILE")]
    pub daemonset: Option<PathBuf>,
    /// Measure also how many pods a second the API server creates for plain parallel requests
    #[arg(long)]
    pub ceiling: bool,
    /// How long that is measured at each of five levels of parallelism
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = parse_duration_or_seconds)]
    pub ceiling_span: Duration,
    /// Other clients that use the server meanwhile
    #[command(flatten)]
    pub other_clients: OtherClientsArgs,
    /// Use N existing nodes instead of hollow nodes of this process; no node joins then
    #[arg(long)]
    pub hollow_external: bool,
    /// How long each phase may take
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_duration_or_seconds)]
    pub timeout: Duration,
    /// Name of this run in reports and charts
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// Labels, capacity, latencies and failures of the nodes
    #[command(flatten)]
    pub behaviour: Behaviour,
}

fn roll(text: &str) -> Result<String, String> {
    let digits = text.strip_suffix('%').unwrap_or(text);
    match digits.parse::<u32>() {
        Ok(number) if number > 0 && (digits == text || number <= 100) => Ok(text.to_owned()),
        _ => Err("expected a number such as 5, or a percentage such as 10%".to_owned()),
    }
}

impl BenchArgs {
    /// The number of nodes that join.
    pub(super) fn joining(&self) -> u32 {
        if self.hollow_external { 0 } else { self.joins }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_unavailable_is_a_number_or_a_percentage() {
        for good in ["1", "500", "10%", "100%"] {
            assert_eq!(roll(good), Ok(good.to_owned()));
        }
        for bad in ["", "0", "0%", "101%", "ten", "-1"] {
            roll(bad).unwrap_err();
        }
    }
}
