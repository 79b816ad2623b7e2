//! Log rotation: large logs are renamed, and the oldest files are removed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use pandaemon_cri::pb;

use crate::{
    context::Context,
    files,
    pod::sandbox::{CONTAINER_NAME, POD_NAME, POD_NAMESPACE, POD_UID},
};

/// Logs larger than this many bytes are rotated; the kubelet's default (`containerLogMaxSize`).
pub(crate) const MAX_SIZE: u64 = 10 << 20;
/// How many log files of a container are kept; the kubelet's default (`containerLogMaxFiles`).
pub(crate) const MAX_FILES: usize = 5;
/// How often log sizes are checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Rotates the logs of all running containers; does not return.
pub(crate) async fn run(context: Arc<Context>) {
    loop {
        tokio::time::sleep(CHECK_INTERVAL).await;
        let Ok(containers) = context.runtime.list_containers(Default::default()).await else {
            continue;
        };
        for one in containers {
            if let Some(path) = oversized_log(&context, &one) {
                rotate(&context, &one.id, &path).await;
            }
        }
    }
}

fn oversized_log(context: &Context, one: &pb::Container) -> Option<PathBuf> {
    if one.state() != pb::ContainerState::ContainerRunning {
        return None;
    }
    let label = |key: &str| one.labels.get(key);
    let logs = context
        .paths
        .pod_logs(label(POD_NAMESPACE)?, label(POD_NAME)?, label(POD_UID)?);
    let attempt = one.metadata.as_ref()?.attempt;
    let path = logs
        .join(label(CONTAINER_NAME)?)
        .join(format!("{attempt}.log"));
    let size = fs::metadata(&path).ok()?.len();
    (MAX_SIZE < size).then_some(path)
}

async fn rotate(context: &Context, id: &str, path: &Path) {
    let renamed = rotate_file(
        path,
        &jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string(),
    );
    let reopened = match renamed {
        Ok(()) => context
            .runtime
            .reopen_log(id)
            .await
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = reopened {
        tracing::warn!(error, path = %path.display(), "cannot rotate a container log");
    }
}

/// Renames a log and removes the oldest rotated files.
fn rotate_file(path: &Path, stamp: &str) -> std::io::Result<()> {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    fs::rename(path, path.with_file_name(format!("{name}.{stamp}")))?;
    let mut old = rotated_files(path);
    old.sort();
    let keep = MAX_FILES - 1;
    for path in old.iter().take(old.len().saturating_sub(keep)) {
        files::remove(path)?;
    }
    Ok(())
}

/// The rotated files of a log, in no order.
#[must_use]
pub(crate) fn rotated_files(path: &Path) -> Vec<PathBuf> {
    let prefix = format!(
        "{}.",
        path.file_name().unwrap_or_default().to_string_lossy()
    );
    let dir = path.parent().map(fs::read_dir);
    let entries = dir.into_iter().flatten().flatten().flatten();
    let names = entries.filter(|one| one.file_name().to_string_lossy().starts_with(&prefix));
    names.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::{MAX_FILES, rotate_file, rotated_files};

    #[test]
    fn the_oldest_rotated_files_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        for round in 0..9 {
            std::fs::write(&path, round.to_string()).unwrap();
            rotate_file(&path, &format!("2024010{round}")).unwrap();
        }
        let mut left = rotated_files(&path);
        left.sort();
        assert_eq!(left.len(), MAX_FILES - 1);
        assert_eq!(std::fs::read_to_string(&left[0]).unwrap(), "5");
    }
}
