//! How long the server takes for the renewals of leases, from its metric
//! `apiserver_request_duration_seconds`.

use anyhow::{Context as _, Result, ensure};
use http::Request;
use pandaemon_client::rest::Rest;

/// The metric, with the suffix of its cumulative buckets.
const BUCKETS: &str = "apiserver_request_duration_seconds_bucket{";
/// The verbs of renewals, as methods or as verbs of the API, in any case.
const VERBS: [&str; 3] = ["patch", "put", "update"];

/// The number of renewals that took no longer than each bound, in seconds. Bounds grow.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Heartbeats(Vec<(f64, u64)>);

impl Heartbeats {
    /// What the server has counted so far.
    pub(super) async fn read(rest: &Rest) -> Result<Self> {
        let request = Request::get("/metrics").body(Vec::new())?;
        let text = rest.client().request_text(request).await;
        let text = text.context("read /metrics of the server")?;
        ensure!(
            text.contains(BUCKETS),
            "the server has no metric {BUCKETS}}}"
        );
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let mut buckets: Vec<(f64, u64)> = Vec::new();
        for line in text.lines() {
            let Some((bound, count)) = bucket(line) else {
                continue;
            };
            match buckets
                .iter_mut()
                .find(|(known, _)| known.total_cmp(&bound).is_eq())
            {
                Some((_, sum)) => *sum += count,
                None => buckets.push((bound, count)),
            }
        }
        buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        Self(buckets)
    }

    /// Those that were counted after an earlier reading.
    pub(super) fn since(&self, before: &Self) -> Self {
        let earlier = |bound: f64| {
            let same = before
                .0
                .iter()
                .find(|(known, _)| known.total_cmp(&bound).is_eq());
            same.map_or(0, |(_, count)| *count)
        };
        let buckets = self.0.iter();
        Self(
            buckets
                .map(|(bound, count)| (*bound, count.saturating_sub(earlier(*bound))))
                .collect(),
        )
    }

    pub(super) fn count(&self) -> u64 {
        self.0.last().map_or(0, |(_, count)| *count)
    }

    /// The bound, in milliseconds, of the first bucket that this share of the renewals is in: they
    /// took no longer.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let all = float(self.count());
        let first = self
            .0
            .iter()
            .find(|(_, count)| float(*count) >= share * all);
        first.map_or(f64::NAN, |(bound, _)| bound * 1000.0)
    }
}

fn float(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// The bound and the count of a line, if it is about renewals.
fn bucket(line: &str) -> Option<(f64, u64)> {
    let (labels, count) = line.strip_prefix(BUCKETS)?.rsplit_once("} ")?;
    let label = |name: &str| {
        let mut labels = labels.split(',');
        labels.find_map(|label| {
            let value = label.strip_prefix(name)?.strip_prefix("=\"")?;
            value.strip_suffix('"')
        })
    };
    let verb = label("verb")?.to_ascii_lowercase();
    if label("resource") != Some("leases") || !VERBS.contains(&verb.as_str()) {
        return None;
    }
    let bound = match label("le")? {
        "+Inf" => f64::INFINITY,
        bound => bound.parse().ok()?,
    };
    Some((bound, count.split_ascii_whitespace().next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewals_are_counted_by_their_bounds() {
        let line = |verb: &str, resource: &str, le: &str, count: u64| {
            format!(
                "apiserver_request_duration_seconds_bucket{{verb=\"{verb}\",group=\"g\",resource=\"{resource}\",le=\"{le}\"}} {count}\n"
            )
        };
        let text = |factor: u64| {
            [
                line("PATCH", "leases", "0.001", 90 * factor),
                line("PATCH", "leases", "0.1", 99 * factor),
                line("PATCH", "leases", "+Inf", 100 * factor),
                line("UPDATE", "leases", "+Inf", 0),
                line("LIST", "leases", "0.001", 7),
                line("PATCH", "pods", "0.001", 7),
            ]
            .concat()
        };
        let (before, after) = (Heartbeats::parse(&text(1)), Heartbeats::parse(&text(3)));
        let during = after.since(&before);
        assert_eq!(during.count(), 200);
        assert_eq!(
            [0.5, 0.99, 1.0].map(|share| during.quantile(share)),
            [1.0, 100.0, f64::INFINITY]
        );
        assert!(Heartbeats::default().quantile(0.5).is_nan());
    }
}
