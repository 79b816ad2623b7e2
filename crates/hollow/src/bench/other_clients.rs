//! Other clients beside the rolling updates of a run: some list pods and some create objects,
//! without pause, each as a service account of its own without special rights. They run in a
//! process of their own, which may use half of the processors. Meanwhile the server's own metrics
//! tell how long heartbeats take.

mod cgroup;
mod heartbeats;
mod process;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::Method;
use jiff::Timestamp;
use pandaemon_client::rest::JSON;
use pandaemon_types::parse_duration_or_seconds;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    time::{Instant, sleep, sleep_until},
};

use self::{
    cgroup::HalfOfProcessors,
    heartbeats::Heartbeats,
    process::{Counts, Spec},
};
use super::{
    cluster::{Cluster, LABEL, unscheduled_pod},
    report::{OtherClients, ServerTimes},
};

pub use self::process::run as run_other_clients;

/// Requests under way while a run prepares.
const PARALLEL: usize = 32;

/// The other clients of a run.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct OtherClientsArgs {
    /// Other clients that list pods without pause during the rolling update and the roll back
    #[arg(long, value_name = "N", default_value = "0")]
    pub listers: u32,
    /// Other clients that create objects without pause meanwhile
    #[arg(long, value_name = "N", default_value = "0")]
    pub creators: u32,
    /// How many pods each list has
    #[arg(long, value_name = "N", default_value = "5000")]
    pub listed_pods: u32,
    /// How long these clients run at least
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration_or_seconds)]
    pub clients_span: Duration,
    /// The kubeconfig of the cluster, for their process.
    #[arg(skip)]
    pub kubeconfig: PathBuf,
}

impl OtherClientsArgs {
    /// Whether there are any.
    pub(super) const fn is_wanted(&self) -> bool {
        self.listers + self.creators > 0
    }
}

/// Running clients. Their process ends when this value is dropped.
pub(super) struct Running {
    args: OtherClientsArgs,
    cluster: Cluster,
    child: Child,
    limit: Option<HalfOfProcessors>,
    began: Instant,
    began_at: Timestamp,
    before: Heartbeats,
}

impl Running {
    /// Creates what the clients need, in a namespace of its own, and starts them.
    pub(super) async fn start(cluster: &Cluster, args: OtherClientsArgs) -> Result<Self> {
        let cluster = Cluster {
            rest: cluster.rest.clone(),
            namespace: namespace(cluster),
        };
        cluster.create_namespace().await?;
        create_pods(&cluster, args.listed_pods).await?;
        let listers = accounts(&cluster, "lister", args.listers, &["list"], "pods").await?;
        let creators = accounts(
            &cluster,
            "creator",
            args.creators,
            &["create"],
            "configmaps",
        );
        let spec = Spec {
            namespace: cluster.namespace.clone(),
            listers,
            creators: creators.await?,
        };
        let limit = match HalfOfProcessors::create() {
            Ok(limit) => Some(limit),
            Err(error) => {
                crate::say(&format!(
                    "  --  the other clients may use all processors: {error:#}"
                ));
                None
            }
        };
        let child = start_process(&args.kubeconfig, &spec, limit.as_ref()).await?;
        // The first lists of all of them are over.
        sleep(Duration::from_secs(2)).await;
        Ok(Self {
            before: Heartbeats::read(&cluster.rest).await?,
            args,
            cluster,
            child,
            limit,
            began: Instant::now(),
            began_at: Timestamp::now(),
        })
    }

    /// Waits until the clients have run for as long as wanted, ends them, and says how the server
    /// and the nodes did meanwhile.
    pub(super) async fn end(mut self, nodes_of_run: &str) -> Result<OtherClients> {
        sleep_until(self.began + self.args.clients_span).await;
        let heartbeats = Heartbeats::read(&self.cluster.rest).await?;
        let lost_nodes = self.nodes_that_changed(nodes_of_run).await?;
        let seconds = self.began.elapsed().as_secs_f64();
        // It ends when its input does.
        drop(self.child.stdin.take());
        let mut text = String::new();
        let output = self.child.stdout.as_mut().context("it has no output")?;
        output.read_to_string(&mut text).await?;
        self.child.wait().await?;
        let counts: Counts = serde_json::from_str(&text).context("read what the clients did")?;
        let rate = |count: u64| u32::try_from(count).map_or(f64::NAN, f64::from) / counts.seconds;
        let during = heartbeats.since(&self.before);
        Ok(OtherClients {
            listers: self.args.listers,
            creators: self.args.creators,
            listed_pods: self.args.listed_pods,
            half_of_processors: self.limit.is_some(),
            seconds,
            lists_per_second: rate(counts.lists),
            creations_per_second: rate(counts.creations),
            refused_per_second: rate(counts.refused),
            errors: counts.errors,
            first_error: counts.first_error,
            heartbeats: ServerTimes {
                count: during.count(),
                p50_milliseconds: during.quantile(0.5),
                p99_milliseconds: during.quantile(0.99),
                max_milliseconds: during.quantile(1.0),
            },
            lost_nodes,
        })
    }

