//! `measure PROGRAM`: the numbers of the README, measured on this machine and printed as a table.

use std::{
    fs,
    io::BufReader,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use pandaemon_testkit::{
    Cluster, Kubectl, ServerProcess, images::standins, server_process::resident_kibibytes, wait,
};
use serde_json::Value;

/// How often what takes seconds is repeated; the middle one counts.
const ROUNDS: usize = 5;
/// Numbers of hollow nodes that the benchmark runs with.
const HOLLOW: [&str; 2] = ["1000", "5000"];
/// Fewer nodes, and other clients that list and create without pause.
const OTHER_CLIENTS: [&str; 6] = ["--nodes", "500", "--listers", "50", "--creators", "20"];
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Measures and prints.
///
/// # Errors
/// When something does not start or does not get ready.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let program = Path::new(arguments.first().context("usage: measure PROGRAM")?).canonicalize()?;
    let mut rows = vec![row(
        "size of the binary",
        mebibytes(fs::metadata(&program)?.len()),
    )];
    rows.extend(plane(&program)?);
    rows.extend(containers(&program)?);
    say(&format!(
        "machine: {}\n\n| what | measured |\n| --- | --- |",
        machine()
    ));
    for (what, value) in rows {
        say(&format!("| {what} | {value} |"));
    }
    Ok(())
}

fn row(what: &str, value: String) -> (String, String) {
    (what.to_owned(), value)
}

/// The control plane alone: start and idle memory, then the benchmark.
fn plane(program: &Path) -> Result<Vec<(String, String)>> {
    let dir = tempfile::tempdir()?;
    let since = Instant::now();
    let server = ServerProcess::start(program, dir.path(), &[])?;
    let mut rows = vec![row(
        "`server`: start until the API answers",
        seconds(since.elapsed()),
    )];
    std::thread::sleep(Duration::from_secs(10));
    rows.push(row("`server`: idle memory (RSS)", memory(server.pid())?));
    for nodes in HOLLOW {
        bench(program, &server, &["--nodes", nodes, "--ceiling"])?;
    }
    bench(program, &server, &OTHER_CLIENTS)?;
    Ok(rows)
}

/// The life of a DaemonSet on hollow nodes; the benchmark prints its own table.
fn bench(program: &Path, server: &ServerProcess, arguments: &[&str]) -> Result<()> {
    let status = Command::new(program)
        .args(["bench", "--kubeconfig"])
        .arg(server.kubeconfig())
        .args(["--pid", &server.pid().to_string()])
        .args(arguments)
        .status()?;
    ensure!(
        status.success(),
        "the benchmark {} failed: {status}",
        arguments.join(" ")
    );
    say("");
    Ok(())
}

/// Real nodes: memory of an agent, and how long a real container takes.
fn containers(program: &Path) -> Result<Vec<(String, String)>> {
    let images = tempfile::tempdir()?;
    standins::build_demo(images.path(), Path::new("target/debian"))?;
    let since = Instant::now();
    let mut cluster = Cluster::up(program, 3, images.path())?;
    let mut rows = vec![row(
        "`up --nodes 3`: start until three nodes are Ready",
        seconds(since.elapsed()),
    )];
    std::thread::sleep(Duration::from_secs(10));
    let agent = |cluster: &Cluster| memory(u32::try_from(cluster.agent_pid("node1")?)?);
    rows.push(row(
        "`agent`: idle memory (RSS, without containerd)",
        agent(&cluster)?,
    ));
    let kubectl = cluster.kubectl();
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        times.push(until_available(&kubectl, "examples/hello.yaml", 3)?);
        rows.retain(|(what, _)| !what.starts_with("`agent`: memory with"));
        rows.push(row(
            "`agent`: memory with one daemon (RSS, without containerd)",
            agent(&cluster)?,
        ));
        kubectl.run("delete ds hello")?;
        wait::until("no pods", PATIENCE, || {
            let left = kubectl
                .run("get pods -o name")
                .map_err(|error| format!("{error:#}"))?;
            if left.trim().is_empty() {
                Ok(())
            } else {
                Err(left)
            }
        })?;
    }
    rows.push(row(
        "real containers, image present: `kubectl apply` until 3/3 Ready",
        spread(&mut times),
    ));
    cluster.stop()?;
    Ok(rows)
}

/// From the start of `kubectl apply` until a watch shows that the DaemonSet is available
/// everywhere.
fn until_available(kubectl: &Kubectl, manifest: &str, wanted: usize) -> Result<Duration> {
    let mut watch = kubectl.start("get ds --watch --output-watch-events -o json")?;
    let out = BufReader::new(watch.stdout.take().context("kubectl's output")?);
    std::thread::sleep(Duration::from_millis(500));
    let since = Instant::now();
    let applied = kubectl.run(&format!("apply -f {manifest}"));
    let mut took = None;
    for event in serde_json::Deserializer::from_reader(out).into_iter::<Value>() {
        let event = event.context("an event of the watch")?;
        if event["object"]["status"]["numberAvailable"] == wanted && event["type"] != "DELETED" {
            took = Some(since.elapsed());
            break;
        }
    }
    watch.kill()?;
    watch.wait()?;
    applied?;
    took.context("the watch ended before the DaemonSet was available")
}

fn memory(pid: u32) -> Result<String> {
    Ok(mebibytes(resident_kibibytes(pid)? * 1024))
}

fn mebibytes(bytes: u64) -> String {
    let tenths = bytes * 10 / (1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn seconds(took: Duration) -> String {
    format!("{:.2} s", took.as_secs_f64())
}

fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |index: usize| times.get(index).copied().unwrap_or_default();
    let (least, middle, most) = (
        at(0),
        at(times.len() / 2),
        at(times.len().saturating_sub(1)),
    );
    format!(
        "{} (p50 of {}; {} to {})",
        seconds(middle),
        times.len(),
        seconds(least),
        seconds(most)
    )
}

fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    format!(
        "{cpus} cores,{}, load {load} before",
        model.trim_start_matches(['\t', ' ', ':']).trim()
    )
}

fn say(line: &str) {
    let _closed = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{line}\n"));
}
