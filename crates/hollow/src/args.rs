//! Options of `pandaemon hollow`.

use std::{collections::BTreeMap, num::NonZeroU32, str::FromStr, time::Duration};

use clap::Args;
use pandaemon_types::parse_duration_or_seconds;

/// The options of `pandaemon hollow`.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct HollowArgs {
    /// Number of nodes
    #[arg(long, value_name = "N", default_value = "1")]
    pub count: NonZeroU32,
    /// Labels, capacity, latencies and failures of the nodes
    #[command(flatten)]
    pub behaviour: Behaviour,
    /// Delete the nodes at the end
    #[arg(long)]
    pub cleanup: bool,
}

/// Labels, capacity, latencies and failures of hollow nodes.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Behaviour {
    /// Nodes are named PREFIX-0, PREFIX-1, and so on
    #[arg(long, value_name = "PREFIX", default_value = "hollow", value_parser = prefix)]
    pub name_prefix: String,
    /// Labels of all nodes, such as `zone=a,disk=ssd`
    #[arg(
        long,
        value_name = "LABELS",
        default_value = "",
        hide_default_value = true
    )]
    pub labels: Labels,
    /// Processors of each node
    #[arg(long, value_name = "QUANTITY", default_value = "32", value_parser = quantity)]
    pub cpu: String,
    /// Memory of each node
    #[arg(long, value_name = "QUANTITY", default_value = "256Gi", value_parser = quantity)]
    pub memory: String,
    /// Pods that each node takes
    #[arg(long, value_name = "N", default_value = "110")]
    pub pods: u32,
    /// Time from a pod's arrival on its node until it runs
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration_or_seconds)]
    pub start_latency: Duration,
    /// Upper limit of a further delay, evenly spread over the pods
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration_or_seconds)]
    pub start_jitter: Duration,
    /// Time from a pod's deletion until it has ended; never longer than its own grace period
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration_or_seconds)]
    pub stop_latency: Duration,
    /// Share of the pods, from 0 to 1, that never get ready: their containers crash
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    pub failure_rate: f64,
    /// How often each node renews its lease; 0 for never; without it 10s, for more than 5,000 nodes
    /// longer (500 renewals a second), but never more than 30s: after 50s a node counts as lost
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_or_seconds)]
    pub lease_interval: Option<Duration>,
    /// Renew leases and report pods as the nodes themselves, as kubelets do: the user of the
    /// kubeconfig must be allowed to impersonate them
    #[arg(long)]
    pub as_nodes: bool,
    /// Requests under way at the same time
    #[arg(long, value_name = "N", default_value = "64")]
    pub parallel: NonZeroU32,
}

/// A kubelet's interval between lease renewals.
const RENEWAL: Duration = Duration::from_secs(10);
/// The longest interval at which renewals arrive before the node counts as lost.
const RENEWAL_MAX: Duration = Duration::from_secs(30);
/// A node counts as lost when its lease is older (`--node-monitor-grace-period`).
pub(crate) const GRACE: Duration = Duration::from_secs(50);
/// Renewals a second above which the interval gets longer.
const RENEWALS_PER_SECOND: u32 = 500;

impl Behaviour {
    /// The interval between lease renewals with `count` nodes.
    pub(crate) fn renewal(&self, count: u32) -> Duration {
        self.lease_interval.unwrap_or_else(|| {
            let wanted = Duration::from_secs(1) * count / RENEWALS_PER_SECOND;
            wanted.clamp(RENEWAL, RENEWAL_MAX)
        })
    }
}

/// Labels, parsed from `key=value,key=value`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(pub BTreeMap<String, String>);

impl FromStr for Labels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pairs = text.split(',').filter(|pair| !pair.is_empty());
        let parse = |pair: &str| match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(format!("{pair:?} is not of the form key=value")),
        };
        pairs.map(parse).collect::<Result<_, _>>().map(Self)
    }
}

fn prefix(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if text.len() <= 200
        && text.chars().all(allowed)
        && ends(text.chars().next())
        && ends(text.chars().next_back())
    {
        Ok(text.to_owned())
    } else {
        Err("node names consist of lower case letters, digits, '-' and '.'".to_owned())
    }
}

fn quantity(text: &str) -> Result<String, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number = digits.parse().is_ok_and(|number: f64| number >= 0.0);
    let units = [
        "", "m", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi",
    ];
    let unit = text.strip_prefix(digits).unwrap_or_default();
    if number && units.contains(&unit) {
        Ok(text.to_owned())
    } else {
        Err("expected a quantity such as 500m, 4 or 16Gi".to_owned())
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_parsed() {
        let labels: Labels = "zone=a,disk=".parse().unwrap();
        let expected = [("disk", ""), ("zone", "a")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(labels.0.into_iter().collect::<Vec<_>>(), expected);
        assert_eq!("".parse(), Ok(Labels::default()));
        assert_eq!(
            "zone".parse::<Labels>().unwrap_err(),
            "\"zone\" is not of the form key=value"
        );
    }

    #[test]
    fn shares_and_prefixes_are_validated() {
        assert_eq!(share("0.25"), Ok(0.25));
        assert!(share("1.1").is_err() && share("NaN").is_err());
        assert!(prefix("edge").is_ok() && prefix("Edge").is_err() && prefix("-").is_err());
    }

    #[test]
    fn quantities_are_validated() {
        for good in ["4", "500m", "16Gi", "1.5"] {
            assert_eq!(quantity(good), Ok(good.to_owned()));
        }
        for bad in ["", "Gi", "4X", "-1", "4 Gi"] {
            quantity(bad).unwrap_err();
        }
    }

    #[test]
    fn the_renewal_interval_grows_with_the_number_of_nodes_up_to_30_s() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            behaviour: Behaviour,
        }
        let renewal = |words: &[&str], count| {
            let line = <Line as clap::Parser>::parse_from(["x"].iter().chain(words));
            line.behaviour.renewal(count).as_secs()
        };
        for (count, seconds) in [
            (1, 10),
            (5_000, 10),
            (10_000, 20),
            (15_000, 30),
            (100_000, 30),
        ] {
            assert_eq!(renewal(&[], count), seconds, "{count}");
        }
        assert_eq!(renewal(&["--lease-interval", "200s"], 1), 200);
        assert_eq!(renewal(&["--lease-interval", "0"], 1), 0);
    }
}
