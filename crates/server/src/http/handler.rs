//! The request handler: authenticates, authorizes and routes a request and makes the response.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Version, request::Parts};
use http_body::Body as HttpBody;
use pandaemon_machinery::{KindRef, Scheme, Status, status::Result};
use pandaemon_runtime::connections::Request as Progress;

use crate::{
    api::{Api, Incoming},
    audit::{Record, add_audit_id, audit_id},
    auth::{self, ANONYMOUS, Attributes, User, front_proxy},
    backup::PATH as PATH_OF_BACKUPS,
    flow_control::{self, Admitted, Cost},
    handlers::{backup, discovery, health, join, large, response, rotate_keys},
    http::{
        body::{Body, BoxError},
        deadline, limits,
        negotiate::{self, Form},
        request::{self, Query, Target, Verb},
    },
    metrics::RequestLabels,
    pki::PeerCertificate,
};

impl Api {
    /// Handles a request: every outcome, errors included, is a response.
    pub(crate) async fn handle<B>(self: Arc<Self>, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        if let Err(status) = limits::check_head(&parts) {
            return response::error(&Form::default(), &status);
        }
        let head = Head::new(self.registry.scheme(), parts);
        let labels = head.labels();
        let form = head.form.unwrap_or_default();
        let is_head = head.parts.method == Method::HEAD;
        let id = audit_id(&head.parts.headers);
        let mut record = Record::default();
        let mut admitted = Admitted::default();
        // What is wrong with it is an answer, too.
        let time = head.time.as_ref().ok().copied().flatten();
        let answer = {
            // Pinned here: it is large, and would be moved into the timeout.
            let answer = pin!(self.answer(head, body, &id, &mut record, &mut admitted));
            match time {
                Some(time) => tokio::time::timeout_at((started + time).into(), answer)
                    .await
                    .unwrap_or_else(|_| Err(deadline::passed())),
                None => answer.await,
            }
        };
        let (mut response, failure) = match answer {
            Ok(response) => (response, None),
            Err(status) => (response::error(&form, &status), Some(status)),
        };
        response.body_mut().hold(admitted.seat.take());
        let pace = response.body().pace();
        let mut response = record.respond(response, failure.as_deref()).await;
        response.extensions_mut().insert(pace);
        add_audit_id(&mut response, id);
        admitted.add_headers(response.headers_mut());
        if is_head {
            *response.body_mut() = Body::empty();
        }
        let code = response.status().as_u16();
        if code >= 500 {
            tracing::warn!(
                verb = labels.verb,
                resource = labels.resource(),
                subresource = labels.subresource(),
                code,
                "request failed"
            );
        }
        self.metrics.observe(labels, code, started.elapsed());
        response
    }

    /// Refuses requests about objects after the watch cache has failed.
    fn check_served(&self, target: &Target, parts: &Parts) -> Result<()> {
        match target {
            Target::Resource(_) => self.registry.check_cache(),
            Target::Other if parts.uri.path() == rotate_keys::PATH => self.registry.check_cache(),
            _ => Ok(()),
        }
    }

    /// The user of a request, which is counted as one of that user.
    async fn authenticate(&self, parts: &Parts) -> Result<User> {
        let authenticated = self.authenticate_credentials(parts).await;
        let Some(progress) = parts.extensions.get::<Arc<Progress>>() else {
            return authenticated;
        };
        // An HTTP/2 connection of no user would allow very many requests at little cost. Upstream:
        // the feature `UnauthenticatedHTTP2DOSMitigation`.
        let is_known = matches!(&authenticated, Ok(user) if user.name != ANONYMOUS);
        if !is_known && parts.version == Version::HTTP_2 {
            progress.refuse_others();
        }
        let user = authenticated?;
        if is_known {
            progress.authenticated(&user.name).map_err(|why| {
                Status::too_many_requests(format!("{why}; please try again later"))
            })?;
        }
        Ok(user)
    }

    /// The user whose credentials a request has. A client certificate was verified in the
    /// handshake; it may have expired since, or be that of a node without rights.
    async fn authenticate_credentials(&self, parts: &Parts) -> Result<User> {
        if let Some(certificate) = parts.extensions.get::<Arc<PeerCertificate>>() {
            self.check_validity(certificate.validity())?;
            if let PeerCertificate::Client(certificate) = &**certificate {
                self.registry.check_node_key(certificate)?;
            }
        }
        self.authenticators.authenticate(parts).await
    }

