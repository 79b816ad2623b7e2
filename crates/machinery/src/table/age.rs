//! Durations such as `5m10s` and `3d4h` (upstream's `duration.HumanDuration`).

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

/// A duration as text, with one or two units depending on its length; `<invalid>` below minus one
/// second.
#[must_use]
pub fn human_duration(seconds: i64) -> String {
    // One second in the future counts as now, because clocks of two machines differ.
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

/// How long before `now_seconds` the RFC 3339 `time` was; `<unknown>` if it is no time.
pub(super) fn since(time: &str, now_seconds: i64) -> String {
    match seconds_of(time) {
        Some(then) => human_duration(now_seconds - then),
        None => "<unknown>".to_owned(),
    }
}

/// The seconds from 1970 to an RFC 3339 time; `None` if it is no time.
pub(super) fn seconds_of(time: &str) -> Option<i64> {
    time.parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_second)
}
