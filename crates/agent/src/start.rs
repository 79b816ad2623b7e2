//! Starts an agent and stops it.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use pandaemon_client::events::EventRecorder;
use pandaemon_cri::{CriClient, Runtime, TaskService};
use pandaemon_runtime::{Shutdown, net::outward_address};
use pandaemon_types::node_labels;
use tokio::net::TcpListener;

use crate::{
    api::{
        certificates::Certificates, identity::Identity, node_lease,
        node_registration::NodeRegistration, node_status, object_cache::ObjectCache,
    },
    clock::Clock,
    config::{Config, DataDirInUse, InvalidConfig, MissingRequirement, Paths},
    context::Context,
    files,
    host::{
        Machine,
        api_server_rules::ApiServerRules,
        cgroups::{self, PodCgroups},
        cni,
        containerd::ManagedContainerd,
        tmpfs::Tmpfs,
    },
    images::{Images, import::ImageImporter},
    logs,
    pod_workers::{PodWorkers, has_saved_pods},
    pods::Pods,
    sealed::SealedFiles,
    server,
    stop::{self, RunningAgent},
    supervise::spawn_loop,
};

/// How long the start of known pods waits for the address of this node.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs an agent until `shutdown`. Containers go on running unless the configuration says
/// otherwise. When the Node is deleted, its pods end in order, and so does the agent.
///
/// # Errors
/// If the configuration is wrong, the machine lacks a requirement, another agent uses the data
/// directory, or the Node was deleted. On a node that has no pods yet also if the token is wrong,
/// or another machine holds the node's name.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    check(&config)?;
    let caller = shutdown;
    // Everything that this agent has started ends with it.
    let shutdown = caller.child();
    let paths = Paths::new(&config);
    files::private_dir(&paths.identity()).context("create the data directory")?;
    let _lock = lock(&config)?;
    let machine = Machine::detect(&config.data_dir);
    machine.warn();
    let identity = Identity::new(paths.identity());
    let known_address = identity
        .address_of(&config.node_name)
        .filter(|_| has_saved_pods(&paths));
    let address = node_address(&config, known_address).await?;
    warn_of_loopback(address);
    let pod_cidr = pod_cidr(&config);
    let certificates = Arc::new(Certificates::new(&config, identity.clone(), address)?);
    let registration = NodeRegistration::load(&config.node_name, identity.clone());
    let sealed = SealedFiles::open(&paths.sealing_key()).context("read the key of saved copies")?;
    let sealed = Arc::new(sealed);
    let api_server = Arc::new(ApiServerRules::new(&config, &paths, machine.iptables));
    let runtime = async {
        let runtime = start_runtime(&config, &paths, &machine, &pod_cidr, &shutdown);
        tokio::join!(runtime, api_server.ensure()).0
    };
    let started = if known_address.is_some() {
        // Known pods start whatever the certificates, the server and the clock are like.
        runtime.await?
    } else {
        // The runtime starts while the agent joins: neither depends on the other.
        let joined = shutdown.guard(Box::pin(certificates.obtain()));
        let (started, joined) = tokio::join!(runtime, joined);
        let started = started?;
        if !matches!(joined, Some(Ok(()))) {
            let (runtime, containerd) = (&*started.runtime, started.containerd.as_ref());
            stop::stop_idle_runtime(runtime, containerd, &api_server, &paths, &pod_cidr).await;
            // Stopped before it had joined: that is no failure.
            return joined.unwrap_or(Ok(()));
        }
        started
    };
    let client = registration.watch(certificates.client());
    let node = config.node_name.clone();
    let events = EventRecorder::start_on(client.clone(), "kubelet", node, shutdown.clone());
    let listener = listen(&config).await?;
    let port = listener.local_addr()?.port();
    let context = Arc::new(Context {
        cgroups: pod_cgroups(&config, &machine),
        object_cache: ObjectCache::new(client.clone(), paths.saved_objects(), Arc::clone(&sealed)),
        sealed,
        tmpfs: Tmpfs::default(),
        images: Images::new(Arc::clone(&started.runtime), started.imported),
        clock: Clock::default(),
        runtime: started.runtime,
        tasks: started.tasks,
        machine,
        api_server,
        address,
        client,
        registration,
        events,
        paths,
        config,
    });
    let pods = start_loops(
        &context,
        listener,
        certificates,
        pod_cidr.clone(),
        port,
        &shutdown,
    );
    let agent = RunningAgent {
        context: &context,
        pods: &pods,
        containerd: started.containerd.as_ref(),
        pod_cidr: &pod_cidr,
    };
    let deleted = caller.guard(agent.node_deleted()).await;
    shutdown.trigger();
    agent.stop(&identity, deleted).await
}

