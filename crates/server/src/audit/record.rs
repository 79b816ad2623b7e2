//! The record of a request: follows it through the handler and makes its events.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header, request::Parts};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use pandaemon_machinery::{KindRef, Scheme, Status, status::Result};
use pandaemon_types::time::rfc3339_micros;
use serde_json::Value;

use super::{
    Auditor,
    annotations::Annotations,
    body::AuditedBody,
    event::{API_VERSION, Event, KIND, ObjectRef, ResponseStatus, UserInfo},
    object,
    policy::{Level, Stage},
    sink::Sink,
};
use crate::{
    auth::{Attributes, Decision, User},
    http::{body::Body, stream_end::StreamEnd},
};

/// The header with the id of a request, in requests and responses.
const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
/// Number of characters of an id that a client sends.
const MAX_AUDIT_ID: usize = 64;

/// The address of a client; a request extension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub SocketAddr);

/// The record of a request. Nothing happens if nothing of it is to be written down.
#[derive(Debug, Default)]
pub(crate) struct Record(Option<Box<Recorded>>);

/// What is known of a request that is written down.
#[derive(Debug)]
struct Recorded {
    sink: Sink,
    level: Level,
    omit_stages: Vec<Stage>,
    omit_managed_fields: bool,
    audit_id: String,
    uri: String,
    verb: String,
    user: User,
    impersonated: Option<User>,
    source_ips: Vec<String>,
    user_agent: String,
    object_ref: Option<ObjectRef>,
    kind: Option<(Scheme, KindRef)>,
    received: String,
    status: Option<ResponseStatus>,
    request_object: Option<Value>,
    response_object: Option<Value>,
    annotations: Annotations,
    /// Whether no event may have what the request says.
    holds_secrets: bool,
    /// Whether the body of the response may take long.
    is_long_running: bool,
    is_complete: bool,
}

/// The id of a request: that which the client sent, or a new one.
pub(crate) fn audit_id(headers: &HeaderMap) -> HeaderValue {
    let sent = headers.get(AUDIT_ID).filter(|id| {
        let is_printable = id.to_str().is_ok_and(|id| !id.is_empty());
        is_printable && id.len() <= MAX_AUDIT_ID
    });
    sent.cloned().unwrap_or_else(|| {
        let id = uuid::Uuid::new_v4().to_string();
        // A UUID has no characters that a header cannot have.
        HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static(""))
    })
}

/// Adds the id to a response.
pub(crate) fn add_audit_id(response: &mut Response<Body>, id: HeaderValue) {
    response.headers_mut().insert(AUDIT_ID, id);
}

impl Record {
    /// Begins the record of a request of this user.
    pub(crate) fn begin(
        auditor: &Auditor,
        parts: &Parts,
        id: &HeaderValue,
        attributes: &Attributes<'_>,
        kind: Option<(&Scheme, &KindRef)>,
    ) -> Self {
        let Some(log) = &auditor.0 else {
            return Self(None);
        };
        let subresource = attributes.subresource;
        let holds_secrets = kind.is_some_and(|(_, kind)| kind.strategy.holds_secrets(subresource));
        let verdict = log.policy.evaluate(attributes, holds_secrets);
        if verdict.level == Level::None {
            return Self(None);
        }
        let user_agent = parts.headers.get(header::USER_AGENT);
        Self(Some(Box::new(Recorded {
            sink: log.sink.clone(),
            level: verdict.level,
            omit_stages: verdict.omit_stages.to_vec(),
            omit_managed_fields: verdict.omit_managed_fields,
            audit_id: id.to_str().unwrap_or_default().to_owned(),
            uri: parts
                .uri
                .path_and_query()
                .map_or("/", |it| it.as_str())
                .to_owned(),
            verb: attributes.verb.to_owned(),
            user: attributes.user.clone(),
            impersonated: None,
            source_ips: source_ips(parts),
            user_agent: user_agent
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .unwrap_or_default(),
            object_ref: attributes
                .is_resource_request
                .then(|| object_ref(attributes)),
            kind: kind.map(|(scheme, kind)| (scheme.clone(), KindRef::clone(kind))),
            received: rfc3339_micros(Timestamp::now()),
            status: None,
            request_object: None,
            response_object: None,
            annotations: Annotations::collected(),
            holds_secrets,
            is_long_running: attributes.is_long_running(),
            is_complete: false,
        })))
    }

