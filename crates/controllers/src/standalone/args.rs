//! The flags of `pandaemon controller`: names and checks of kube-controller-manager, where it has
//! them.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use clap::{ArgAction, Args};
use pandaemon_types::parse_duration;

use super::settings::Settings;
use crate::{
    flow_control::concurrency::Bounds,
    leader_election::config::{LeaderElectionConfig, Timing},
};

/// Flags of the DaemonSet controller.
#[derive(Debug, Clone, Args)]
pub struct ControllerArgs {
    /// The cluster; without it, the one that this pod runs in
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig file to use instead of its current one
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    pub context: Option<String>,
    /// Act only while holding the lease, so that several replicas can run
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        default_missing_value = "true"
    )]
    #[arg(num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    pub leader_elect: bool,
    /// How long other candidates wait after the last renewal that they saw
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = parse_duration)]
    pub leader_elect_lease_duration: Duration,
    /// How long the leader tries to renew before it stops acting; less than the lease duration
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub leader_elect_renew_deadline: Duration,
    /// The time between attempts to acquire or renew the lease
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = parse_duration)]
    pub leader_elect_retry_period: Duration,
    /// The kind of the lock object: only leases
    #[arg(long, value_name = "KIND", default_value = "leases", value_parser = ["leases"])]
    pub leader_elect_resource_lock: String,
    /// The lease's name
    #[arg(
        long,
        value_name = "NAME",
        default_value = "pandaemon-daemonset-controller"
    )]
    pub leader_elect_resource_name: String,
    /// The lease's namespace
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system")]
    pub leader_elect_resource_namespace: String,
    /// At most this many requests per second; 0: the limit is found by measuring
    #[arg(long, value_name = "QPS", default_value_t = 0.0)]
    pub kube_api_qps: f64,
    /// How many requests may exceed --kube-api-qps at once; 0: one and a half times as many
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub kube_api_burst: u32,
    /// Upper bound of requests under way at once
    #[arg(long, value_name = "N", default_value_t = 256)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub max_requests_inflight: u16,
    /// Accepted without effect: all DaemonSets are synced at the same time
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub concurrent_daemonset_syncs: u32,
    /// Where /metrics, /healthz, /livez and /readyz answer, over plain HTTP; 0: nowhere
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:10267")]
    pub metrics_bind_address: String,
    /// Read initial lists as streams, which spares the API server memory (Kubernetes 1.32 and
    /// later); in pages otherwise
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        default_missing_value = "true"
    )]
    #[arg(num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    pub streaming_lists: bool,
}

impl ControllerArgs {
    /// The settings that the flags describe.
    ///
    /// # Errors
    /// When flags contradict each other.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let timing = Timing {
            lease_duration: self.leader_elect_lease_duration,
            renew_deadline: self.leader_elect_renew_deadline,
            retry_period: self.leader_elect_retry_period,
        };
        let leader_election = LeaderElectionConfig {
            namespace: self.leader_elect_resource_namespace.clone(),
            name: self.leader_elect_resource_name.clone(),
            identity: identity(),
            timing,
        };
        if self.leader_elect {
            timing.check()?;
        }
        if self.kube_api_qps < 0.0 || !self.kube_api_qps.is_finite() {
            bail!("--kube-api-qps must not be negative");
        }
        let max = usize::from(self.max_requests_inflight);
        let standard = Bounds::default();
        Ok(Settings {
            leader_election: self.leader_elect.then_some(leader_election),
            bounds: Bounds {
                min: standard.min.min(max),
                start: standard.start.min(max),
                max,
            },
            cap: self.cap(),
            streamed: self.streaming_lists,
        })
    }

    fn cap(&self) -> Option<(f64, u32)> {
        let qps = self.kube_api_qps;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate that was typed in, checked to be positive"
        )]
        let usual = (qps * 1.5).ceil() as u32;
        let burst = match self.kube_api_burst {
            0 => usual,
            burst => burst,
        };
        (qps > 0.0).then_some((qps, burst))
    }

    /// The address for metrics and health checks; `None`: do not listen.
    ///
    /// # Errors
    /// When the flag is not an address.
    pub fn metrics_address(&self) -> anyhow::Result<Option<SocketAddr>> {
        let text = match self.metrics_bind_address.as_str() {
            "0" | "" => return Ok(None),
            // As in Go, no host means every address.
            text if text.starts_with(':') => format!("0.0.0.0{text}"),
            text => text.to_owned(),
        };
        let address = text
            .parse()
            .with_context(|| format!("--metrics-bind-address {text}: not HOST:PORT"))?;
        Ok(Some(address))
    }
}

/// A unique identity that begins with the host name (in a cluster, the pod's name), as client-go's.
fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}_{}", host.trim(), uuid::Uuid::new_v4())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: ControllerArgs,
    }

    fn parse(line: &str) -> Result<ControllerArgs, clap::Error> {
        let words = std::iter::once("controller").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.args)
    }

    #[test]
    fn the_flags_of_kube_controller_manager_are_understood() {
        let args = parse(
            "--leader-elect=true --leader-elect-lease-duration=1m --leader-elect-renew-deadline 40s \
             --leader-elect-retry-period=5s --leader-elect-resource-lock=leases --kube-api-qps=50 \
             --leader-elect-resource-name=a --leader-elect-resource-namespace=b --concurrent-daemonset-syncs=5",
        );
        let settings = args.unwrap().settings().unwrap();
        let election = settings.leader_election.unwrap();
        assert_eq!((&*election.namespace, &*election.name), ("b", "a"));
        assert_eq!(election.timing.renew_deadline, Duration::from_secs(40));
        assert_eq!(settings.cap, Some((50.0, 75)));
        let alone = parse("--leader-elect=false --kube-api-qps 2.5 --kube-api-burst 9").unwrap();
        let settings = alone.settings().unwrap();
        assert!(settings.leader_election.is_none());
        assert_eq!(settings.cap, Some((2.5, 9)));
        let settings = parse("--leader-elect --max-requests-inflight 8")
            .unwrap()
            .settings()
            .unwrap();
        assert!(settings.leader_election.is_some() && settings.cap.is_none());
        assert_eq!((settings.bounds.start, settings.bounds.max), (8, 8));
    }

    #[test]
    fn flags_that_contradict_each_other_are_named() {
        let settings = |line| parse(line).unwrap().settings().unwrap_err().to_string();
        assert_eq!(
            settings("--leader-elect-lease-duration=5s"),
            "--leader-elect-lease-duration must be greater than --leader-elect-renew-deadline"
        );
        assert_eq!(
            settings("--kube-api-qps=-1"),
            "--kube-api-qps must not be negative"
        );
        assert!(parse("--leader-elect-resource-lock=endpoints").is_err());
        assert!(parse("--leader-elect=maybe").is_err());
    }

    #[test]
    fn the_metrics_address_may_be_every_address_or_none() {
        let address = |text: &str| {
            let args = parse(&format!("--metrics-bind-address={text}")).unwrap();
            args.metrics_address()
                .ok()
                .flatten()
                .map(|address| address.to_string())
        };
        assert_eq!(address(":8080").as_deref(), Some("0.0.0.0:8080"));
        assert_eq!(address("[::1]:80").as_deref(), Some("[::1]:80"));
        assert_eq!(address("0"), None);
        assert!(parse("").unwrap().metrics_address().unwrap().is_some());
    }
}
