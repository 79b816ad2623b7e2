//! Waiting for the world: until a condition holds, with the last thing seen in the error.

use std::time::{Duration, Instant};

/// Asks `probe` until it answers `Ok(value)`; its `Err` says what is still missing.
///
/// # Errors
/// After `patience`, with the last answer.
pub fn until<T>(
    what: &str,
    patience: Duration,
    mut probe: impl FnMut() -> Result<T, String>,
) -> anyhow::Result<T> {
    let end = Instant::now() + patience;
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(last) if Instant::now() > end => {
                anyhow::bail!(
                    "{what}: not after {} s; last seen: {last}",
                    patience.as_secs()
                )
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
