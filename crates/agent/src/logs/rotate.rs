//! Keeping logs small: a log that has grown is put aside, and the oldest ones are removed.

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

/// A log this large is put aside; the kubelet's default.
pub(crate) const MAX_SIZE: u64 = 10 << 20;
/// So many files of one container are kept, the present one included; the kubelet's default.
pub(crate) const MAX_FILES: usize = 5;
const PERIOD: Duration = Duration::from_secs(10);

/// Watches the logs of all running containers.
pub(crate) async fn run(context: Arc<Context>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        let Ok(containers) = context.runtime.list_containers(Default::default()).await else {
            continue;
        };
        for one in containers {
            if let Some(path) = grown(&context, &one) {
                rotate(&context, &one.id, &path).await;
            }
        }
    }
}

fn grown(context: &Context, one: &pb::Container) -> Option<PathBuf> {
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
    let aside = put_aside(
        path,
        &jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string(),
    );
    let reopened = match aside {
        Ok(()) => context
            .runtime
            .reopen_log(id)
            .await
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = reopened {
        tracing::warn!(error, path = %path.display(), "rotate a log");
    }
}

/// Renames the log and removes the oldest of those put aside before.
fn put_aside(path: &Path, stamp: &str) -> std::io::Result<()> {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    fs::rename(path, path.with_file_name(format!("{name}.{stamp}")))?;
    let mut old = aside(path);
    old.sort();
    let keep = MAX_FILES - 1;
    for path in old.iter().take(old.len().saturating_sub(keep)) {
        files::remove(path)?;
    }
    Ok(())
}

/// The files of a log that were put aside, in no order.
#[must_use]
pub(crate) fn aside(path: &Path) -> Vec<PathBuf> {
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
    use super::{MAX_FILES, aside, put_aside};

    #[test]
    fn the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        for round in 0..9 {
            std::fs::write(&path, round.to_string()).unwrap();
            put_aside(&path, &format!("2024010{round}")).unwrap();
        }
        let mut left = aside(&path);
        left.sort();
        assert_eq!(left.len(), MAX_FILES - 1);
        assert_eq!(std::fs::read_to_string(&left[0]).unwrap(), "5");
    }
}
