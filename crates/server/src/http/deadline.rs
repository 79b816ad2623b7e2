//! How long a request may take until its response begins. Upstream: `WithRequestDeadline`.
//!
//! When the time is over, what is done for the request is dropped, as when its client leaves. A
//! write that the store has got by then stands; the client cannot know.

use std::time::Duration;

use pandaemon_machinery::{Status, status::Result};
use pandaemon_types::{go_duration_error, parse_duration};

use super::request::Query;

/// The longest time that a request may take; upstream's `--request-timeout`.
const MAX: Duration = Duration::from_secs(60);

/// The time that a request may take: what its client says, or the longest.
///
/// # Errors
/// 400 if the parameter `timeout` is no duration, with upstream's text.
pub(crate) fn time_of(query: &Query) -> Result<Duration> {
    let Some(text) = query.filled("timeout") else {
        return Ok(MAX);
    };
    // No time, and a negative one, are no wish.
    let (is_negative, amount) = match text.strip_prefix('-') {
        Some(amount) => (true, amount),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let time = parse_duration(amount).map_err(|_| {
        let why = go_duration_error(text);
        Status::bad_request(format!(
            "invalid timeout specified in the request URL - {why}"
        ))
    })?;
    Ok(match is_negative || time.is_zero() {
        true => MAX,
        false => time.min(MAX),
    })
}

/// The status of a request whose time is over (504).
#[must_use]
pub(crate) fn passed() -> Box<Status> {
    let text =
        "Timeout: request did not complete within requested timeout - context deadline exceeded";
    Status::failure(504, "Timeout", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_can_shorten_the_time_of_its_request() {
        let time = |text: &str| {
            let query = Query::parse(Some(&format!("timeout={text}")));
            time_of(&query).map_err(|status| status.message)
        };
        for text in ["", "0", "0s", "-5s", "60s", "2h", "1h0m0s", "-0"] {
            assert_eq!(time(text), Ok(MAX), "{text}");
        }
        assert_eq!(time("%2B1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(time("59s"), Ok(Duration::from_secs(59)));
        let why =
            "invalid timeout specified in the request URL - time: missing unit in duration \"5\"";
        assert_eq!(time("5"), Err(why.to_owned()));
        assert!(time("--5s").is_err());
    }
}
