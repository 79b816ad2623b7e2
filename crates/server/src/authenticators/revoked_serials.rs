//! Client certificates that count no more, although they have not expired: their serial numbers are
//! in a file.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

/// How often it is looked whether the file has changed.
const INTERVAL: Duration = Duration::from_secs(1);

/// The serial numbers of a file, which is read again when it changes. By default there are none.
#[derive(Debug, Default)]
pub(crate) struct RevokedSerials {
    path: Option<PathBuf>,
    serials: RwLock<Arc<HashSet<String>>>,
    seen: Mutex<Option<Seen>>,
}

/// When the file was looked at, and when it was changed.
#[derive(Debug)]
struct Seen {
    at: Instant,
    modified: Option<SystemTime>,
}

impl RevokedSerials {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let seen = Seen::now(path);
        Ok(Self {
            serials: RwLock::new(Arc::new(read(path)?)),
            path: Some(path.to_owned()),
            seen: Mutex::new(Some(seen)),
        })
    }

    /// Whether the certificate with this serial number ([`normalized`]) counts no more.
    pub(crate) fn contains(&self, serial: &str) -> bool {
        let Some(path) = &self.path else {
            return false;
        };
        self.refresh(path);
        self.serials.read().contains(serial)
    }

    /// Reads the file if it has changed. One that cannot be read, or is faulty, changes nothing.
    fn refresh(&self, path: &Path) {
        let mut seen = self.seen.lock();
        let former = match &*seen {
            Some(seen) if seen.at.elapsed() < INTERVAL => return,
            Some(seen) => seen.modified,
            None => None,
        };
        let now = Seen::now(path);
        let has_changed = now.modified != former;
        *seen = Some(now);
        drop(seen);
        if !has_changed {
            return;
        }
        match read(path) {
            Ok(serials) => {
                tracing::info!(
                    count = serials.len(),
                    "read the revoked serial numbers again"
                );
                *self.serials.write() = Arc::new(serials);
            }
            Err(error) => {
                let path = path.display();
                tracing::error!(%path, error, "cannot use the revoked serial numbers; those read before hold");
            }
        }
    }
}

impl Seen {
    fn now(path: &Path) -> Self {
        let modified = fs::metadata(path).and_then(|file| file.modified());
        Self {
            at: Instant::now(),
            modified: modified.ok(),
        }
    }
}

fn read(path: &Path) -> Result<HashSet<String>, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    parse(&text)
}

/// One number in hexadecimal on a line, as `openssl x509 -serial` prints it, also with colons. What
/// follows `#` is a comment.
fn parse(text: &str) -> Result<HashSet<String>, String> {
    let lines = text.lines().enumerate();
    let numbers = lines.map(|(index, line)| {
        let number = line.split('#').next().unwrap_or_default().trim();
        let number = number
            .strip_prefix("serial=")
            .unwrap_or(number)
            .replace(':', "");
        match number.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => Ok(normalized(&number)),
            false => Err(format!("line {} is no number in hexadecimal", index + 1)),
        }
    });
    let numbers: Result<HashSet<String>, String> = numbers.collect();
    numbers.map(|mut numbers| {
        numbers.remove("");
        numbers
    })
}

/// A number in hexadecimal in lower case and without zeros in front.
pub(crate) fn normalized(number: &str) -> String {
    number.trim_start_matches('0').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_tools_print_them() {
        let text = "# lost laptops\nserial=00AB12\n\n ab:13  # bob\n7f\n";
        let mut found: Vec<_> = parse(text).unwrap().into_iter().collect();
        found.sort_unstable();
        assert_eq!(found, ["7f", "ab12", "ab13"]);
        let error = parse("7f\nbob\n").unwrap_err();
        assert_eq!(error, "line 2 is no number in hexadecimal");
    }

    #[test]
    fn a_file_that_becomes_faulty_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("serials");
        assert!(RevokedSerials::read(&path).is_err(), "it is missing");
        fs::write(&path, "1f\n").unwrap();
        let revoked = RevokedSerials::read(&path).unwrap();
        let look_again = |text: &str, second: u64| {
            fs::write(&path, text).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            fs::File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(time)
                .unwrap();
            *revoked.seen.lock() = None;
        };
        assert!(revoked.contains("1f") && !revoked.contains("2f"));
        look_again("2f\n", 1);
        assert!(!revoked.contains("1f") && revoked.contains("2f"));
        look_again("not a number\n", 2);
        assert!(revoked.contains("2f"));
    }
}
