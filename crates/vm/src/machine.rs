//! A machine: qemu with disks that outlive it, and a power plug.

mod qemu;

use std::{
    fmt,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, ExitStatus},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use pandaemon_testkit::wait;
use tempfile::TempDir;

use crate::{
    Image, Network,
    channel::{Channel, Missing, Output, receive},
    network::Port,
};

/// How long a boot may take where nothing is known of the host's speed.
const BOOT_LIMIT: Duration = Duration::from_secs(900);
/// The boot that time limits are made for. Those of a machine that boots slower are longer.
const REFERENCE_BOOT: Duration = Duration::from_secs(20);
/// How long a reply may take after the guest has ended a script.
const REPLY_GRACE: Duration = Duration::from_secs(60);
/// How long a machine may take to power off.
const OFF_LIMIT: Duration = Duration::from_secs(120);
/// How much of the serial console an error shows.
const CONSOLE_LINES: usize = 40;

/// What a machine is made of.
#[derive(Debug, Clone)]
pub struct MachineOptions {
    /// Its host name, and the name of its serial console's log.
    pub name: String,
    /// Memory in MiB.
    pub memory: u32,
    /// The number of virtual processors.
    pub processors: u32,
    /// Disks beside that of the root file system.
    pub disks: Vec<Disk>,
    /// TCP ports of the guest that a port of 127.0.0.1 leads to.
    pub forwards: Vec<u16>,
    /// The network that it shares with other machines.
    pub network: Option<Arc<Network>>,
}

impl MachineOptions {
    /// A machine of this name with 1 GiB of memory and two processors.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            memory: 1024,
            processors: 2,
            disks: Vec::new(),
            forwards: Vec::new(),
            network: None,
        }
    }
}

/// An empty disk. The guest finds it as `/dev/disk/by-id/virtio-NAME`.
#[derive(Debug, Clone)]
pub struct Disk {
    /// At most 20 characters.
    pub name: String,
    /// In bytes; the file on the host grows with what is written.
    pub size: u64,
}

/// A machine. When it is dropped, its power is cut and its disks are removed; the log of its
/// serial console is kept.
#[derive(Debug)]
pub struct Machine {
    image: Image,
    options: MachineOptions,
    port: Option<Port>,
    /// Host ports, in the order of `options.forwards`.
    forwards: Vec<u16>,
    dir: PathBuf,
    console: PathBuf,
    sockets: TempDir,
    running: Option<Running>,
    boot: Duration,
}

#[derive(Debug)]
struct Running {
    qemu: Child,
    channel: Channel,
}

impl Machine {
    /// Makes a machine with its files below `dir`, and boots it. The thread that calls this must
    /// outlive the machine: the kernel ends qemu with it, so that none is left behind.
    ///
    /// # Errors
    /// When qemu ends or the guest does not run scripts in time, with the end of its console.
    pub fn boot(image: &Image, dir: &Path, options: MachineOptions) -> anyhow::Result<Self> {
        remove_left_behind(dir)?;
        let name = &options.name;
        let port = match &options.network {
            Some(network) => Some(network.attach()?),
            None => None,
        };
        let sockets = tempfile::Builder::new().prefix("vm-").tempdir()?;
        let own = dir.join(format!("machine-{}-{name}", std::process::id()));
        // Fails for a second machine of this name.
        fs::create_dir(&own).with_context(|| format!("create {}", own.display()))?;
        let mut machine = Self {
            image: image.clone(),
            port,
            forwards: free_ports(options.forwards.len())?,
            dir: own,
            console: dir.join(format!("{name}.console")),
            sockets,
            running: None,
            boot: BOOT_LIMIT,
            options,
        };
        let _earlier = fs::remove_file(&machine.console);
        qemu::make_overlay(&machine.image.root(), &machine.root_file())?;
        for disk in &machine.options.disks {
            let path = machine.disk_file(&disk.name);
            File::create(&path)
                .and_then(|file| file.set_len(disk.size))
                .with_context(|| format!("create {}", path.display()))?;
        }
        machine.start()?;
        Ok(machine)
    }

