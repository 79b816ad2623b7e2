//! Deletes events an hour after they last happened, as upstream's API server does by default.

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use pandaemon_runtime::Shutdown;
use serde::Deserialize;
use serde_json::json;

use crate::{
    api::{self, Rest},
    meta::Meta,
};

/// How long events are kept; upstream's `--event-ttl`.
const KEEP: Duration = Duration::from_secs(3_600);
/// How often old ones are looked for: no event is kept a tenth longer than asked.
const PERIOD: Duration = Duration::from_secs(300);
/// One page of a list.
const PAGE: u32 = 1_000;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Page {
    metadata: PageMeta,
    items: Vec<Event>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PageMeta {
    r#continue: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Event {
    metadata: Meta,
    last_timestamp: Option<Timestamp>,
    event_time: Option<Timestamp>,
}

impl Event {
    fn last(&self) -> Option<Timestamp> {
        // A repeated event was written again; its creation is the oldest of its times.
        [
            self.last_timestamp,
            self.event_time,
            self.metadata.creation_timestamp,
        ]
        .into_iter()
        .flatten()
        .max()
    }

    fn is_old(&self, now: Timestamp) -> bool {
        self.last()
            .is_some_and(|last| now.duration_since(last).as_secs() > KEEP.as_secs().cast_signed())
    }
}

/// Runs the loop until a stop is asked for.
///
/// # Errors
/// When the loop cannot go on.
pub async fn run(client: Client, stop: Shutdown) -> anyhow::Result<()> {
    let api = Rest::new(client);
    while stop.guard(tokio::time::sleep(PERIOD)).await.is_some() {
        if let Err(error) = sweep(&api, Timestamp::now()).await {
            tracing::debug!(%error, "events not swept");
        }
    }
    Ok(())
}

async fn sweep(api: &Rest, now: Timestamp) -> kube::Result<()> {
    let mut token = String::new();
    loop {
        let path = format!("/api/v1/events?limit={PAGE}&continue={token}");
        let page: Page = api.get(&path).await?.unwrap_or_default();
        for event in page.items.iter().filter(|event| event.is_old(now)) {
            let (namespace, name) = (&event.metadata.namespace, &event.metadata.name);
            let path = format!("/api/v1/namespaces/{namespace}/events/{name}");
            let version = &event.metadata.resource_version;
            let options = json!({ "preconditions": { "resourceVersion": version } });
            match api.delete(&path, &options).await {
                // It has happened again.
                Err(error) if !api::is_conflict(&error) => return Err(error),
                _ => (),
            }
        }
        match page.metadata.r#continue.filter(|token| !token.is_empty()) {
            Some(next) => token = next,
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_time_counts() {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let metadata = Meta {
            creation_timestamp: at(0),
            ..Meta::default()
        };
        let mut event = Event {
            metadata,
            last_timestamp: at(1_000),
            event_time: None,
        };
        assert!(!event.is_old(at(4_600).unwrap()));
        assert!(event.is_old(at(4_601).unwrap()));
        event.last_timestamp = None;
        assert!(event.is_old(at(3_601).unwrap()));
    }
}
