//! Metrics: resource use of the pods, and the agent's own metrics.

use std::{collections::BTreeMap, fmt::Write as _};

use http::StatusCode;
use pandaemon_cri::pb;
use pandaemon_types::time::rfc3339_seconds;
use serde_json::{Value, json};

use super::{HttpError, HttpResponse, ServerState, json, text};
use crate::{
    host::meminfo,
    pod::sandbox::{CONTAINER_NAME, POD_NAME, POD_NAMESPACE, POD_UID},
};

async fn all(state: &ServerState) -> Result<Vec<pb::ContainerStats>, HttpError> {
    let stats = state.context.runtime.list_stats().await;
    stats.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

fn value(number: Option<&pb::UInt64Value>) -> u64 {
    number.map_or(0, |number| number.value)
}

/// `stats/summary`, which metrics-server reads.
pub(super) async fn summary(state: &ServerState) -> Result<HttpResponse, HttpError> {
    let mut pods: BTreeMap<String, Value> = BTreeMap::new();
    for one in all(state).await? {
        let Some(attributes) = &one.attributes else {
            continue;
        };
        let label = |key: &str| attributes.labels.get(key).cloned().unwrap_or_default();
        let pod = pods.entry(label(POD_UID)).or_insert_with(|| {
            json!({
                "podRef": { "name": label(POD_NAME), "namespace": label(POD_NAMESPACE),
                    "uid": label(POD_UID) },
                "containers": [],
            })
        });
        if let Some(containers) = pod["containers"].as_array_mut() {
            containers.push(container(&one, &label(CONTAINER_NAME)));
        }
    }
    let (total, available) = (meminfo("MemTotal"), meminfo("MemAvailable"));
    Ok(json(&json!({
        "node": {
            "nodeName": state.context.config.node_name,
            "memory": { "time": now(), "availableBytes": available,
                "usageBytes": total.saturating_sub(meminfo("MemFree")),
                "workingSetBytes": total.saturating_sub(available) },
        },
        "pods": pods.into_values().collect::<Vec<_>>(),
    })))
}

fn now() -> String {
    rfc3339_seconds(jiff::Timestamp::now())
}

fn container(stats: &pb::ContainerStats, name: &str) -> Value {
    let (cpu, memory) = (stats.cpu.as_ref(), stats.memory.as_ref());
    json!({
        "name": name,
        "cpu": {
            "time": now(),
            "usageNanoCores": value(cpu.and_then(|cpu| cpu.usage_nano_cores.as_ref())),
            "usageCoreNanoSeconds":
                value(cpu.and_then(|cpu| cpu.usage_core_nano_seconds.as_ref())),
        },
        "memory": {
            "time": now(),
            "workingSetBytes": value(memory.and_then(|one| one.working_set_bytes.as_ref())),
            "usageBytes": value(memory.and_then(|one| one.usage_bytes.as_ref())),
            "rssBytes": value(memory.and_then(|one| one.rss_bytes.as_ref())),
        },
        "rootfs": {
            "usedBytes":
                value(stats.writable_layer.as_ref().and_then(|one| one.used_bytes.as_ref())),
        },
    })
}

/// `metrics/cadvisor`: CPU time and working set of each container.
pub(super) async fn cadvisor(state: &ServerState) -> Result<HttpResponse, HttpError> {
    let stats = all(state).await?;
    let mut out = String::new();
    type Read = fn(&pb::ContainerStats) -> f64;
    let series: [(&str, &str, Read); 2] = [
        ("container_cpu_usage_seconds_total", "counter", |one| {
            let cpu = one
                .cpu
                .as_ref()
                .and_then(|cpu| cpu.usage_core_nano_seconds.as_ref());
            value(cpu) as f64 / 1e9
        }),
        ("container_memory_working_set_bytes", "gauge", |one| {
            value(
                one.memory
                    .as_ref()
                    .and_then(|memory| memory.working_set_bytes.as_ref()),
            ) as f64
        }),
    ];
    for (name, kind, read) in series {
        let _ = writeln!(out, "# TYPE {name} {kind}");
        for one in &stats {
            let Some(attributes) = &one.attributes else {
                continue;
            };
            let label = |key: &str| attributes.labels.get(key).cloned().unwrap_or_default();
            let _ = writeln!(
                out,
                "{name}{{namespace=\"{}\",pod=\"{}\",container=\"{}\"}} {}",
                label(POD_NAMESPACE),
                label(POD_NAME),
                label(CONTAINER_NAME),
                read(one)
            );
        }
    }
    Ok(text(StatusCode::OK, out))
}

/// `metrics`: the agent's own metrics.
pub(super) fn metrics(state: &ServerState) -> HttpResponse {
    let resident = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = resident
        .split_whitespace()
        .nth(1)
        .and_then(|text| text.parse::<u64>().ok());
    let out = format!(
        "# TYPE pandaemon_agent_pods gauge\npandaemon_agent_pods {}\n\
         # TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {}\n",
        state.pods.count(),
        pages.unwrap_or(0) * 4096,
    );
    text(StatusCode::OK, out)
}
