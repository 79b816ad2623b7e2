//! Processor time and memory of processes, and the machine's description, read from `/proc`.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// Units of processor time in `/proc/PID/stat` a second: the same on all Linux machines.
const TICKS: u64 = 100;

/// What a process used until a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// User and system time.
    pub(super) cpu: Duration,
    /// Resident memory in bytes (VmRSS).
    pub(super) resident: u64,
    /// Highest resident memory in bytes (VmHWM).
    pub(super) peak: u64,
}

/// Reads the usage of a process.
pub(super) fn usage(pid: u32) -> Result<Usage> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        fs::read_to_string(&path).with_context(|| format!("process {pid} is gone ({path})"))
    };
    let (stat, status) = (read("stat")?, read("status")?);
    let cpu = cpu(&stat).with_context(|| format!("processor time of process {pid}"))?;
    let field = |name| kibibytes(&status, name).unwrap_or_default();
    Ok(Usage {
        cpu,
        resident: field("VmRSS:"),
        peak: field("VmHWM:"),
    })
}

/// The name of a process.
pub(super) fn command(pid: u32) -> Result<String> {
    let path = format!("/proc/{pid}/comm");
    let name = fs::read_to_string(&path).with_context(|| format!("no process {pid} ({path})"))?;
    Ok(name.trim().to_owned())
}

/// utime and stime of `/proc/PID/stat`. The name in it may hold anything, brackets included.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS))
}

/// A field of `/proc/PID/status` or `/proc/meminfo`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(number * 1024)
}

/// The machine of a run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Machine {
    pub(super) cores: usize,
    pub(super) cpu: String,
    pub(super) memory_bytes: u64,
    pub(super) kernel: String,
    /// Averages of the last 1, 5 and 15 minutes before the run.
    pub(super) load_average: Vec<f64>,
}

/// Describes this machine.
pub(super) fn machine() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    Machine {
        cores: std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get),
        cpu: model(&read("/proc/cpuinfo")),
        memory_bytes: kibibytes(&read("/proc/meminfo"), "MemTotal:").unwrap_or_default(),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        load_average: load(&read("/proc/loadavg")),
    }
}

fn model(cpuinfo: &str) -> String {
    let line = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let name = line.unwrap_or_default();
    name.trim_start_matches(['\t', ' ', ':']).trim().to_owned()
}

fn load(text: &str) -> Vec<f64> {
    let counts = text.split_ascii_whitespace().take(3);
    counts.filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_whatever_the_process_is_named() {
        let stat = "77 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 4 0 100";
        assert_eq!(cpu(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu("77 (a) S 1 2"), None);
    }

    #[test]
    fn memory_fields_are_converted_to_bytes() {
        let status = "Name:\ta\nVmHWM:\t   2048 kB\nVmRSS:\t 1024 kB\n";
        assert_eq!(kibibytes(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(kibibytes(status, "VmRSS:"), Some(1 << 20));
        assert_eq!(kibibytes(status, "VmSwap:"), None);
    }

    #[test]
    fn processor_model_and_load_are_read() {
        assert_eq!(
            model("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n"),
            "Some CPU @ 2 GHz"
        );
        assert_eq!(load("0.50 1.25 2.00 1/234 5678\n"), [0.5, 1.25, 2.0]);
    }

    #[test]
    fn the_usage_of_this_process_is_read() {
        let used = usage(std::process::id()).unwrap();
        assert!(used.resident > 0 && used.peak >= used.resident);
        assert!(!command(std::process::id()).unwrap().is_empty());
        assert!(
            command(u32::MAX)
                .unwrap_err()
                .to_string()
                .contains("no process")
        );
    }
}