    /// Boots a machine that is off, from the disks as they are.
    ///
    /// # Errors
    /// As [`Machine::boot`], and when it is on.
    pub fn start(&mut self) -> anyhow::Result<()> {
        ensure!(self.running.is_none(), "{self} is on");
        let began = Instant::now();
        let socket = self.sockets.path().join("host");
        let _earlier = fs::remove_file(&socket);
        if let Some(port) = &self.port {
            let _earlier = fs::remove_file(&port.own);
        }
        let mut qemu = qemu::command(self, &socket)
            .spawn()
            .context("start qemu-system-x86_64")?;
        let channel = wait::until("qemu's socket", BOOT_LIMIT, || {
            match qemu.try_wait() {
                Ok(Some(status)) => return Ok(Err(status)),
                Ok(None) => {}
                Err(error) => return Err(error.to_string()),
            }
            Channel::connect(&socket)
                .map(Ok)
                .map_err(|error| format!("{error:#}"))
        });
        let channel = match channel {
            Ok(Ok(channel)) => channel,
            Ok(Err(status)) => bail!("qemu ended ({status})\n{}", self.console_tail()),
            Err(error) => {
                let _ended = qemu.kill().and_then(|()| qemu.wait());
                return Err(error);
            }
        };
        let ready = channel.wait_ready(BOOT_LIMIT);
        self.running = Some(Running { qemu, channel });
        if let Err(missing) = ready {
            let tail = self.console_tail();
            self.power_cut()?;
            bail!("{self} did not boot: {missing:?}\n{tail}");
        }
        self.boot = began.elapsed();
        Ok(())
    }

    /// How long the last boot took, from power on until the guest ran scripts.
    #[must_use]
    pub fn boot_time(&self) -> Duration {
        self.boot
    }

    /// A time limit that suits a machine of 20 s to boot, as long as this machine needs it.
    #[must_use]
    pub fn scaled(&self, limit: Duration) -> Duration {
        let slowness = self.boot.as_secs_f64() / REFERENCE_BOOT.as_secs_f64();
        limit.mul_f64(slowness.max(1.0))
    }

    /// Runs a bash script as root; `limit` is [scaled](Self::scaled). Several threads can run
    /// scripts at a time.
    ///
    /// # Errors
    /// When the machine is off, ends meanwhile, or does not reply. A script that fails or needs
    /// longer is no error.
    pub fn run(&self, script: &str, limit: Duration) -> anyhow::Result<Output> {
        self.run_with_input(script, &[], limit)
    }

    /// As [`Machine::run`], for a script that must succeed. Returns its output.
    ///
    /// # Errors
    /// As [`Machine::run`], and when the script ends with another status than 0.
    pub fn check(&self, script: &str, limit: Duration) -> anyhow::Result<String> {
        let output = self.run(script, limit)?;
        ensure!(
            output.status == 0,
            "{self}: status {} of: {script}\n{}",
            output.status,
            output.text
        );
        Ok(output.text)
    }

