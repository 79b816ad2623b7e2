//! What processes and the machine say of themselves in `/proc`.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// Units of processor time in `/proc/PID/stat` a second: the same on all Linux machines.
const TICKS: u64 = 100;

/// A process at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Processor time that it has used, the kernel's for it included.
    pub(super) cpu: Duration,
    /// Memory in bytes.
    pub(super) resident: u64,
    /// The most it ever was.
    pub(super) peak: u64,
}

/// Reads what a process uses.
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

/// The machine that a run was measured on.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Machine {
    pub(super) cores: usize,
    pub(super) cpu: String,
    pub(super) memory_bytes: u64,
    pub(super) kernel: String,
    /// Of the last 1, 5 and 15 minutes, before the run.
    pub(super) load_average: Vec<f64>,
}

/// This machine, now.
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
    let numbers = text.split_ascii_whitespace().take(3);
    numbers.filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "77 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 4 0 100";
        assert_eq!(cpu(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu("77 (a) S 1 2"), None);
    }

    #[test]
    fn memory_is_in_kibibytes() {
        let status = "Name:\ta\nVmHWM:\t   2048 kB\nVmRSS:\t 1024 kB\n";
        assert_eq!(kibibytes(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(kibibytes(status, "VmRSS:"), Some(1 << 20));
        assert_eq!(kibibytes(status, "VmSwap:"), None);
    }

    #[test]
    fn the_machine_is_described() {
        assert_eq!(
            model("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n"),
            "Some CPU @ 2 GHz"
        );
        assert_eq!(load("0.50 1.25 2.00 1/234 5678\n"), [0.5, 1.25, 2.0]);
    }

    #[test]
    fn this_process_can_be_read() {
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
