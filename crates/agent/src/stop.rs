//! The end of an agent.

use std::path::Path;

use anyhow::Context as _;
use pandaemon_cri::Runtime;

use crate::{
    api::identity::Identity,
    config::{NodeDeleted, Paths},
    context::Context,
    files,
    host::{api_server_rules::ApiServerRules, cni, containerd::ManagedContainerd, mounts},
    pod::sandbox::POD_UID,
    pods::Pods,
};

/// A running agent, as far as it has to be stopped.
pub(crate) struct RunningAgent<'a> {
    pub context: &'a Context,
    pub pods: &'a Pods,
    /// The containerd that it has started.
    pub containerd: Option<&'a ManagedContainerd>,
    pub pod_cidr: &'a str,
}

impl RunningAgent<'_> {
    /// Resolves with the uid of the Node when that was deleted and its pods have ended.
    pub(crate) async fn node_deleted(&self) -> String {
        let uid = self.context.registration.deleted().await;
        self.pods.emptied().await;
        uid
    }

    /// Stops what the configuration says; everything, if the Node with this uid was deleted.
    ///
    /// # Errors
    /// If the Node was deleted.
    pub(crate) async fn stop(
        &self,
        identity: &Identity,
        deleted: Option<String>,
    ) -> anyhow::Result<()> {
        if deleted.is_some() || self.context.config.stop_containers_on_exit {
            self.stop_all().await;
        }
        let Some(uid) = deleted else {
            return Ok(());
        };
        let objects = self.context.paths.saved_objects();
        files::remove_dir(&objects).context("remove the saved objects")?;
        // Only now: an agent that was killed before goes on with this when it starts again.
        identity.remove()?;
        let node = self.context.config.node_name.clone();
        Err(NodeDeleted { node, uid }.into())
    }

    /// Stops all pods and the agent's containerd, and removes their mounts, iptables rules, bridge
    /// and cgroups.
    async fn stop_all(&self) {
        let context = self.context;
        let sandboxes = context
            .runtime
            .list_sandboxes(Default::default())
            .await
            .unwrap_or_default();
        let own = sandboxes
            .iter()
            .filter(|sandbox| sandbox.labels.contains_key(POD_UID));
        let stops = own.map(|sandbox| async {
            let stopped = context.runtime.stop_sandbox(&sandbox.id).await;
            let removed = context.runtime.remove_sandbox(&sandbox.id).await;
            if let Err(error) = stopped.and(removed) {
                tracing::warn!(%error, sandbox = sandbox.id, "cannot remove a sandbox at shutdown");
            }
        });
        futures::future::join_all(stops).await;
        unmount(&context.paths.pods());
        context.api_server.remove().await;
        if let Some(containerd) = self.containerd {
            containerd.stop().await;
            unmount(&context.paths.containerd());
            if let Err(error) = files::remove_dir(&context.paths.run_dir()) {
                tracing::warn!(%error, "cannot remove the directory of sockets");
            }
            if context.machine.iptables {
                cni::remove_masquerade_rule(&context.paths, self.pod_cidr).await;
            }
            cni::remove_bridge(&context.paths).await;
        }
        context.cgroups.remove_all();
    }
}

/// Stops the containerd of an agent that could not join, and removes its rules, unless it runs pods
/// of an earlier agent.
pub(crate) async fn stop_idle_runtime(
    runtime: &dyn Runtime,
    containerd: Option<&ManagedContainerd>,
    rules: &ApiServerRules,
    paths: &Paths,
    pod_cidr: &str,
) {
    let sandboxes = runtime.list_sandboxes(Default::default()).await;
    if let (Some(containerd), Ok([])) = (containerd, sandboxes.as_deref()) {
        rules.remove().await;
        containerd.stop().await;
        unmount(&paths.containerd());
        cni::remove_masquerade_rule(paths, pod_cidr).await;
    }
}

fn unmount(dir: &Path) {
    if let Err(error) = mounts::unmount_below(dir) {
        tracing::warn!(%error, "a mount is left");
    }
}