fn pod_cgroups(config: &Config, machine: &Machine) -> PodCgroups {
    let mount = Path::new(cgroups::MOUNT);
    PodCgroups::new(machine.cgroups, mount, &config.cgroup_root)
}

/// The range of pod addresses.
fn pod_cidr(config: &Config) -> String {
    let default = || Paths::default_pod_cidr(&config.node_name);
    config.pod_cidr.clone().unwrap_or_else(default)
}

fn start_loops(
    context: &Arc<Context>,
    listener: TcpListener,
    certificates: Arc<Certificates>,
    pod_cidr: String,
    port: u16,
    shutdown: &Shutdown,
) -> Pods {
    let pods = PodWorkers::start(Arc::clone(context), shutdown.clone());
    let server = server::KubeletServer {
        tls: certificates.serving(),
    };
    let (server, listener) = (Arc::new(server), Arc::new(listener));
    let (of, served) = (Arc::clone(context), pods.clone());
    spawn_loop("kubelet server", shutdown, move || {
        Arc::clone(&server).run(Arc::clone(&of), served.clone(), Arc::clone(&listener))
    });
    let events = context.events.clone();
    spawn_loop("certificates", shutdown, move || {
        Arc::clone(&certificates).keep_valid(events.clone())
    });
    let rules = Arc::clone(&context.api_server);
    spawn_loop("API server rules", shutdown, move || {
        let rules = Arc::clone(&rules);
        async move { rules.keep().await }
    });
    let of = Arc::clone(context);
    spawn_loop("node lease", shutdown, move || {
        node_lease::renew_lease(Arc::clone(&of))
    });
    let of = Arc::clone(context);
    spawn_loop("log rotation", shutdown, move || {
        logs::rotate::run(Arc::clone(&of))
    });
    let of = Arc::clone(context);
    spawn_loop("node status", shutdown, move || {
        node_status::sync_node_status(Arc::clone(&of), pod_cidr.clone(), port)
    });
    pods
}

fn check(config: &Config) -> anyhow::Result<()> {
    check_values(config)?;
    if !nix::unistd::geteuid().is_root() {
        let text = "the agent must run as root: it creates mounts, namespaces and cgroups";
        return Err(MissingRequirement(text.to_owned()).into());
    }
    if config.cri_socket.is_none() {
        // Before joining, which may wait for the server without end.
        ManagedContainerd::find_programs()?;
    }
    Ok(())
}

fn check_values(config: &Config) -> Result<(), InvalidConfig> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let name = &config.node_name;
    if name.is_empty() || !name.chars().all(good) || name.len() > 253 {
        return Err(InvalidConfig(format!(
            "the node name {name:?} must consist of lower case letters, digits, '-' and '.'"
        )));
    }
    if let Some(wrong) = config
        .taints
        .iter()
        .find(|text| node_status::taint(text).is_none())
    {
        return Err(InvalidConfig(format!(
            "the taint {wrong:?} must have the form key=value:Effect or key:Effect"
        )));
    }
    node_labels::check(&config.labels).map_err(InvalidConfig)
}

/// Locks the data directory: two agents on one would stop each other's pods.
fn lock(config: &Config) -> anyhow::Result<nix::fcntl::Flock<fs::File>> {
    let path = config.data_dir.join("agent/lock");
    let file = fs::File::create(&path).with_context(|| format!("create {}", path.display()))?;
    let lock = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock);
    lock.map_err(|_| {
        DataDirInUse(format!(
            "another agent uses the data directory {}",
            config.data_dir.display()
        ))
        .into()
    })
}

struct StartedRuntime {
    runtime: Arc<dyn Runtime>,
    tasks: Option<TaskService>,
    containerd: Option<ManagedContainerd>,
    imported: BTreeSet<String>,
}

