//! `demo PROGRAM`: the main job, shown to a person: three nodes, real containers, a DaemonSet rolled out,
//! updated, undone, healed and moved, with plain kubectl.

use std::{
    fmt::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use pandaemon_testkit::{Cluster, Kubectl, images::standins, wait};
use serde_json::Value;

/// The DaemonSet of the demo.
const MANIFEST: &str = "examples/hello.yaml";
/// How long one step may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Runs the demo with the given `pandaemon` program.
///
/// # Errors
/// When a step fails; the cluster is removed all the same.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let program = arguments.first().context("usage: demo PROGRAM")?;
    let mut show = Show::default();
    let images = tempfile::tempdir()?;
    show.step(
        "Build two versions of an image from Debian's busybox",
        |_| standins::build_demo(images.path(), Path::new("target/debian")),
    )?;
    let mut cluster = show.step("Start a control plane and three nodes", |_| {
        Cluster::up(&Path::new(program).canonicalize()?, 3, images.path())
    })?;
    let played = play(&mut show, &cluster.kubectl());
    let stopped = show.step("Stop, and leave nothing behind", |_| cluster.stop());
    played?;
    stopped?;
    show.summary();
    Ok(())
}

fn play(show: &mut Show, kubectl: &Kubectl) -> Result<()> {
    show.step("Roll out: one pod on each node", |show| {
        show.kubectl(kubectl, &format!("apply -f {MANIFEST}"))?;
        show.watch_ready(kubectl, 3)
    })?;
    show.step("Look at it", |show| {
        show.kubectl(kubectl, "get nodes")?;
        show.kubectl(kubectl, "get ds hello -o wide")?;
        show.kubectl(kubectl, "get pods -l app=hello -o wide")
    })?;
    show.step("Update node by node: hello:v1 -> hello:v2", |show| {
        show.kubectl(kubectl, "set image ds/hello hello=demo/hello:v2")?;
        show.kubectl(kubectl, "rollout status ds/hello --timeout=90s")?;
        show.kubectl(kubectl, "rollout history ds/hello")
    })?;
    show.step("Undo the update", |show| {
        show.kubectl(kubectl, "rollout undo ds/hello")?;
        show.kubectl(kubectl, "rollout status ds/hello --timeout=90s")
    })?;
    show.step("Kill a container: it comes back", |show| {
        kill_a_container(show, kubectl)
    })?;
    show.step("Logs and exec", |show| {
        let pod = pod_on(kubectl, "node2")?;
        show.kubectl(kubectl, &format!("logs {pod} --tail=3"))?;
        show.kubectl(
            kubectl,
            &format!("exec {pod} -- sh -c 'echo hello from $(hostname)'"),
        )
    })?;
    show.step(
        "Relabel a node: it loses its pod, and gets it back",
        |show| {
            show.kubectl(kubectl, "label node node3 hello=no --overwrite")?;
            show.watch_ready(kubectl, 2)?;
            show.kubectl(kubectl, "get ds hello")?;
            show.kubectl(kubectl, "label node node3 hello-")?;
            show.watch_ready(kubectl, 3)
        },
    )?;
    show.step("Delete it: containers go too", |show| {
        show.kubectl(kubectl, "delete ds hello")?;
        wait::until("no pods", PATIENCE, || match pods(kubectl) {
            Ok(pods) if pods.is_empty() => Ok(()),
            Ok(pods) => Err(format!("{} pods", pods.len())),
            Err(error) => Err(error.to_string()),
        })
    })
}

