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
use pandaemon_runtime::{
    Shutdown,
    files::{private_dir, replace_private},
};
use pandaemon_server::Lifetimes;
use pandaemon_types::Sensitive;

use super::{
    control_plane::{ADMIN_KUBECONFIG, ControlPlane, ControlPlaneConfig},
    store::{OpenStore, open_store},
};
use crate::{
    args::{ApiServerOptions, UpArgs},
    progress::{Step, print_result, print_status},
};

/// Runs the cluster until a signal stops it, then removes the nodes, the kubeconfig and the PID
/// file.
pub(crate) async fn run(mut args: UpArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let options = args.api_server.options(&args.paths.data_dir)?;
    pandaemon_fleet::machine::check()?;
    private_dir(&args.paths.data_dir).with_context(|| {
        format!(
            "create the data directory {}",
            args.paths.data_dir.display()
        )
    })?;
    args.paths.data_dir = args.paths.data_dir.canonicalize()?;
    let _stale = fs::remove_file(&args.paths.write_kubeconfig);

    // The lock of the store comes first: a second `up` must not touch the nodes of this one.
    let step = Step::start(format!(
        "Open the store in {}",
        args.paths.data_dir.display()
    ));
    let store = open_store(&args.paths.data_dir, &args.api_server.encryption, &step).await?;
    step.finish();
    let pid_file = args.paths.data_dir.join("up.pid");
    replace_private(&pid_file, std::process::id().to_string().as_bytes())?;

    let step = Step::start(format!("Create {}", count(args.nodes)));
    let config = FleetConfig {
        data_dir: args.paths.data_dir.clone(),
        nodes: args.nodes,
    };
    let mut fleet = Fleet::create(&config).await?;
    step.finish();
    let result = with_nodes(&args, options, store, &mut fleet, &shutdown).await;
    let step = Step::start("Stop the nodes and remove what was created");
    let left = fleet.remove().await;
    step.finish();
    let own_kubeconfig = args.paths.data_dir.join(ADMIN_KUBECONFIG);
    for file in [&pid_file, &args.paths.write_kubeconfig, &own_kubeconfig] {
        let _absent = fs::remove_file(file);
    }
    result?;
    anyhow::ensure!(left.is_empty(), "could not remove {}", left.join(", "));
    Ok(())
}

fn count(nodes: usize) -> String {
    if nodes == 1 {
        "1 node".to_owned()
    } else {
        format!("{nodes} nodes")
    }
}

/// Runs the control plane and the agents until a signal, then stops the control plane. The agents
/// stop after it, because they need no server for that.
async fn with_nodes(
    args: &UpArgs,
    options: ApiServerOptions,
    store: OpenStore,
    fleet: &mut Fleet,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let step = Step::start("Start the control plane");
    let config = ControlPlaneConfig {
        data_dir: args.paths.data_dir.clone(),
        listen: args.listen,
        advertise_address: None,
        names: vec![fleet.plan().gateway().to_string()],
        controllers: EnabledControllers::default(),
        options,
        certificates: Lifetimes::default(),
    };
    let plane = ControlPlane::start(config, store).await?;
    step.finish();
    let result = serve(args, &plane, fleet, shutdown).await;
    let step = Step::start("Stop the control plane");
    let stopped = plane.stop().await;
    step.finish();
    result.and(stopped)
}

async fn serve(
    args: &UpArgs,
    plane: &ControlPlane,
    fleet: &mut Fleet,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let gateway = plane
        .api
        .also_listen((fleet.plan().gateway(), 0).into())
        .await?;
    plane.api.advertise(gateway);
    let images = args.images.as_deref().map(Path::canonicalize).transpose();
    let commands = Commands {
        server: format!("https://{gateway}"),
        token: plane.api.agent_token().into(),
        images: images.context("--images: cannot read the directory")?,
        folders: fleet
            .nodes()
            .iter()
            .map(|node| fleet.node_dir(node))
            .collect(),
    };
    fleet.start_agents(|node| commands.of(node));
    let url = plane.write_kubeconfig(&args.paths)?;
    print_status(&format!("  ok  The Kubernetes API answers at {url}"));
    if wait_for_nodes(plane, fleet.nodes(), shutdown).await? {
        print_result(&format!(
            "export KUBECONFIG={}",
            args.paths.write_kubeconfig.display()
        ));
        print_status("      then: kubectl get nodes     (Ctrl-C here ends the cluster)");
        plane.run_until(&args.paths, shutdown).await?;
    }
    Ok(())
}

/// The values that all agents are started with, and the directory of each node.
#[derive(Debug)]
struct Commands {
    server: String,
    token: Sensitive,
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

/// Waits until all nodes are Ready. False if a signal came first.
async fn wait_for_nodes(
    plane: &ControlPlane,
    nodes: &[NodePlan],
    shutdown: &Shutdown,
) -> anyhow::Result<bool> {
    let step = Step::start("Wait for the nodes to be Ready");
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
            step.progress(&format!("{count} of {}", nodes.len()));
            if count == nodes.len() {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    match shutdown.guard(wait).await {
        Some(result) => result.map(|()| {
            step.finish();
            true
        }),
        None => Ok(false),
    }
}
