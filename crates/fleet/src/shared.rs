//! What all fleets of a machine share: the address ranges to choose from, and IP forwarding.

use std::{
    fs, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;

use crate::plan;

/// How long a fleet waits for another one that is being created or removed.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);
/// The delay between two attempts to get the lock.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// The names and paths that all fleets of a machine use.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    /// The name of the abstract Unix socket that serves as lock. The kernel releases it when its
    /// holder ends, and it leaves no file.
    lock: String,
    /// The file that notes that a fleet switched IP forwarding on. Like the switch, it does not
    /// survive a reboot.
    forwarding_note: PathBuf,
    /// The kernel's switch for IP forwarding.
    forwarding: PathBuf,
    /// The directory with an entry for each network device.
    devices: PathBuf,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            lock: "pandaemon-fleets".to_owned(),
            forwarding_note: PathBuf::from("/run/pandaemon-ip-forward"),
            forwarding: PathBuf::from("/proc/sys/net/ipv4/ip_forward"),
            devices: PathBuf::from("/sys/class/net"),
        }
    }
}

/// Held while a fleet is created or removed. Dropping it releases the lock.
#[derive(Debug)]
pub(crate) struct SharedLock<'a> {
    shared: &'a Shared,
    _socket: UnixListener,
}

impl Shared {
    /// Waits for the lock: of two fleets that start at once, the second chooses its address range
    /// after the first has routes for its own.
    ///
    /// # Errors
    /// If another fleet holds the lock for too long.
    pub(crate) async fn lock(&self) -> anyhow::Result<SharedLock<'_>> {
        self.lock_within(LOCK_TIMEOUT).await
    }

    async fn lock_within(&self, timeout: Duration) -> anyhow::Result<SharedLock<'_>> {
        let address = SocketAddr::from_abstract_name(&self.lock)?;
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            match UnixListener::bind_addr(&address) {
                Ok(socket) => {
                    return Ok(SharedLock {
                        shared: self,
                        _socket: socket,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => (),
                Err(error) => return Err(error).context("lock the machine's address ranges"),
            }
            anyhow::ensure!(
                tokio::time::Instant::now() < deadline,
                "another cluster on this machine has been starting or stopping for {} s",
                timeout.as_secs()
            );
            tokio::time::sleep(LOCK_RETRY).await;
        }
    }
}

impl SharedLock<'_> {
    /// Switches IP forwarding on, and notes it if it was off.
    pub(crate) fn enable_forwarding(&self) -> io::Result<()> {
        let switch = &self.shared.forwarding;
        if fs::read_to_string(switch)?.trim() != "0" {
            return Ok(());
        }
        fs::write(&self.shared.forwarding_note, "")?;
        fs::write(switch, "1")
    }

    /// Switches IP forwarding off again if a fleet switched it on and no other fleet is left.
    pub(crate) fn release_forwarding(&self) -> io::Result<()> {
        if !self.shared.forwarding_note.exists() || other_fleets(&self.shared.devices)? {
            return Ok(());
        }
        fs::write(&self.shared.forwarding, "0")?;
        fs::remove_file(&self.shared.forwarding_note)
    }
}

/// Whether there is a bridge of any fleet.
fn other_fleets(devices: &Path) -> io::Result<bool> {
    let names = fs::read_dir(devices)?.filter_map(Result::ok);
    Ok(names
        .map(|entry| entry.file_name())
        .any(|name| plan::is_fleet_bridge(&name.to_string_lossy())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(dir: &Path) -> Shared {
        let shared = Shared {
            lock: dir.display().to_string(),
            forwarding_note: dir.join("note"),
            forwarding: dir.join("ip_forward"),
            devices: dir.join("devices"),
        };
        fs::create_dir(&shared.devices).unwrap();
        fs::write(&shared.forwarding, "0\n").unwrap();
        shared
    }

    fn forwarding(shared: &Shared) -> String {
        fs::read_to_string(&shared.forwarding).unwrap()
    }

    #[tokio::test]
    async fn forwarding_stays_on_until_the_last_fleet_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let shared = machine(dir.path());
        let lock = shared.lock().await.unwrap();
        lock.enable_forwarding().unwrap();
        assert_eq!(forwarding(&shared), "1");
        let other = shared
            .devices
            .join(plan::Plan::new("0a1b2c3d", 1, 1).bridge());
        fs::write(&other, "").unwrap();
        lock.release_forwarding().unwrap();
        assert_eq!(forwarding(&shared), "1", "another fleet needs it");
        fs::remove_file(&other).unwrap();
        lock.release_forwarding().unwrap();
        assert_eq!(forwarding(&shared), "0");
    }

    #[tokio::test]
    async fn forwarding_that_was_on_before_stays_on() {
        let dir = tempfile::tempdir().unwrap();
        let shared = machine(dir.path());
        fs::write(&shared.forwarding, "1\n").unwrap();
        let lock = shared.lock().await.unwrap();
        lock.enable_forwarding().unwrap();
        lock.release_forwarding().unwrap();
        assert_eq!(forwarding(&shared), "1\n");
    }

    #[tokio::test]
    async fn the_lock_is_held_by_one_fleet_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let shared = machine(dir.path());
        let first = shared.lock().await.unwrap();
        let error = shared.lock_within(Duration::ZERO).await.unwrap_err();
        let error = error.to_string();
        assert!(error.contains("another cluster"), "{error}");
        drop(first);
        assert!(shared.lock_within(Duration::ZERO).await.is_ok());
    }
}
