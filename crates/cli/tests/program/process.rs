//! The program under test as a child process.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use kube::config::{KubeConfigOptions, Kubeconfig};

/// A server process, which is killed when this value is dropped.
pub(crate) struct Server {
    child: Child,
    kubeconfig: PathBuf,
}

/// The `pandaemon` program of this build, without arguments.
pub(crate) fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_pandaemon"))
}

/// Runs a command to its end; its exit status and standard error.
pub(crate) fn run_to_end(command: &mut Command) -> (i32, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    (status.code().unwrap_or(-1), stderr)
}

impl Server {
    /// Starts a control plane with its data in this folder, and waits until the API is ready.
    pub(crate) fn start(folder: &Path) -> Self {
        let kubeconfig = folder.join("kubeconfig");
        let _absent = std::fs::remove_file(&kubeconfig);
        let child = program()
            .args([
                "server",
                "--listen",
                "127.0.0.1:0",
                "--controllers",
                "serviceaccount",
            ])
            .arg("--data-dir")
            .arg(folder.join("data"))
            .arg("--write-kubeconfig")
            .arg(&kubeconfig)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let since = Instant::now();
        while !kubeconfig.exists() {
            assert!(
                since.elapsed() < Duration::from_secs(60),
                "the server does not start"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, kubeconfig }
    }

    /// The client configuration of its kubeconfig.
    pub(crate) async fn config(&self) -> kube::Config {
        let file = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        let options = KubeConfigOptions::default();
        kube::Config::from_custom_kubeconfig(file, &options)
            .await
            .unwrap()
    }

    /// A client with that configuration.
    pub(crate) async fn client(&self) -> kube::Client {
        kube::Client::try_from(self.config().await).unwrap()
    }

    /// Its resident memory in KiB.
    pub(crate) fn memory(&self) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Ends the process with SIGKILL and waits for it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM and waits for the end; the exit status.
    pub(crate) fn stop(&mut self) -> i32 {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