    /// Writes the first event, before the body is read.
    ///
    /// # Errors
    /// 500 if it cannot be written and the log is strict.
    pub(crate) async fn received(&self) -> Result<()> {
        let Some(recorded) = &self.0 else {
            return Ok(());
        };
        let Some(line) = recorded.line(Stage::RequestReceived) else {
            return Ok(());
        };
        match recorded.sink.put_first(line).await {
            true => Ok(()),
            false => Err(Status::internal("failed to store audit event")),
        }
    }

    /// The user as whom the request is handled.
    pub(crate) fn impersonated(&mut self, user: &User) {
        if let Some(recorded) = &mut self.0
            && recorded.user != *user
        {
            recorded.impersonated = Some(user.clone());
        }
    }

    /// Whether the user may do it.
    pub(crate) fn decided(&self, decision: &Decision) {
        let (word, reason) = match decision {
            Decision::Allow(reason) => ("allow", reason),
            Decision::Deny(reason) | Decision::NoOpinion(reason) => ("forbid", reason),
        };
        let annotations = self.annotations();
        annotations.add("authorization.k8s.io/decision", word);
        annotations.add("authorization.k8s.io/reason", reason);
    }

    /// The body of the request.
    pub(crate) fn body(&mut self, headers: &HeaderMap, body: &Bytes) {
        if let Some(recorded) = &mut self.0 {
            recorded.take_body(headers, body);
        }
    }

    /// The annotations of the events.
    pub(crate) fn annotations(&self) -> Annotations {
        let recorded = self.0.as_ref();
        recorded
            .map(|it| it.annotations.clone())
            .unwrap_or_default()
    }

    /// The response, whose last event is written at its end.
    pub(crate) async fn respond(
        mut self,
        mut response: Response<Body>,
        failure: Option<&Status>,
    ) -> Response<Body> {
        let Some(mut recorded) = self.0.take() else {
            return response;
        };
        let status = ResponseStatus::new(response.status().as_u16(), failure);
        recorded.status = Some(match recorded.holds_secrets {
            true => status.without_quotations(),
            false => status,
        });
        if recorded.is_long_running
            && let Some(line) = recorded.line(Stage::ResponseStarted)
        {
            recorded.sink.put(line).await;
        }
        if let Some(streams) = response.extensions_mut().remove::<StreamEnd>() {
            streams.drops(recorded);
            return response;
        }
        let keeps = recorded.level == Level::RequestResponse && !recorded.is_long_running;
        if keeps || recorded.is_long_running {
            let media = response.headers().get(header::CONTENT_TYPE);
            let media = media.and_then(|it| it.to_str().ok()).unwrap_or_default();
            let media = media.to_owned();
            let complete = move |kept: Option<Bytes>| {
                recorded.response_object = kept.and_then(|body| recorded.object(&media, &body));
                recorded.complete(Stage::ResponseComplete);
            };
            let body = std::mem::replace(response.body_mut(), Body::empty());
            let body = AuditedBody::new(body, keeps, Box::new(complete));
            *response.body_mut() = Body::Boxed(body.boxed_unsync());
            return response;
        }
        recorded.is_complete = true;
        if let Some(line) = recorded.line(Stage::ResponseComplete) {
            recorded.sink.put(line).await;
        }
        response
    }
}