    /// How many nodes of the run are not ready, or became ready after the clients began.
    async fn nodes_that_changed(&self, run: &str) -> Result<usize> {
        #[derive(Deserialize)]
        struct List {
            items: Vec<Node>,
        }
        #[derive(Deserialize)]
        struct Node {
            status: Status,
        }
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Status {
            conditions: Vec<Condition>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Condition {
            r#type: String,
            status: String,
            last_transition_time: Option<Timestamp>,
        }
        let path = format!("/api/v1/nodes?labelSelector={LABEL}%3D{run}");
        let list: Option<List> = self.cluster.rest.get(&path).await?;
        let was_ready = |node: &Node| {
            let mut conditions = node.status.conditions.iter();
            conditions.any(|condition| {
                condition.r#type == "Ready"
                    && condition.status == "True"
                    && condition
                        .last_transition_time
                        .is_some_and(|at| at <= self.began_at)
            })
        };
        let nodes = list.context("the server has no nodes")?.items;
        Ok(nodes.iter().filter(|node| !was_ready(node)).count())
    }
}

/// The namespace of what the other clients of a run list and create.
fn namespace(cluster: &Cluster) -> String {
    format!("{}-clients", cluster.namespace)
}

/// Deletes what [`Running::start`] has created.
pub(super) async fn clean(cluster: &Cluster) -> Result<()> {
    let cluster = Cluster {
        rest: cluster.rest.clone(),
        namespace: namespace(cluster),
    };
    for collection in ["pods", "configmaps"] {
        let path = cluster.path("/api/v1", collection);
        cluster
            .delete(&path, &json!({"gracePeriodSeconds": 0}))
            .await?;
    }
    cluster.delete_namespace().await
}

async fn create_pods(cluster: &Cluster, count: u32) -> Result<()> {
    let (path, body) = (
        cluster.path("/api/v1", "pods"),
        serde_json::to_vec(&unscheduled_pod())?,
    );
    let created = stream::iter(0..count).map(|_| {
        cluster
            .rest
            .send_only(Method::POST, &path, JSON, body.clone())
    });
    let created: Result<(), _> = created.buffer_unordered(PARALLEL).try_collect().await;
    created.context("create the pods that are listed")
}

/// Creates service accounts with a right each; their tokens.
async fn accounts(
    cluster: &Cluster,
    name: &str,
    count: u32,
    verbs: &[&str],
    resource: &str,
) -> Result<Vec<String>> {
    let rbac = |kind| cluster.path("/apis/rbac.authorization.k8s.io/v1", kind);
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name},
        "rules": [{"apiGroups": [""], "resources": [resource], "verbs": verbs}],
    });
    cluster.create(&rbac("roles"), &role).await?;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group",
            "name": format!("system:serviceaccounts:{}", cluster.namespace)}],
    });
    cluster.create(&rbac("rolebindings"), &binding).await?;
    let tokens = (0..count).map(|number| token(cluster, format!("{name}-{number}")));
    stream::iter(tokens).buffered(PARALLEL).try_collect().await
}

/// Creates a service account; a token of it.
async fn token(cluster: &Cluster, name: String) -> Result<String> {
    #[derive(Deserialize)]
    struct TokenRequest {
        status: Status,
    }
    #[derive(Deserialize)]
    struct Status {
        token: String,
    }
    let collection = cluster.path("/api/v1", "serviceaccounts");
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
    cluster
        .rest
        .create::<IgnoredAny>(&collection, &account)
        .await?;
    let path = format!("{collection}/{name}/token");
    let request =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let made: TokenRequest = cluster.rest.create(&path, &request).await?;
    Ok(made.status.token)
}

/// This program again, as the clients only.
async fn start_process(
    kubeconfig: &Path,
    spec: &Spec,
    limit: Option<&HalfOfProcessors>,
) -> Result<Child> {
    let program = std::env::current_exe().context("find this program")?;
    let mut child = Command::new(program)
        .args(["bench", "--kubeconfig"])
        .arg(kubeconfig)
        .arg("other-clients")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("start the process of the other clients")?;
    if let (Some(limit), Some(pid)) = (limit, child.id()) {
        limit.add(pid)?;
    }
    let mut line = serde_json::to_vec(spec)?;
    line.push(b'\n');
    let input = child.stdin.as_mut().context("it has no input")?;
    input.write_all(&line).await?;
    input.flush().await?;
    Ok(child)
}