    /// Copies a file of the host into the guest. It survives a power cut after this.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn copy_in(&self, file: &Path, path: &str, mode: u32) -> anyhow::Result<()> {
        let content = fs::read(file).with_context(|| format!("read {}", file.display()))?;
        let script = format!(
            "set -e\nmkdir -p \"$(dirname '{path}')\"\ncat >'{path}'\nchmod {mode:o} '{path}'
             sync '{path}' \"$(dirname '{path}')\""
        );
        let limit = Duration::from_secs(300);
        let output = self.run_with_input(&script, &content, limit)?;
        ensure!(output.status == 0, "{self}: write {path}: {}", output.text);
        Ok(())
    }

    fn run_with_input(
        &self,
        script: &str,
        input: &[u8],
        limit: Duration,
    ) -> anyhow::Result<Output> {
        let running = self.running.as_ref();
        let running = running.with_context(|| format!("{self} is off"))?;
        let limit = self.scaled(limit);
        let reply = running.channel.send(script, input, limit.as_secs())?;
        match receive(&reply, limit + self.scaled(REPLY_GRACE)) {
            Ok(output) => Ok(output),
            Err(Missing::Ended) => bail!("{self} ended\n{}", self.console_tail()),
            Err(Missing::Late) => bail!(
                "{self} has not replied after {} s to: {script}\n{}",
                limit.as_secs(),
                self.console_tail()
            ),
        }
    }

    /// Pulls the plug: the guest loses its memory at once, and gets no chance to write anything.
    ///
    /// # Errors
    /// When it is off.
    pub fn power_cut(&mut self) -> anyhow::Result<()> {
        let mut running = self
            .running
            .take()
            .with_context(|| format!("{self} is off"))?;
        running.qemu.kill().context("kill qemu")?;
        running.qemu.wait().context("wait for qemu")?;
        Ok(())
    }

    /// Shuts down and boots again.
    ///
    /// # Errors
    /// When it does not power off in time, and as [`Machine::start`].
    pub fn reboot(&mut self) -> anyhow::Result<()> {
        self.shut_down("reboot")?;
        self.start()
    }

    /// Shuts down.
    ///
    /// # Errors
    /// When it does not power off in time.
    pub fn power_off(&mut self) -> anyhow::Result<()> {
        self.shut_down("poweroff")
    }

    fn shut_down(&mut self, verb: &str) -> anyhow::Result<()> {
        let limit = self.scaled(OFF_LIMIT);
        let running = self.running.as_mut().context("the machine is off")?;
        let script = format!("systemctl {verb}");
        // The reply may be lost with the machine.
        let _reply = running.channel.send(&script, &[], limit.as_secs())?;
        let ended = wait::until(&format!("{verb} ends qemu"), limit, || {
            match running.qemu.try_wait() {
                Ok(Some(status)) => Ok(status),
                Ok(None) => Err("it runs".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        });
        let status: ExitStatus = ended.with_context(|| self.console_tail())?;
        self.running = None;
        ensure!(
            status.success(),
            "qemu ended ({status})\n{}",
            self.console_tail()
        );
        Ok(())
    }

    /// The address on the host that leads to this port of the guest.
    ///
    /// # Errors
    /// When the machine was made without it.
    pub fn forwarded(&self, guest_port: u16) -> anyhow::Result<SocketAddr> {
        let mut pairs = self.options.forwards.iter().zip(&self.forwards);
        let (_, port) = pairs
            .find(|(guest, _)| **guest == guest_port)
            .with_context(|| format!("{self} does not forward port {guest_port}"))?;
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, *port)))
    }

    /// Its address in the network that it shares with other machines.
    #[must_use]
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.port.as_ref().map(|port| port.address)
    }

    /// The file of a disk on the host. It is the guest's while the machine is on.
    #[must_use]
    pub fn disk_file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.img"))
    }

    fn root_file(&self) -> PathBuf {
        self.dir.join("root.qcow2")
    }

    /// The log of its serial console, all boots in one file.
    #[must_use]
    pub fn console(&self) -> &Path {
        &self.console
    }

    /// The end of that log.
    #[must_use]
    pub fn console_tail(&self) -> String {
        let bytes = fs::read(&self.console).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(CONSOLE_LINES)..].join("\n");
        format!(
            "the console of {self} ({}):\n{tail}",
            self.console.display()
        )
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "machine {}", self.options.name)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may be off, and nothing can be done about files that stay.
        let _off = self.power_cut();
        let _removed = fs::remove_dir_all(&self.dir);
    }
}

/// Removes the disks of machines whose processes were killed.
fn remove_left_behind(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix("machine-");
        let process = process.and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            fs::remove_dir_all(entry.path())
                .with_context(|| format!("remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Ports of 127.0.0.1 that nothing listens on.
fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<_, _>>()
        .context("find a free port")?;
    let ports = listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()));
    ports.collect()
}
