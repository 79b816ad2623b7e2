//! Reads the sandboxes and containers of a pod from the runtime.

use std::{collections::BTreeMap, fs};

use pandaemon_cri::{CriError, pb};
use pandaemon_podsync::{Container, ContainerState, ObservedPod, Sandbox};

use super::{PodRef, container, sandbox::POD_UID};
use crate::{context::Context, logs};

/// The longest termination message in bytes, as in the kubelet.
const MAX_TERMINATION_MESSAGE: usize = 4096;
/// The most lines and bytes of the log that are used instead (`FallbackToLogsOnError`).
const MAX_LOG_LINES: usize = 80;
const MAX_LOG_BYTES: usize = 2048;

/// Details read earlier. They do not change while a container's state and its sandbox stay the
/// same.
#[derive(Debug, Default)]
pub(crate) struct ObservationCache {
    containers: BTreeMap<String, Container>,
    addresses: BTreeMap<String, Vec<String>>,
}

/// Reads a pod's sandboxes and containers.
///
/// # Errors
/// If a call to the runtime fails.
pub(crate) async fn observe(
    context: &Context,
    pod: &PodRef,
    cache: &mut ObservationCache,
) -> Result<ObservedPod, CriError> {
    let labels = || BTreeMap::from([(POD_UID.to_owned(), pod.uid.clone())]);
    let (sandboxes, containers) = futures::try_join!(
        context.runtime.list_sandboxes(labels()),
        context.runtime.list_containers(labels())
    )?;
    let mut observed = ObservedPod::default();
    for one in sandboxes {
        observed
            .sandboxes
            .push(sandbox(context, pod, one, cache).await?);
    }
    for one in containers {
        if let Some(container) = container_details(context, pod, one, cache).await? {
            observed.containers.push(container);
        }
    }
    cache
        .containers
        .retain(|id, _| observed.containers.iter().any(|one| one.id == *id));
    cache
        .addresses
        .retain(|id, _| observed.sandboxes.iter().any(|one| one.id == *id));
    Ok(observed)
}

async fn sandbox(
    context: &Context,
    pod: &PodRef,
    one: pb::PodSandbox,
    cache: &mut ObservationCache,
) -> Result<Sandbox, CriError> {
    let ready = one.state() == pb::PodSandboxState::SandboxReady;
    let ips = match cache.addresses.get(&one.id) {
        Some(ips) => ips.clone(),
        None if pod.host_network() || !ready => Vec::new(),
        None => {
            let ips = addresses(context, &one.id).await?;
            cache.addresses.insert(one.id.clone(), ips.clone());
            ips
        }
    };
    Ok(Sandbox {
        id: one.id,
        ready,
        attempt: one.metadata.map_or(0, |meta| meta.attempt),
        created_at: one.created_at / 1_000_000,
        ips,
    })
}

async fn addresses(context: &Context, id: &str) -> Result<Vec<String>, CriError> {
    let status = match context.runtime.sandbox_status(id).await {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        other => other?,
    };
    let Some(network) = status.network else {
        return Ok(Vec::new());
    };
    let more = network.additional_ips.into_iter().map(|ip| ip.ip);
    Ok(std::iter::once(network.ip)
        .chain(more)
        .filter(|ip| !ip.is_empty())
        .collect())
}

async fn container_details(
    context: &Context,
    pod: &PodRef,
    one: pb::Container,
    cache: &mut ObservationCache,
) -> Result<Option<Container>, CriError> {
    let state = state(one.state());
    if let Some(known) = cache
        .containers
        .get(&one.id)
        .filter(|known| known.state == state)
    {
        return Ok(Some(known.clone()));
    }
    let status = match context.runtime.container_status(&one.id).await {
        Err(error) if error.is_not_found() => return Ok(None),
        other => other?,
    };
    let sandbox = one.pod_sandbox_id;
    let container = to_container(context, pod, status, sandbox);
    cache
        .containers
        .insert(container.id.clone(), container.clone());
    Ok(Some(container))
}

const fn state(state: pb::ContainerState) -> ContainerState {
    match state {
        pb::ContainerState::ContainerCreated => ContainerState::Created,
        pb::ContainerState::ContainerRunning => ContainerState::Running,
        // The runtime did not see the exit of an unknown container.
        pb::ContainerState::ContainerExited | pb::ContainerState::ContainerUnknown => {
            ContainerState::Exited
        }
    }
}

fn to_container(
    context: &Context,
    pod: &PodRef,
    status: pb::ContainerStatus,
    sandbox: String,
) -> Container {
    let state = state(status.state());
    let (name, attempt) = status
        .metadata
        .map(|meta| (meta.name, meta.attempt))
        .unwrap_or_default();
    let mut message = status.message;
    if state == ContainerState::Exited {
        let reported = termination_message(context, pod, &name, attempt, status.exit_code);
        if !reported.is_empty() {
            message = reported;
        }
    }
    Container {
        id: status.id,
        name,
        sandbox,
        attempt,
        hash: status
            .annotations
            .get(container::HASH)
            .cloned()
            .unwrap_or_default(),
        state,
        started_at: status.started_at / 1_000_000,
        finished_at: status.finished_at / 1_000_000,
        exit_code: status.exit_code,
        reason: status.reason,
        message,
        image: status.image.map(|image| image.image).unwrap_or_default(),
        image_id: status.image_ref,
    }
}

/// The content of the termination message file or, if the policy asks for it and the file is empty,
/// the end of the log.
fn termination_message(
    context: &Context,
    pod: &PodRef,
    name: &str,
    attempt: u32,
    code: i32,
) -> String {
    let path = container::termination_log(context, pod, name, attempt);
    let bytes = fs::read(path).unwrap_or_default();
    let from = bytes.len().saturating_sub(MAX_TERMINATION_MESSAGE);
    let message = String::from_utf8_lossy(&bytes[from..]).into_owned();
    let policy = pod
        .container(name)
        .and_then(|(container, _)| container.termination_message_policy.as_deref());
    if message.is_empty() && code != 0 && policy == Some("FallbackToLogsOnError") {
        let dir = context.paths.pod_logs(&pod.namespace, &pod.name, &pod.uid);
        return logs::tail_text(
            &dir.join(name).join(format!("{attempt}.log")),
            MAX_LOG_LINES,
            MAX_LOG_BYTES,
        );
    }
    message
}
