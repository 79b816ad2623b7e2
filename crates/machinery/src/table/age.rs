//! Ages as people read them: `5m10s`, `3d4h`, as upstream's `duration.HumanDuration`.

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

/// A duration in the units that matter at its size.
#[must_use]
pub fn human_duration(seconds: i64) -> String {
    // Clocks of two machines may differ a little: one second into the future is still "now".
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    let seconds = seconds.max(0);
    let (minutes, hours) = (seconds / MINUTE, seconds / HOUR);
    if seconds < 2 * MINUTE {
        format!("{seconds}s")
    } else if minutes < 10 {
        pair(minutes, "m", seconds % 60, "s")
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 {
        pair(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else {
        human_days(hours)
    }
}

fn human_days(hours: i64) -> String {
    let days = hours / 24;
    if hours < 24 * 8 {
        pair(days, "d", hours % 24, "h")
    } else if days < 365 * 2 {
        format!("{days}d")
    } else if days < 365 * 8 {
        pair(days / 365, "y", days % 365, "d")
    } else {
        format!("{}y", days / 365)
    }
}

fn pair(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit}{small}{small_unit}")
    }
}

/// How long before `now_seconds` the RFC 3339 `time` was.
pub(super) fn since(time: &str, now_seconds: i64) -> String {
    match seconds_of(time) {
        Some(then) => human_duration(now_seconds - then),
        None => "<unknown>".to_owned(),
    }
}

/// Unix seconds of an RFC 3339 time.
pub(super) fn seconds_of(time: &str) -> Option<i64> {
    time.parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_second)
}
