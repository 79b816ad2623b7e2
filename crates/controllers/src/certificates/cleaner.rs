//! Deletes old requests. Upstream: `pkg/controller/certificates/cleaner`.

use std::time::Duration;

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use kube::Client;
use pandaemon_client::rest::{Rest, uid_precondition};
use pandaemon_runtime::Shutdown;
use serde::Deserialize;
use x509_parser::{
    pem::Pem,
    prelude::{FromDer as _, X509Certificate},
};

use super::request::{REQUESTS, Request};

/// How often old requests are looked for.
const INTERVAL: Duration = Duration::from_secs(3600);
/// How old requests get about which somebody has decided, and others.
const DECIDED_SECONDS: i64 = 3600;
const PENDING_SECONDS: i64 = 24 * 3600;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct List {
    items: Vec<Request>,
}

/// Runs the loop until a stop is asked for.
///
/// # Errors
/// When requests cannot be listed or deleted.
pub async fn run(client: Client, stop: Shutdown) -> anyhow::Result<()> {
    let rest = Rest::new(client);
    loop {
        let list: Option<List> = rest.get(REQUESTS).await.context("list the requests")?;
        let now = Timestamp::now();
        let items = list.unwrap_or_default().items;
        for request in items.iter().filter(|request| is_old(request, now)) {
            let path = format!("{REQUESTS}/{}", request.metadata.name);
            let options = uid_precondition(&request.metadata.uid);
            rest.delete(&path, &options)
                .await
                .context("delete a request")?;
        }
        if stop.guard(tokio::time::sleep(INTERVAL)).await.is_none() {
            return Ok(());
        }
    }
}

/// Whether a request can go. Pure.
fn is_old(request: &Request, now: Timestamp) -> bool {
    let now_seconds = now.as_second();
    let decided = |of_type: &str| {
        let condition = request.condition(of_type);
        let at = condition.and_then(|one| one.last_update_time.as_deref());
        let at = at.and_then(|at| at.parse::<Timestamp>().ok());
        at.is_some_and(|at| now_seconds - at.as_second() > DECIDED_SECONDS)
    };
    let created = request.metadata.creation_timestamp;
    let is_past_pending =
        created.is_some_and(|at| now_seconds - at.0.div_euclid(1000) > PENDING_SECONDS);
    let is_issued = !request.status.certificate.is_empty();
    (is_issued && (decided("Approved") || has_expired(request, now)))
        || decided("Denied")
        || decided("Failed")
        || (!is_issued && is_past_pending)
}

/// Whether the certificate has expired.
fn has_expired(request: &Request, now: Timestamp) -> bool {
    let pem = STANDARD
        .decode(&request.status.certificate)
        .unwrap_or_default();
    let mut certificates = Pem::iter_from_buffer(&pem).filter_map(Result::ok);
    certificates.next().is_some_and(|block| {
        X509Certificate::from_der(&block.contents)
            .is_ok_and(|(_, parsed)| parsed.validity().not_after.timestamp() < now.as_second())
    })
}

#[cfg(test)]
mod tests {
    use super::super::request::{Condition, Status};
    use super::*;

    #[test]
    fn old_requests_go_by_what_became_of_them() {
        let now: Timestamp = "2026-01-03T00:00:00Z".parse().unwrap();
        let (long_ago, just_now) = ("2026-01-01T23:00:00Z", "2026-01-02T23:30:00Z");
        let table = [
            (long_ago, None, "", true),
            (just_now, None, "", false),
            (long_ago, Some(("Denied", just_now)), "c", false),
            (long_ago, Some(("Denied", long_ago)), "", true),
            (just_now, Some(("Failed", long_ago)), "", true),
            (just_now, Some(("Approved", long_ago)), "", false),
            (just_now, Some(("Approved", long_ago)), "c", true),
            (just_now, Some(("Approved", just_now)), "c", false),
        ];
        for (created, condition, certificate, expected) in table {
            let seconds = created.parse::<Timestamp>().unwrap().as_second();
            let mut request = Request {
                status: Status {
                    certificate: certificate.to_owned(),
                    ..Status::default()
                },
                ..Request::default()
            };
            request.metadata.creation_timestamp = Some(pandaemon_types::Timestamp(seconds * 1000));
            if let Some((of_type, at)) = condition {
                request.status.conditions.push(Condition {
                    of_type: of_type.to_owned(),
                    last_update_time: Some(at.to_owned()),
                    ..Condition::default()
                });
            }
            assert_eq!(is_old(&request, now), expected, "{created} {condition:?}");
        }
    }
}
