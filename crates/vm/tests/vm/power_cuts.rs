//! Power cuts under write load.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::Client;
use pandaemon_vm::{MachineOptions, record::Contents};

use crate::{
    guest::{Guest, LONG, SHORT, client, disk},
    load::{Load, make_namespace, nothing_wrong, read_all},
    report::Report,
};

const CUTS: usize = 10;
/// Every round writes at least this much before its cut.
const WRITES: usize = 40;
/// The longest time from there to the cut, on a machine of 20 s to boot.
const LATEST: Duration = Duration::from_secs(4);

pub(crate) fn nothing_acknowledged_is_lost_in_ten_power_cuts(report: &Report) -> Result<()> {
    let mut random = report.random();
    let mut guest = Guest::boot(
        report,
        MachineOptions {
            disks: vec![disk("data", 1024)],
            ..MachineOptions::new("power")
        },
    )?;
    guest
        .machine
        .check("mkfs.ext4 -q -F /dev/disk/by-id/virtio-data", LONG)?;
    let mut load = Load::new()?;
    let mut server = serve(&guest, &load)?;
    load.block_on(make_namespace(&server))?;
    let mut found = Contents::new();
    for cut in 1..=CUTS {
        load.start(&server, &found, &mut random);
        let limit = guest.machine.scaled(LONG);
        load.wait_for(WRITES, limit).with_context(|| guest.log())?;
        if random.bool() {
            // Writes a checkpoint meanwhile.
            let rotate = "systemd-run --quiet pandaemon rotate-keys --data-dir /data/pandaemon";
            guest.machine.check(rotate, SHORT)?;
        }
        let latest = guest.machine.scaled(LATEST).as_millis();
        let wait = random.u64(0..u64::try_from(latest)?);
        std::thread::sleep(Duration::from_millis(wait));
        guest.machine.power_cut()?;
        report.cut();
        load.stop()?;
        let before = load.record().lock().moment();
        guest.machine.start()?;
        report.booted(guest.machine.boot_time());
        server = serve(&guest, &load)?;
        found = load.block_on(read_all(&server))?;
        let mut wrong = load.record().lock().check(&before, &found);
        wrong.extend(load.take_wrong());
        report.say(&format!(
            "cut {cut}, {wait} ms after {WRITES} writes: {} objects, {} writes acknowledged in \
             all, {} wrong",
            found.len(),
            before.acknowledged(),
            wrong.len()
        ));
        report.compared(0, wrong.len());
        nothing_wrong(&format!("after cut {cut}"), &wrong).with_context(|| guest.log())?;
        load.record().lock().settle(&found);
    }
    report.compared(load.record().lock().acknowledged(), 0);
    Ok(())
}

/// Mounts the disk and starts the server on it.
fn serve(guest: &Guest, load: &Load) -> Result<Client> {
    let mount = "mkdir -p /data; mount /dev/disk/by-id/virtio-data /data";
    guest.machine.check(mount, SHORT)?;
    let file = guest.start("server --advertise-address 10.0.2.15 --data-dir /data/pandaemon")?;
    load.block_on(client(file))
}
