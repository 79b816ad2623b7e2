//! Container log files: lines in the CRI format, one file for each start of a container.

pub(crate) mod follow;
pub(crate) mod read;
pub(crate) mod rotate;

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use crate::{context::Context, files, pod::PodRef};

/// The path of the link that log collectors read: `POD_NAMESPACE_CONTAINER-ID.log`.
fn link_path(context: &Context, pod: &PodRef, container: &str, id: &str) -> PathBuf {
    let name = format!("{}_{}_{container}-{id}.log", pod.name, pod.namespace);
    context.paths.container_logs().join(name)
}

/// Links a container's log into the directory for log collectors, and removes the links of its
/// earlier starts.
pub(crate) fn link(context: &Context, pod: &PodRef, container: &str, id: &str, attempt: u32) {
    let logs = context.paths.pod_logs(&pod.namespace, &pod.name, &pod.uid);
    let target = logs.join(container).join(format!("{attempt}.log"));
    let link = link_path(context, pod, container, id);
    let prefix = format!("{}_{}_{container}-", pod.name, pod.namespace);
    remove_links(context, &prefix);
    let made = fs::create_dir_all(context.paths.container_logs())
        .and_then(|()| std::os::unix::fs::symlink(&target, &link));
    if let Err(error) = made {
        tracing::debug!(%error, link = %link.display(), "cannot link a log for log collectors");
    }
}

/// Removes the links to a pod's logs.
pub(crate) fn unlink(context: &Context, pod: &PodRef) {
    remove_links(context, &format!("{}_{}_", pod.name, pod.namespace));
}

fn remove_links(context: &Context, prefix: &str) {
    let entries = fs::read_dir(context.paths.container_logs())
        .into_iter()
        .flatten()
        .flatten();
    for entry in entries {
        if entry.file_name().to_string_lossy().starts_with(prefix)
            && let Err(error) = files::remove(&entry.path())
        {
            tracing::debug!(%error, "cannot remove the link to a log");
        }
    }
}

/// The end of a log as plain text, with at most this many lines and bytes.
#[must_use]
pub(crate) fn tail_text(path: &Path, lines: usize, bytes: usize) -> String {
    /// The part of the file that is read, in bytes; lines in the file have a time stamp and tags.
    const READ_SIZE: u64 = 64 << 10;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(READ_SIZE)))?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        Ok(content)
    };
    let content = read().unwrap_or_default();
    let mut text: Vec<u8> = Vec::new();
    let all: Vec<_> = content.split_inclusive(|&byte| byte == b'\n').collect();
    for line in &all[all.len().saturating_sub(lines)..] {
        if let Some(line) = read::Line::parse(line) {
            text.extend_from_slice(line.content);
            if !line.partial {
                text.push(b'\n');
            }
        }
    }
    let from = text.len().saturating_sub(bytes);
    String::from_utf8_lossy(&text[from..]).into_owned()
}