fn kill_a_container(show: &Show, kubectl: &Kubectl) -> Result<()> {
    let pod = pod_on(kubectl, "node1")?;
    let restarts = |pod: &str| -> Result<u64> {
        let pod = kubectl.json(&format!("get pod {pod}"))?;
        Ok(pod["status"]["containerStatuses"][0]["restartCount"]
            .as_u64()
            .unwrap_or_default())
    };
    let before = restarts(&pod)?;
    // The command itself may be ended with the container, which is not a failure here.
    show.try_kubectl(kubectl, &format!("exec {pod} -- kill 1"))?;
    wait::until(
        "the container is started again",
        PATIENCE,
        || match restarts(&pod) {
            Ok(now) if now > before => Ok(()),
            Ok(now) => Err(format!("{now} restarts")),
            Err(error) => Err(error.to_string()),
        },
    )?;
    show.watch_ready(kubectl, 3)?;
    show.kubectl(kubectl, &format!("get pod {pod}"))
}

fn pods(kubectl: &Kubectl) -> Result<Vec<Value>> {
    let list = kubectl.json("get pods -l app=hello")?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

fn pod_on(kubectl: &Kubectl, node: &str) -> Result<String> {
    pods(kubectl)?
        .iter()
        .find(|pod| pod["spec"]["nodeName"] == node)
        .and_then(|pod| pod["metadata"]["name"].as_str())
        .map(str::to_owned)
        .with_context(|| format!("no pod of the DaemonSet on {node}"))
}

/// Shows steps, commands and progress, and remembers how long each step took.
#[derive(Debug, Default)]
struct Show {
    times: Vec<(String, Duration)>,
}

impl Show {
    fn step<T>(&mut self, title: &str, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let number = self.times.len() + 1;
        print(&format!("\n\x1b[1m{number:>2}. {title}\x1b[0m\n"));
        let since = Instant::now();
        let result = run(self).with_context(|| format!("step {number}, {title}"));
        let took = since.elapsed();
        if result.is_ok() {
            print(&format!(
                "    \x1b[32mok\x1b[0m  {:.2} s\n",
                took.as_secs_f64()
            ));
        }
        self.times.push((title.to_owned(), took));
        result
    }

    fn kubectl(&self, kubectl: &Kubectl, line: &str) -> Result<()> {
        let code = self.try_kubectl(kubectl, line)?;
        ensure!(code == 0, "kubectl {line} ended with status {code}");
        Ok(())
    }

    /// Shows a command and what it prints; yields its status.
    fn try_kubectl(&self, kubectl: &Kubectl, line: &str) -> Result<i32> {
        print(&format!("    \x1b[36m$ kubectl {line}\x1b[0m\n"));
        let output = kubectl.try_run(line)?;
        for line in output.stdout.lines().chain(output.stderr.lines()) {
            print(&format!("    {line}\n"));
        }
        Ok(output.code)
    }

    /// A bar of ready pods, until `wanted` are ready and no other exists.
    fn watch_ready(&self, kubectl: &Kubectl, wanted: usize) -> Result<()> {
        let since = Instant::now();
        wait::until("pods ready", PATIENCE, || {
            let pods = pods(kubectl).map_err(|error| error.to_string())?;
            let ready = pods
                .iter()
                .filter(|pod| pandaemon_testkit::cluster::is_ready(pod))
                .count();
            let bar = "#".repeat(ready) + &".".repeat(wanted.saturating_sub(ready));
            let at = since.elapsed().as_secs_f64();
            print(&format!("\r    [{bar}] {ready}/{wanted} ready, {at:.1} s "));
            if ready == wanted && pods.len() == wanted {
                print("\n");
                return Ok(());
            }
            Err(format!(
                "{ready} of {} pods ready, want {wanted}",
                pods.len()
            ))
        })
    }

    fn summary(&self) {
        let mut text = String::from("\n\x1b[1mHow long each step took\x1b[0m\n");
        for (title, took) in &self.times {
            // Writing to a string cannot fail.
            let _infallible = writeln!(text, "  {:>7.2} s  {title}", took.as_secs_f64());
        }
        text.push_str("\nTo play on: make up\n");
        print(&text);
    }
}

fn print(text: &str) {
    let mut out = std::io::stdout();
    // A closed standard output leaves no reader for an error.
    let _closed = std::io::Write::write_all(&mut out, text.as_bytes());
    let _closed = std::io::Write::flush(&mut out);
}
