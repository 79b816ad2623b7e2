//! The machines themselves.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use pandaemon_vm::{Machine, MachineOptions, Network};

use crate::{
    guest::{LONG, SHORT, disk, folder, image},
    report::Report,
};

pub(crate) fn machines_run_scripts_reboot_and_reach_each_other(report: &Report) -> Result<()> {
    let image = image(report)?;
    let network = Network::new()?;
    let options = |name: &str| MachineOptions {
        memory: 512,
        disks: vec![disk("data", 64)],
        network: Some(network.clone()),
        ..MachineOptions::new(name)
    };
    let mut one = Machine::boot(&image, &folder(), options("one"))?;
    report.booted(one.boot_time());
    has_systemd_and_cgroup_v2(&one)?;
    scripts_have_output_status_and_a_limit(&one)?;
    files_are_copied_in(&one)?;
    {
        let two = Machine::boot(&image, &folder(), options("two"))?;
        report.booted(two.boot_time());
        machines_reach_each_other_and_nothing_else(&one, &two)?;
    }
    keeps_its_disks(&mut one, report)
}

fn has_systemd_and_cgroup_v2(machine: &Machine) -> Result<()> {
    let found = machine.check(
        "systemctl is-system-running --wait; systemctl --failed --no-legend
         stat -f -c %T /sys/fs/cgroup; hostname; ls /dev/disk/by-id/virtio-data",
        LONG,
    )?;
    let expected = "running\ncgroup2fs\none\n/dev/disk/by-id/virtio-data\n";
    ensure!(found == expected, "{found}");
    Ok(())
}

fn scripts_have_output_status_and_a_limit(machine: &Machine) -> Result<()> {
    let output = machine.run("echo out; echo err >&2; exit 3", SHORT)?;
    ensure!(
        output.status == 3 && output.text == "out\nerr\n",
        "{output:?}"
    );
    let output = machine.run("echo early; sleep 1000", Duration::from_secs(1))?;
    ensure!(
        output.status == 124 && output.text == "early\n",
        "{output:?}"
    );
    // Each waits for the other.
    let meet = |own: &str, other: &str| {
        format!("touch /run/{own}; until [ -e /run/{other} ]; do sleep 0.1; done; echo {own}")
    };
    let (a, b) = std::thread::scope(|scope| {
        let a = scope.spawn(|| machine.check(&meet("a", "b"), SHORT));
        let b = machine.check(&meet("b", "a"), SHORT);
        (a.join(), b)
    });
    let a = a.map_err(|_| anyhow::anyhow!("a script's thread panicked"))??;
    ensure!(a == "a\n" && b? == "b\n");
    // What stays behind must not hold up the reply, nor write into the next one.
    let output = machine.check("(sleep 1; echo late) & echo now", SHORT)?;
    ensure!(output == "now\n", "{output}");
    Ok(())
}

fn files_are_copied_in(machine: &Machine) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(file.path(), &content)?;
    machine.copy_in(file.path(), "/opt/deep/copy", 0o640)?;
    let sum = "stat -c '%a %s' /opt/deep/copy; od -An -v -tu4 -w4 /opt/deep/copy | \
               awk '$1 != NR - 1 { wrong++ } END { print NR, wrong + 0 }'";
    let found = machine.check(sum, LONG)?;
    ensure!(found == "640 1200000\n300000 0\n", "{found}");
    Ok(())
}

fn machines_reach_each_other_and_nothing_else(one: &Machine, two: &Machine) -> Result<()> {
    for (from, to) in [(one, two), (two, one)] {
        let address = to.address().map(|address| address.to_string());
        let address = address.unwrap_or_default();
        from.check(&format!("ping -c 1 -W 20 {address}"), LONG)?;
    }
    let output = one.run("ip route get 1.1.1.1", SHORT)?;
    ensure!(
        output.status != 0,
        "the guest has a way out: {}",
        output.text
    );
    Ok(())
}

/// What was synced is there after a reboot and after a power cut; memory is not.
fn keeps_its_disks(machine: &mut Machine, report: &Report) -> Result<()> {
    machine.check(
        "set -e
         mkfs.ext4 -q -F /dev/disk/by-id/virtio-data
         mkdir /data
         echo '/dev/disk/by-id/virtio-data /data ext4 commit=900 0 0' >>/etc/fstab
         systemctl daemon-reload; mount /data
         echo root >/root/kept; echo data >/data/kept; echo memory >/run/gone",
        LONG,
    )?;
    machine.reboot()?;
    report.booted(machine.boot_time());
    let look = "cat /root/kept /data/kept; ls /run/gone /data/unsynced 2>/dev/null; true";
    let found = machine.check(look, LONG)?;
    ensure!(found == "root\ndata\n", "after a reboot: {found}");
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), vec![1; 1 << 20])?;
    machine.copy_in(file.path(), "/opt/late/copy", 0o600)?;
    machine.check(
        "echo synced >/data/kept; sync /data/kept; echo x >/data/unsynced",
        LONG,
    )?;
    machine.power_cut()?;
    report.cut();
    ensure!(machine.run("true", SHORT).is_err(), "it runs without power");
    machine.start()?;
    report.booted(machine.boot_time());
    let found = machine.check(look, LONG)?;
    ensure!(found == "root\nsynced\n", "after a power cut: {found}");
    let sum = machine.check(
        "tr -d '\\001' </opt/late/copy | wc -c; wc -c </opt/late/copy",
        LONG,
    )?;
    ensure!(
        sum == "0\n1048576\n",
        "what was copied in is damaged: {sum}"
    );
    let console = fs::read_to_string(machine.console())?;
    ensure!(
        console.matches("login:").count() >= 2,
        "the console of earlier boots is not kept: {}",
        machine.console_tail()
    );
    Ok(())
}
