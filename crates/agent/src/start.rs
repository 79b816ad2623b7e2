//! Starting an agent, and stopping it.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context as _, bail};
use pandaemon_cri::{CriClient, Runtime, TaskService};
use pandaemon_runtime::Shutdown;
use tokio::net::TcpListener;

use crate::{
    api::{events::Events, identity::Identity, join, node, sources::Sources},
    config::{Config, InUse, Lacking, Paths},
    context::Context,
    files,
    host::{Machine, cgroups::Tree, cni, containerd::Child, mounts},
    images::{Images, import::Importer},
    logs,
    manager::Manager,
    serve,
};

/// Runs an agent until it is told to stop. Containers go on running, unless the configuration says
/// that they end with it.
///
/// # Errors
/// When the machine lacks something, the token is wrong, or the node's name is taken.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    check(&config)?;
    let paths = Paths::new(&config);
    files::private_dir(&paths.identity()).context("make the data directory")?;
    let _lock = lock(&config)?;
    let machine = Machine::detect(&config.data_dir);
    machine.warn();
    let address = config
        .node_ip
        .map_or_else(|| own_address(&config.server), Ok)?;
    let pod_cidr = config
        .pod_cidr
        .clone()
        .unwrap_or_else(|| Paths::default_pod_cidr(&config.node_name));
    let runtime = start_runtime(&config, &paths, &machine, &pod_cidr, &shutdown);
    let identity = Identity::new(paths.identity());
    // The runtime starts while the server is asked; neither needs the other.
    let joined = join::join(&config, &identity, address, &shutdown);
    let (started, joined) = tokio::join!(runtime, joined);
    let started = started?;
    if let Err(error) = joined {
        end_idle_runtime(&started, &paths).await;
        // Asked to stop before it had joined: that is no failure.
        return if shutdown.is_triggered() {
            Ok(())
        } else {
            Err(error)
        };
    }
    let client = join::client(&config, &identity)?;
    let events = Events::start(client.clone(), config.node_name.clone(), shutdown.clone());
    let listener = listen(&config).await?;
    let port = listener.local_addr()?.port();
    let context = Arc::new(Context {
        cgroups: Tree::new(machine.cgroups, &config.cgroup_root),
        sources: Sources::new(client.clone(), paths.known_objects()),
        images: Images::new(Arc::clone(&started.runtime), started.imported),
        runtime: started.runtime,
        tasks: started.tasks,
        machine,
        address,
        client,
        events,
        paths,
        config,
    });
    let surface = serve::Surface::new(&identity)?;
    serve_all(
        &context,
        listener,
        surface,
        pod_cidr.clone(),
        port,
        &shutdown,
    );
    shutdown.triggered().await;
    if context.config.stop_containers_on_exit {
        stop_all(&context, started.child.as_ref(), &pod_cidr).await;
    }
    Ok(())
}

fn serve_all(
    context: &Arc<Context>,
    listener: TcpListener,
    surface: serve::Surface,
    pod_cidr: String,
    port: u16,
    shutdown: &Shutdown,
) {
    let pods = Manager::start(Arc::clone(context), shutdown.clone());
    let tasks: [(&'static str, futures::future::BoxFuture<'static, ()>); 4] = [
        (
            "serve",
            Box::pin(surface.run(Arc::clone(context), pods, listener)),
        ),
        ("lease", Box::pin(node::renew_lease(Arc::clone(context)))),
        ("rotate", Box::pin(logs::rotate::run(Arc::clone(context)))),
        ("node", {
            let context = Arc::clone(context);
            Box::pin(async move {
                node::relabel(&context).await;
                node::keep(context, pod_cidr, port).await;
            })
        }),
    ];
    for (name, task) in tasks {
        let stop = shutdown.clone();
        pandaemon_runtime::spawn(name, async move { stop.guard(task).await });
    }
}

fn check(config: &Config) -> anyhow::Result<()> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let name = &config.node_name;
    if name.is_empty() || !name.chars().all(good) || name.len() > 253 {
        bail!("the node name {name:?} must consist of lower case letters, digits, '-' and '.'");
    }
    if let Some(wrong) = config
        .taints
        .iter()
        .find(|text| node::taint(text).is_none())
    {
        bail!("the taint {wrong:?} must have the form key=value:Effect or key:Effect");
    }
    if !nix::unistd::geteuid().is_root() {
        let text = "the agent must run as root: it mounts, and makes namespaces and control groups";
        return Err(Lacking(text.to_owned()).into());
    }
    if config.cri_socket.is_none() {
        // Before the server is asked, which may take long or forever.
        Child::programs()?;
    }
    Ok(())
}

