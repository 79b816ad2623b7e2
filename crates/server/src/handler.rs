//! The request handler: authenticates, authorizes and routes a request and makes the response.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, Response, request::Parts};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use pandaemon_machinery::{Scheme, Status, status::Result};

use crate::{
    api::{Api, Incoming},
    auth::{self, Attributes},
    body::{Body, BoxError},
    discovery, health, join, negotiate,
    request::{self, Query, Target, Verb},
    resource, response,
};

/// Maximum size of a request body, in bytes.
pub(crate) const MAX_BODY: usize = 3 << 20;

/// How long the body of a request may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

impl Api {
    /// Handles a request: every outcome, errors included, is a response.
    pub(crate) async fn handle<B>(self: Arc<Self>, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let target = request::parse_path(parts.uri.path());
        let query = Query::parse(parts.uri.query());
        let scheme = self.registry.scheme();
        let label = Label::of(&scheme, &parts.method, &target, &query);
        let form = negotiate::accepted(&parts.headers).unwrap_or_default();
        let is_head = parts.method == Method::HEAD;
        let answer = self.answer(scheme, parts, body, target, query).await;
        let mut response = answer.unwrap_or_else(|status| response::error(&form, &status));
        if is_head {
            *response.body_mut() = Body::empty();
        }
        let code = response.status().as_u16();
        self.metrics
            .observe(label.verb, &label.resource, code, started.elapsed());
        if code >= 500 {
            tracing::warn!(
                verb = label.verb,
                resource = label.resource,
                code,
                "request failed"
            );
        }
        response
    }

    async fn answer<B>(
        &self,
        scheme: Scheme,
        parts: Parts,
        body: B,
        target: Target,
        query: Query,
    ) -> Result<Response<Body>>
    where
        B: HttpBody<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        if parts.uri.path() == join::PATH {
            // Agents join with a token that authenticates no user.
            let body = read(body).await?;
            return join::answer(self, &parts, &body).await;
        }
        let user = auth::authenticate(&parts, &self.pki.tokens)?;
        let user = auth::impersonate(user, &parts.headers, &self.authorizers).await?;
        let verb = match &target {
            Target::Resource(path) => request::verb(&parts.method, path, &query),
            _ => None,
        };
        let checked_verb = request::authorization_verb(&parts.method, &target, verb);
        let path = parts.uri.path();
        let attributes = Attributes::of_request(&user, &checked_verb, &target, path);
        self.authorizers.check_request(&attributes).await?;
        let body = read(body).await?;
        let incoming = Incoming {
            parts,
            query,
            scheme,
            user,
            body,
        };
        match target {
            Target::Resource(path) => resource::answer(self, incoming, &path, verb).await,
            Target::Other => health::answer(self, &incoming),
            discovery => discovery::answer(self, &incoming, &discovery),
        }
    }
}

/// The labels of a request in the metrics.
struct Label {
    verb: &'static str,
    resource: String,
}

impl Label {
    fn of(scheme: &Scheme, method: &Method, target: &Target, query: &Query) -> Self {
        let Target::Resource(path) = target else {
            return Self {
                verb: "GET",
                resource: String::new(),
            };
        };
        let served = scheme.find_resource(&path.group, &path.version, &path.resource);
        let mut resource = served.map(|kind| kind.plural.clone()).unwrap_or_default();
        let sub = path
            .subresource
            .as_deref()
            .and_then(|name| served?.subresource(name));
        if let Some(sub) = sub {
            resource.push('/');
            resource.push_str(&sub.name);
        }
        let verb = request::verb(method, path, query).map_or("other", Verb::as_str);
        Self { verb, resource }
    }
}

async fn read<B>(body: B) -> Result<Bytes>
where
    B: HttpBody<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let too_large = || Status::too_large(format!("Request entity too large: limit is {MAX_BODY}"));
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect());
    match collected.await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Status::bad_request(format!(
            "cannot read the request body: {error}"
        ))),
        Err(_) => Err(Status::failure(
            504,
            "Timeout",
            format!(
                "Timeout: the request body did not arrive within {} seconds",
                BODY_TIMEOUT.as_secs()
            ),
        )),
    }
}