impl Recorded {
    fn take_body(&mut self, headers: &HeaderMap, body: &Bytes) {
        if body.is_empty() || self.kind.is_none() {
            return;
        }
        if let Some(object_ref) = &mut self.object_ref
            && matches!(self.verb.as_str(), "create" | "update")
        {
            let found = object::identity(body);
            let fill = |field: &mut String, value: String| {
                if field.is_empty() {
                    *field = value;
                }
            };
            fill(&mut object_ref.name, found.name);
            fill(&mut object_ref.namespace, found.namespace);
            object_ref.uid = found.uid;
            object_ref.resource_version = found.resource_version;
        }
        if self.level >= Level::Request {
            let media = headers.get(header::CONTENT_TYPE);
            let media = media.and_then(|it| it.to_str().ok()).unwrap_or_default();
            self.request_object = self.object(media, body);
        }
    }

    fn object(&self, media: &str, body: &Bytes) -> Option<Value> {
        let kind = self.kind.as_ref().map(|(scheme, kind)| (scheme, kind));
        object::decoded(media, body, kind, self.omit_managed_fields)
    }

    /// The line of the event of a stage, unless the policy omits it.
    fn line(&self, stage: Stage) -> Option<Vec<u8>> {
        if self.omit_stages.contains(&stage) {
            return None;
        }
        let event = Event {
            kind: KIND,
            api_version: API_VERSION,
            level: self.level,
            audit_id: &self.audit_id,
            stage,
            request_uri: &self.uri,
            verb: &self.verb,
            user: UserInfo::of(&self.user),
            impersonated_user: self.impersonated.as_ref().map(UserInfo::of),
            source_ips: &self.source_ips,
            user_agent: &self.user_agent,
            object_ref: self.object_ref.as_ref(),
            response_status: self.status.as_ref(),
            request_object: self.request_object.as_ref(),
            response_object: self.response_object.as_ref(),
            request_received_timestamp: &self.received,
            stage_timestamp: match stage {
                Stage::RequestReceived => self.received.clone(),
                _ => rfc3339_micros(Timestamp::now()),
            },
            annotations: self.annotations.all(),
        };
        Some(event.line())
    }

    /// Writes the last event, without waiting for room.
    fn complete(&mut self, stage: Stage) {
        self.is_complete = true;
        if let Some(line) = self.line(stage) {
            self.sink.try_put(line);
        }
    }
}

impl Drop for Recorded {
    /// The streams of an upgraded connection have ended, or the handler was dropped before it
    /// answered: the client has gone, or it panicked.
    fn drop(&mut self) {
        if self.is_complete {
            return;
        }
        let (stage, status) = match std::thread::panicking() {
            true => (Stage::Panic, ResponseStatus::panicked()),
            false => (Stage::ResponseComplete, ResponseStatus::closed_early()),
        };
        self.status.get_or_insert(status);
        self.complete(stage);
    }
}

/// Upstream: `net.SourceIPs`.
fn source_ips(parts: &Parts) -> Vec<String> {
    let mut addresses = Vec::new();
    let mut add = |text: &str| {
        if let Ok(address) = text.trim().parse::<std::net::IpAddr>() {
            let address = address.to_string();
            if addresses.last() != Some(&address) {
                addresses.push(address);
            }
        }
    };
    let text = |name| {
        parts
            .headers
            .get(name)
            .and_then(|it: &HeaderValue| it.to_str().ok())
    };
    text("x-forwarded-for")
        .into_iter()
        .flat_map(|it| it.split(','))
        .for_each(&mut add);
    text("x-real-ip").into_iter().for_each(&mut add);
    if let Some(Peer(peer)) = parts.extensions.get::<Peer>() {
        add(&peer.ip().to_string());
    }
    addresses
}

fn object_ref(attributes: &Attributes<'_>) -> ObjectRef {
    ObjectRef {
        resource: attributes.resource.to_owned(),
        namespace: attributes.namespace.to_owned(),
        name: attributes.name.to_owned(),
        api_group: attributes.api_group.to_owned(),
        api_version: attributes.api_version.to_owned(),
        subresource: attributes.subresource.to_owned(),
        ..ObjectRef::default()
    }
}