/// Two agents on one data directory would stop each other's pods.
fn lock(config: &Config) -> anyhow::Result<nix::fcntl::Flock<fs::File>> {
    let path = config.data_dir.join("agent/lock");
    let file = fs::File::create(&path).with_context(|| format!("make {}", path.display()))?;
    let lock = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock);
    lock.map_err(|_| {
        InUse(format!(
            "another agent uses the data directory {}",
            config.data_dir.display()
        ))
        .into()
    })
}

struct Started {
    runtime: Arc<dyn Runtime>,
    tasks: Option<TaskService>,
    child: Option<Child>,
    imported: BTreeSet<String>,
}

async fn start_runtime(
    config: &Config,
    paths: &Paths,
    machine: &Machine,
    pod_cidr: &str,
    shutdown: &Shutdown,
) -> anyhow::Result<Started> {
    let child = match &config.cri_socket {
        Some(_) => None,
        None => Some(Child::prepare(paths, machine, pod_cidr)?),
    };
    let socket: PathBuf = match (&config.cri_socket, &child) {
        (Some(socket), _) => socket.clone(),
        (None, Some(child)) => {
            child.keep(shutdown).await?;
            if machine.iptables {
                cni::masquerade(paths, pod_cidr).await;
            }
            child.socket.clone()
        }
        (None, None) => bail!("no container runtime"),
    };
    let runtime = CriClient::new(&socket)?;
    let version = runtime
        .version()
        .await
        .with_context(|| format!("reach the container runtime at {}", socket.display()))?;
    tracing::info!(
        name = version.runtime_name,
        version = version.runtime_version,
        "runtime"
    );
    let is_containerd = version.runtime_name == "containerd";
    let mut imported = remembered(paths);
    if child.is_some() || (config.images_dir.is_some() && is_containerd) {
        let importer = Importer::new(&socket, machine.overlay)?;
        if child.is_some() {
            importer.pause(&runtime, paths).await?;
        }
        if let Some(dir) = &config.images_dir {
            imported.extend(importer.directory(dir, &runtime).await?);
        }
        let names = imported
            .iter()
            .map(|name| format!("{name}\n"))
            .collect::<String>();
        files::replace(&paths.imported(), names.as_bytes(), 0o600)?;
    }
    let tasks = is_containerd
        .then(|| TaskService::new(&socket))
        .transpose()?;
    Ok(Started {
        runtime: Arc::new(runtime),
        tasks,
        child,
        imported,
    })
}

fn remembered(paths: &Paths) -> BTreeSet<String> {
    let text = fs::read_to_string(paths.imported()).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The address from which this machine reaches the server. Nothing is sent.
fn own_address(server: &str) -> anyhow::Result<IpAddr> {
    let uri: http::Uri = server
        .parse()
        .with_context(|| format!("{server:?} is no address"))?;
    let host = uri.host().context("the server's address names no host")?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket
        .connect((host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(443)))
        .with_context(|| format!("find a way to {host}"))?;
    Ok(socket.local_addr()?.ip())
}

async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    let address = (Ipv4Addr::UNSPECIFIED, config.kubelet_port);
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listen at port {} for the server", config.kubelet_port))
}

/// Stops every pod, the runtime, and removes what was made on the machine for them.
/// A node that may not join leaves no containerd behind, unless that one runs pods of an earlier time.
async fn end_idle_runtime(started: &Started, paths: &Paths) {
    let sandboxes = started.runtime.list_sandboxes(Default::default()).await;
    if let (Some(child), Ok([])) = (&started.child, sandboxes.as_deref()) {
        child.stop().await;
        mounts::unmount_below(&paths.containerd());
    }
}

async fn stop_all(context: &Context, child: Option<&Child>, pod_cidr: &str) {
    let sandboxes = context
        .runtime
        .list_sandboxes(Default::default())
        .await
        .unwrap_or_default();
    let stops = sandboxes.iter().map(|sandbox| async {
        let stopped = context.runtime.stop_sandbox(&sandbox.id).await;
        let removed = context.runtime.remove_sandbox(&sandbox.id).await;
        if let Err(error) = stopped.and(removed) {
            tracing::warn!(%error, sandbox = sandbox.id, "remove a sandbox");
        }
    });
    futures::future::join_all(stops).await;
    mounts::unmount_below(&context.paths.pods());
    if let Some(child) = child {
        child.stop().await;
        mounts::unmount_below(&context.paths.containerd());
        if context.machine.iptables {
            cni::unmasquerade(&context.paths, pod_cidr).await;
        }
        let bridge = cni::bridge_name(&context.paths);
        let removed = tokio::process::Command::new("ip")
            .args(["link", "delete", &bridge])
            .output()
            .await;
        tracing::debug!(?removed, "remove the bridge");
    }
    context.cgroups.remove_all();
}
