//! Waiting until a condition holds, with the last observation in the error.

use std::time::{Duration, Instant};

/// Calls `probe` every 50 ms until it returns `Ok(value)`. Its `Err` says what is still missing.
///
/// # Errors
/// After `timeout`, with the last `Err` of `probe`. `what` names the condition in the error.
pub fn until<T>(
    what: &str,
    timeout: Duration,
    mut probe: impl FnMut() -> Result<T, String>,
) -> anyhow::Result<T> {
    let end = Instant::now() + timeout;
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(last) if Instant::now() > end => {
                anyhow::bail!(
                    "{what}: not after {} s; last seen: {last}",
                    timeout.as_secs()
                )
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