async fn start_runtime(
    config: &Config,
    paths: &Paths,
    machine: &Machine,
    pod_cidr: &str,
    shutdown: &Shutdown,
) -> anyhow::Result<StartedRuntime> {
    let containerd = match &config.cri_socket {
        Some(_) => None,
        None => Some(ManagedContainerd::prepare(paths, machine, pod_cidr)?),
    };
    let socket: PathBuf = match (&config.cri_socket, &containerd) {
        (Some(socket), _) => socket.clone(),
        (None, Some(containerd)) => {
            containerd.start_and_supervise(shutdown).await?;
            if machine.iptables {
                cni::add_masquerade_rule(paths, pod_cidr).await;
            }
            containerd.socket.clone()
        }
        (None, None) => bail!("neither a runtime socket nor a containerd to start"),
    };
    let runtime = CriClient::new(&socket)?;
    let version = runtime
        .version()
        .await
        .with_context(|| format!("reach the container runtime at {}", socket.display()))?;
    tracing::info!(
        name = version.runtime_name,
        version = version.runtime_version,
        "connected to the container runtime"
    );
    let is_containerd = version.runtime_name == "containerd";
    let mut imported = read_imported_images(paths);
    if containerd.is_some() || (config.images_dir.is_some() && is_containerd) {
        let importer = ImageImporter::new(&socket, machine.overlay)?;
        if containerd.is_some() {
            importer.import_pause_image(&runtime, paths).await?;
        }
        if let Some(dir) = &config.images_dir {
            imported.extend(importer.import_directory(dir, &runtime).await?);
        }
        let names = imported
            .iter()
            .map(|name| format!("{name}\n"))
            .collect::<String>();
        files::replace(&paths.imported_images(), names.as_bytes())?;
    }
    let tasks = is_containerd
        .then(|| TaskService::new(&socket))
        .transpose()?;
    Ok(StartedRuntime {
        runtime: Arc::new(runtime),
        tasks,
        containerd,
        imported,
    })
}

fn read_imported_images(paths: &Paths) -> BTreeSet<String> {
    let text = fs::read_to_string(paths.imported_images()).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The address of this node. If it cannot be found, as without a network, the one that is known, if
/// any.
async fn node_address(config: &Config, known: Option<IpAddr>) -> anyhow::Result<IpAddr> {
    if let Some(address) = config.node_ip {
        return Ok(address);
    }
    let server = config.server.clone();
    // It may wait for the resolver.
    let find = tokio::task::spawn_blocking(move || own_address(&server));
    let Some(known) = known else {
        return find.await?;
    };
    match tokio::time::timeout(ADDRESS_TIMEOUT, find).await {
        Ok(Ok(Ok(address))) => Ok(address),
        failed => {
            let error = failed.ok().and_then(Result::ok).and_then(Result::err);
            tracing::warn!(?error, %known, "cannot find this node's address; using the last known");
            Ok(known)
        }
    }
}

/// The address from which this machine reaches the server, by the routing table. Nothing is sent.
/// With a server on this machine, the one from which it reaches others: only this machine can use a
/// loopback address, and by default not even the server does.
fn own_address(server: &str) -> anyhow::Result<IpAddr> {
    let uri: http::Uri = server
        .parse()
        .with_context(|| format!("the server address {server:?} is not a URL"))?;
    let host = uri.host().context("the server's address names no host")?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket
        .connect((host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(443)))
        .with_context(|| format!("find the route to {host}"))?;
    let address = socket.local_addr()?.ip();
    let outward = outward_address().filter(|_| address.is_loopback());
    Ok(outward.unwrap_or(address))
}

/// Warns of an address that the server does not dial.
fn warn_of_loopback(address: IpAddr) {
    if address.is_loopback() {
        tracing::warn!(
            %address,
            "this node has a loopback address: logs, exec and port-forward of its pods need a server \
             on this machine with --allow-loopback-nodes"
        );
    }
}

async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    let address = (Ipv4Addr::UNSPECIFIED, config.kubelet_port);
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "listen on port {} for the kubelet server",
            config.kubelet_port
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_beside_its_server_has_the_address_that_others_reach() {
        let loopback = Ipv4Addr::LOCALHOST.into();
        let expected = outward_address().unwrap_or(loopback);
        assert_eq!(own_address("https://127.0.0.1:6443").unwrap(), expected);
        assert_eq!(
            own_address("https://198.51.100.1").unwrap_or(expected),
            expected
        );
    }
}
