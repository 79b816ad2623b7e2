//! What is left of pods that no longer exist: sandboxes, directories, logs.

use std::{collections::BTreeSet, fs, path::PathBuf};

use crate::{context::Context, files, pod::sandbox::POD_UID, volumes};

/// Removes everything that belongs to none of these pods.
pub(crate) async fn clean(context: &Context, known: &BTreeSet<String>) {
    let Ok(sandboxes) = context.runtime.list_sandboxes(Default::default()).await else {
        return;
    };
    let mut alive = known.clone();
    for sandbox in sandboxes {
        let Some(uid) = sandbox
            .labels
            .get(POD_UID)
            .filter(|uid| !known.contains(*uid))
        else {
            continue;
        };
        tracing::info!(sandbox = sandbox.id, uid, "removing what is left of a pod");
        let stopped = context.runtime.stop_sandbox(&sandbox.id).await;
        let removed = context.runtime.remove_sandbox(&sandbox.id).await;
        if let Err(error) = stopped.and(removed) {
            tracing::warn!(%error, sandbox = sandbox.id, "remove a sandbox");
            alive.insert(uid.clone());
        }
    }
    for (dir, uid) in left(&context.paths.pods(), |name| Some(name.to_owned()), &alive) {
        tracing::info!(uid, "freeing the volumes of a pod that no longer exists");
        if let Err(error) = volumes::free(&dir) {
            tracing::warn!(%error, dir = %dir.display(), "free a pod's volumes");
        }
        context.cgroups.remove(&uid);
    }
    let of_log = |name: &str| name.rsplit_once('_').map(|(_, uid)| uid.to_owned());
    for (dir, _uid) in left(&context.paths.all_pod_logs(), of_log, &alive) {
        if let Err(error) = files::remove_dir(&dir) {
            tracing::warn!(%error, dir = %dir.display(), "remove a pod's logs");
        }
    }
}

/// Directories whose name belongs to a pod that is not alive.
fn left(
    dir: &std::path::Path,
    uid_of: impl Fn(&str) -> Option<String>,
    alive: &BTreeSet<String>,
) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let uid = uid_of(&entry.file_name().to_string_lossy())?;
        Some((entry.path(), uid))
    });
    named.filter(|(_, uid)| !alive.contains(uid)).collect()
}