    async fn answer<B>(
        self: &Arc<Self>,
        mut head: Head,
        body: B,
        id: &HeaderValue,
        record: &mut Record,
        admitted: &mut Admitted,
    ) -> Result<Response<Body>>
    where
        B: HttpBody<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        if head.parts.uri.path() == join::PATH {
            self.registry.check_cache()?;
            let user = join::authenticate(self, &head.parts).await?;
            let body = self.request_bodies.reserve("", &body)?.read(body).await?;
            return join::answer(self, &user, &body).await;
        }
        let verb = auth::verb_of(&head.parts.method, &head.target, head.verb);
        let fields = request::field_selector(&verb, &head.target, &head.query);
        let fields = fields.as_ref();
        let authenticated = match self.check_served(&head.target, &head.parts) {
            // Users and their rights are objects, too.
            Err(status) => Err(status),
            Ok(()) => self.authenticate(&head.parts).await,
        };
        // Upstream: `WithAuthentication`. Nothing that comes later may take them for something.
        front_proxy::HEADERS.remove(&mut head.parts.headers);
        let begin = |user: &User| {
            let path = head.parts.uri.path();
            let attributes = Attributes::of_request(user, &verb, &head.target, path, fields);
            let kind = head.kind.as_ref().map(|kind| (&head.scheme, kind));
            Record::begin(&self.auditor, &head.parts, id, &attributes, kind)
        };
        let user = match head.time.and(authenticated) {
            Ok(user) => user,
            Err(status) => {
                *record = begin(&User::default());
                return Err(status);
            }
        };
        *record = begin(&user);
        record.received().await?;
        // Until the request is answered.
        let mut reserved = self.request_bodies.reserve(&user.name, &body)?;
        let user = auth::impersonate(user, &head.parts.headers, &self.authorizers).await?;
        record.impersonated(&user);
        let path = head.parts.uri.path();
        let attributes = Attributes::of_request(&user, &verb, &head.target, path, fields);
        if !flow_control::is_exempt(&attributes) {
            let cost = Cost {
                cache: &self.registry.cache,
                attributes: &attributes,
                kind: head.kind.as_deref(),
                query: &head.query,
                body: body.size_hint().lower(),
            };
            self.flow_control.enter(&attributes, cost, admitted).await?;
        }
        let decision = self.authorizers.decide(&attributes).await;
        record.decided(&decision);
        auth::check_request(&attributes, &decision)?;
        let body = reserved.read(body).await?;
        record.body(&head.parts.headers, &body);
        let incoming = Incoming {
            parts: head.parts,
            query: head.query,
            accepted: head.form,
            scheme: head.scheme,
            user,
            annotations: record.annotations(),
            body,
        };
        match head.target {
            Target::Resource(path) => {
                large::answer(self, incoming, path, head.kind, head.verb).await
            }
            Target::Other if incoming.parts.uri.path() == rotate_keys::PATH => {
                rotate_keys::answer(self, &incoming).await
            }
            Target::Other if incoming.parts.uri.path() == PATH_OF_BACKUPS => {
                backup::answer(self, &incoming).await
            }
            Target::Other => health::answer(self, &incoming),
            discovery => discovery::answer(self, &incoming, &discovery),
        }
    }
}

/// The head of a request, and what it says, parsed once.
struct Head {
    parts: Parts,
    target: Target,
    query: Query,
    /// The verb; `None` for non-resource paths and methods that are not allowed there.
    verb: Option<Verb>,
    /// The negotiated form; `None` if the server supports no accepted one.
    form: Option<Form>,
    /// The kinds that are served now.
    scheme: Scheme,
    /// The kind of the path, if it is served.
    kind: Option<KindRef>,
    /// The time until the response has to begin; `None` for requests that last as long as their
    /// client wants, and for the rotation of keys, which takes what it takes.
    time: Result<Option<Duration>>,
}

impl Head {
    fn new(scheme: Scheme, parts: Parts) -> Self {
        let target = request::parse_path(parts.uri.path());
        let query = Query::parse(parts.uri.query());
        let (verb, kind) = match &target {
            Target::Resource(path) => (
                request::verb(&parts.method, path, &query),
                scheme.find_resource(&path.group, &path.version, &path.resource),
            ),
            _ => (None, None),
        };
        Self {
            kind: kind.cloned(),
            form: negotiate::accepted(&parts.headers),
            time: time(&parts, &target, verb, &query),
            parts,
            target,
            query,
            verb,
            scheme,
        }
    }

    /// The labels of the request in the metrics.
    fn labels(&self) -> RequestLabels {
        let Target::Resource(path) = &self.target else {
            return RequestLabels::new("GET", None, None);
        };
        let verb = self.verb.map_or("other", Verb::as_str);
        RequestLabels::new(verb, self.kind.clone(), path.subresource.as_deref())
    }
}

/// [`Head::time`] of a request.
fn time(
    parts: &Parts,
    target: &Target,
    verb: Option<Verb>,
    query: &Query,
) -> Result<Option<Duration>> {
    let (user, path) = (User::default(), parts.uri.path());
    let verb = auth::verb_of(&parts.method, target, verb);
    let attributes = Attributes::of_request(&user, &verb, target, path, None);
    if attributes.is_long_running() || path == rotate_keys::PATH {
        return Ok(None);
    }
    deadline::time_of(query).map(Some)
}
