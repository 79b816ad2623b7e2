//! Removes what is left of pods that no longer exist: sandboxes, cgroups, directories, logs and the
//! copies of their objects. The kubelet's `HandlePodCleanups`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::{context::Context, files, pod::sandbox::POD_UID, volumes};

/// Removes everything of pods whose uid is not among `known`. Sandboxes without the pod uid label
/// are not the agent's and stay.
pub(crate) async fn remove_orphans(context: &Context, known: &BTreeSet<String>) {
    let Ok(sandboxes) = context.runtime.list_sandboxes(Default::default()).await else {
        return;
    };
    let mut known_or_busy = known.clone();
    for sandbox in sandboxes {
        let Some(uid) = sandbox
            .labels
            .get(POD_UID)
            .filter(|uid| !known.contains(*uid))
        else {
            continue;
        };
        tracing::info!(
            sandbox = sandbox.id,
            uid,
            "removing a sandbox whose pod no longer exists"
        );
        let stopped = context.runtime.stop_sandbox(&sandbox.id).await;
        let removed = context.runtime.remove_sandbox(&sandbox.id).await;
        if let Err(error) = stopped.and(removed) {
            tracing::warn!(%error, sandbox = sandbox.id, "cannot remove an orphaned sandbox; trying again later");
            known_or_busy.insert(uid.clone());
        }
    }
    for (dir, uid) in orphaned_dirs(
        &context.paths.pods(),
        |name| Some(name.to_owned()),
        &known_or_busy,
    ) {
        tracing::info!(uid, "removing the volumes of a pod that no longer exists");
        if let Err(error) = volumes::tear_down(&dir) {
            tracing::warn!(%error, dir = %dir.display(), "cannot remove the volumes of an orphaned pod; trying again later");
        }
        context.cgroups.remove(&uid);
    }
    context.object_cache.remove_unreferenced();
    let uid_of_log_dir = |name: &str| name.rsplit_once('_').map(|(_, uid)| uid.to_owned());
    for (dir, _uid) in orphaned_dirs(
        &context.paths.all_pod_logs(),
        uid_of_log_dir,
        &known_or_busy,
    ) {
        if let Err(error) = files::remove_dir(&dir) {
            tracing::warn!(%error, dir = %dir.display(), "cannot remove the logs of an orphaned pod; trying again later");
        }
    }
}

/// Subdirectories of `dir` whose pod is not among `known`; `uid_of` reads the uid from a name.
fn orphaned_dirs(
    dir: &Path,
    uid_of: impl Fn(&str) -> Option<String>,
    known: &BTreeSet<String>,
) -> Vec<(PathBuf, String)> {
    let named = files::entries(dir).filter_map(|(name, path)| Some((path, uid_of(&name)?)));
    named.filter(|(_, uid)| !known.contains(uid)).collect()
}
