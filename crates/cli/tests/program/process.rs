//! The program under test as a child process.

use std::{
    path::Path,
    process::{Command, Output},
};

use kube::config::{KubeConfigOptions, Kubeconfig};
use pandaemon_testkit::ServerProcess;

/// The path of the `pandaemon` program of this build.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_pandaemon");

/// The program, without arguments.
pub(crate) fn program() -> Command {
    Command::new(PROGRAM)
}

/// Runs a command to its end; its exit status and standard error.
pub(crate) fn run_to_end(command: &mut Command) -> (i32, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    (status.code().unwrap_or(-1), stderr)
}

/// Starts a control plane with its data in this folder.
pub(crate) fn start_server(folder: &Path) -> ServerProcess {
    start_server_with(Path::new(PROGRAM), folder, &[])
}

/// Starts a control plane by this program, with more arguments.
pub(crate) fn start_server_with(program: &Path, folder: &Path, more: &[&str]) -> ServerProcess {
    let arguments = [&["--controllers", "serviceaccount"], more].concat();
    ServerProcess::start(program, folder, &arguments).unwrap()
}

/// The client configuration of a server's kubeconfig.
pub(crate) async fn config(server: &ServerProcess) -> kube::Config {
    let file = Kubeconfig::read_from(server.kubeconfig()).unwrap();
    let options = KubeConfigOptions::default();
    kube::Config::from_custom_kubeconfig(file, &options)
        .await
        .unwrap()
}

/// A client with that configuration.
pub(crate) async fn client(server: &ServerProcess) -> kube::Client {
    kube::Client::try_from(config(server).await).unwrap()
}
