//! The command line of qemu.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};

use super::Machine;

/// The address of the guest in the network that it shares with the host.
const GUEST: &str = "10.0.2.15";

/// Makes the disk of the root file system: what the machine writes, over an image that stays.
pub(super) fn make_overlay(image: &Path, file: &Path) -> anyhow::Result<()> {
    let image = fs::canonicalize(image).with_context(|| format!("find {}", image.display()))?;
    let output = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
        .arg(image)
        .arg(file)
        .output()
        .context("run qemu-img")?;
    ensure!(
        output.status.success(),
        "qemu-img failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// The command that runs this machine with the agent's port at `socket`. The kernel ends it with
/// the thread that starts it.
pub(super) fn command(machine: &Machine, socket: &Path) -> Command {
    let options = &machine.options;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"]);
    command.args(accelerator());
    command.args(["-nodefaults", "-nographic"]);
    // A reset ends qemu, as power off does: every boot is a new process.
    command.arg("-no-reboot");
    command.args(["-name", &options.name]);
    command.args(["-m", &options.memory.to_string()]);
    command.args(["-smp", &options.processors.to_string()]);
    command.arg("-kernel").arg(machine.image.kernel());
    command.arg("-initrd").arg(machine.image.initrd());
    let mut line = format!(
        "console=ttyS0 root=/dev/vda rw quiet panic=-1 net.ifnames=0 systemd.hostname={}",
        options.name
    );
    if let Some(port) = &machine.port {
        line.push_str(&format!(" vm.address={}/24", port.address));
    }
    command.args(["-append", &line]);
    command.arg("-chardev").arg(format!(
        "file,id=console,append=on,path={}",
        machine.console.display()
    ));
    command.args(["-serial", "chardev:console"]);
    disk(&mut command, &machine.root_file(), "qcow2", "root");
    for extra in &options.disks {
        disk(
            &mut command,
            &machine.disk_file(&extra.name),
            "raw",
            &extra.name,
        );
    }
    let mut user = "user,id=host,restrict=on".to_owned();
    for (guest, host) in options.forwards.iter().zip(&machine.forwards) {
        user.push_str(&format!(",hostfwd=tcp:127.0.0.1:{host}-{GUEST}:{guest}"));
    }
    command.args(["-netdev", &user]);
    // Without a boot ROM: the kernel comes from a file.
    command.args(["-device", "virtio-net-pci,netdev=host,romfile="]);
    if let Some(port) = &machine.port {
        command.arg("-netdev").arg(format!(
            "dgram,id=machines,local.type=unix,local.path={},remote.type=unix,remote.path={}",
            port.own.display(),
            port.hub.display()
        ));
        let card = format!("virtio-net-pci,netdev=machines,romfile=,mac={}", port.mac);
        command.args(["-device", &card]);
    }
    command.args(["-device", "virtio-serial-pci", "-device", "virtio-rng-pci"]);
    command.arg("-chardev").arg(format!(
        "socket,id=agent,server=on,wait=off,path={}",
        socket.display()
    ));
    command.args(["-device", "virtserialport,chardev=agent,name=host"]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    match File::options()
        .create(true)
        .append(true)
        .open(&machine.console)
    {
        Ok(log) => command.stderr(log),
        Err(_) => command.stderr(Stdio::inherit()),
    };
    command
}

/// A disk whose writes bypass the host's page cache: what the guest has flushed is on the host's
/// disk, and the rest is lost with qemu at the latest.
fn disk(command: &mut Command, file: &Path, format: &str, name: &str) {
    command.arg("-drive").arg(format!(
        "if=none,id={name},format={format},cache=none,discard=unmap,file={}",
        file.display()
    ));
    let device = format!("virtio-blk-pci,drive={name},serial={name}");
    command.args(["-device", &device]);
}

/// KVM where the processor shows that it has it. Elsewhere `/dev/kvm` may open all the same (a
/// nested hypervisor without the extension) and not run Debian's kernel.
fn accelerator() -> [&'static str; 4] {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let capable = processor
        .split_whitespace()
        .any(|word| matches!(word, "vmx" | "svm"));
    let kvm = capable
        && File::options()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .is_ok();
    if kvm {
        ["-accel", "kvm", "-cpu", "host"]
    } else {
        // A processor with vector extensions needs a third more time to emulate.
        ["-accel", "tcg,thread=multi", "-cpu", "qemu64"]
    }
}
