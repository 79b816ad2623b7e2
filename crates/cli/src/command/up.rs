//! `pandaemon up`: a control plane and several nodes on this machine.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use pandaemon_controllers::EnabledControllers;
use pandaemon_fleet::{
    Fleet, FleetConfig,
    agent::{AgentCommand, own_program},
    plan::NodePlan,
};
use pandaemon_runtime::Shutdown;
use pandaemon_store::Embedded;

use super::plane::{Plane, PlaneConfig, local_url, open_store, write_kubeconfig};
use crate::{
    args::UpArgs,
    steps::{Step, answer, say},
};

/// Runs everything until it is stopped, then removes what it made.
pub(crate) async fn run(mut args: UpArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    pandaemon_fleet::machine::check()?;
    fs::create_dir_all(&args.place.data_dir)
        .with_context(|| format!("make the data directory {}", args.place.data_dir.display()))?;
    args.place.data_dir = args.place.data_dir.canonicalize()?;
    let _stale = fs::remove_file(&args.place.write_kubeconfig);

    // The store's lock comes first: it keeps a second `up` away from the nodes of this one.
    let store = open_store(&args.place.data_dir)?;
    let pid_file = args.place.data_dir.join("up.pid");
    fs::write(&pid_file, std::process::id().to_string())?;

    let step = Step::begin(format!("Make {}", count(args.nodes)));
    let config = FleetConfig {
        data_dir: args.place.data_dir.clone(),
        nodes: args.nodes,
    };
    let mut fleet = Fleet::create(&config).await?;
    step.done();
    let result = with_nodes(&args, store, &mut fleet, &shutdown).await;
    let step = Step::begin("Stop the nodes and remove what was made");
    let left = fleet.remove().await;
    step.done();
    for file in [&pid_file, &args.place.write_kubeconfig] {
        let _absent = fs::remove_file(file);
    }
    result?;
    anyhow::ensure!(left.is_empty(), "could not be removed: {}", left.join(", "));
    Ok(())
}

fn count(nodes: usize) -> String {
    if nodes == 1 {
        "1 node".to_owned()
    } else {
        format!("{nodes} nodes")
    }
}

/// Starts the control plane, serves, and stops it. The agents stop after it: they need no server to end.
async fn with_nodes(
    args: &UpArgs,
    store: Embedded,
    fleet: &mut Fleet,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let step = Step::begin("Start the control plane");
    let config = PlaneConfig {
        data_dir: args.place.data_dir.clone(),
        listen: args.listen,
        names: vec![fleet.plan().gateway().to_string()],
        controllers: EnabledControllers::default(),
    };
    let plane = Plane::start(config, store).await?;
    step.done();
    let result = serve(args, &plane, fleet, shutdown).await;
    let step = Step::begin("Stop the control plane");
    let stopped = plane.stop().await;
    step.done();
    result.and(stopped)
}

async fn serve(
    args: &UpArgs,
    plane: &Plane,
    fleet: &mut Fleet,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let gateway = plane
        .api
        .also_listen((fleet.plan().gateway(), 0).into())
        .await?;
    let images = args.images.as_deref().map(Path::canonicalize).transpose();
    let commands = Commands {
        server: format!("https://{gateway}"),
        token: plane.api.agent_token(),
        images: images.context("--images: the folder cannot be read")?,
        folders: fleet
            .nodes()
            .iter()
            .map(|node| fleet.node_dir(node))
            .collect(),
    };
    fleet.start_agents(|node| commands.of(node));
    let url = local_url(plane.api.address());
    write_kubeconfig(&args.place.write_kubeconfig, &plane.api.kubeconfig(&url))?;
    say(&format!("  ok  The Kubernetes API answers at {url}"));
    if wait_for_nodes(plane, fleet.nodes(), shutdown).await? {
        answer(&format!(
            "export KUBECONFIG={}",
            args.place.write_kubeconfig.display()
        ));
        say("      then: kubectl get nodes     (Ctrl-C here ends the cluster)");
        shutdown.triggered().await;
    }
    Ok(())
}

/// How the agents of the nodes are started.
#[derive(Debug)]
struct Commands {
    server: String,
    token: String,
    images: Option<PathBuf>,
    folders: Vec<PathBuf>,
}

impl Commands {
    fn of(&self, node: &NodePlan) -> AgentCommand {
        let folder = self
            .folders
            .iter()
            .find(|folder| folder.file_name().is_some_and(|name| *name == *node.name))
            .cloned()
            .unwrap_or_default();
        let mut arguments: Vec<OsString> = vec![
            "--server".into(),
            self.server.clone().into(),
            "--node-name".into(),
            node.name.clone().into(),
            "--data-dir".into(),
            folder.clone().into(),
            "--node-ip".into(),
            node.ip.to_string().into(),
            "--pod-cidr".into(),
            node.pod_cidr.clone().into(),
            "--cgroup-root".into(),
            node.cgroup_root.clone().into(),
            "--stop-containers-on-exit".into(),
            "--log".into(),
            "info,kube_client=off".into(),
        ];
        if let Some(images) = &self.images {
            arguments.extend(["--images".into(), images.clone().into()]);
        }
        AgentCommand {
            program: own_program(),
            arguments,
            token: self.token.clone(),
            log: folder.join("agent.log"),
            pid_file: folder.join("agent.pid"),
        }
    }
}

/// Waits until all nodes are Ready; false when a stop came first.
async fn wait_for_nodes(
    plane: &Plane,
    nodes: &[NodePlan],
    shutdown: &Shutdown,
) -> anyhow::Result<bool> {
    let step = Step::begin("Wait for the nodes to be Ready");
    let client = plane.api.client();
    let wait = async {
        loop {
            let ready = pandaemon_controllers::ready_nodes(&client)
                .await
                .context("list nodes")?;
            let count = nodes
                .iter()
                .filter(|node| ready.contains(&node.name))
                .count();
            step.at(&format!("{count} of {}", nodes.len()));
            if count == nodes.len() {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    match shutdown.guard(wait).await {
        Some(result) => result.map(|()| {
            step.done();
            true
        }),
        None => Ok(false),
    }
}
