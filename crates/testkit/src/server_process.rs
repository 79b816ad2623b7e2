//! A control plane as a process of its own: `pandaemon server`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context as _;

use crate::wait;

/// How long the start may take.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A server process. It is killed when this value is dropped.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    kubeconfig: PathBuf,
}

impl ServerProcess {
    /// Starts a control plane with its data in this folder, and waits until the API is ready.
    ///
    /// # Errors
    /// When the program cannot be started, ends, or is not ready in time.
    pub fn start(program: &Path, folder: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_on(program, folder, "127.0.0.1:0", arguments)
    }

    /// The same, on this address: clients find the server again after a restart.
    ///
    /// # Errors
    /// As [`ServerProcess::start`].
    pub fn start_on(
        program: &Path,
        folder: &Path,
        address: &str,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        let kubeconfig = folder.join("kubeconfig");
        // That of an earlier process would end the wait.
        let _absent = fs::remove_file(&kubeconfig);
        // A pipe would have to be read.
        let errors = folder.join("stderr");
        let child = Command::new(program)
            .args(["server", "--listen", address])
            .args(arguments)
            .arg("--data-dir")
            .arg(folder.join("data"))
            .arg("--write-kubeconfig")
            .arg(&kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&errors)?)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let mut server = Self { child, kubeconfig };
        let ended = wait::until("kubeconfig", START_TIMEOUT, || {
            match server.child.try_wait() {
                Ok(Some(status)) => Ok(Some(status)),
                _ if server.kubeconfig.exists() => Ok(None),
                _ => Err("it is not there".to_owned()),
            }
        })?;
        match ended {
            None => Ok(server),
            Some(status) => {
                let errors = fs::read_to_string(&errors)?;
                anyhow::bail!("pandaemon server ended ({status}):\n{errors}")
            }
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Ends the process with SIGKILL and waits for it.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.pid())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        Ok(self.child.wait()?)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.kill();
    }
}

/// The resident memory of a process, in KiB.
///
/// # Errors
/// When the process is gone.
pub fn resident_kibibytes(pid: u32) -> anyhow::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} is gone"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let line = line.with_context(|| format!("process {pid} has no memory"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
