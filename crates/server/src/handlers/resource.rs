//! The handlers of resource requests: they find the kind, check the verb, call the registry, and
//! render the outcome.

use std::time::Duration;

use http::Response;
use pandaemon_machinery::{
    Kind, KindRef, Status,
    decode::{self, MediaType},
    status::Result,
};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    api::{Api, Incoming},
    handlers::{
        list::ListBody,
        resource_request::ResourceRequest,
        response, subresources,
        watch::{WatchBody, WatchOptions, error_line},
    },
    http::{
        body::Body,
        negotiate,
        request::{ResourcePath, Verb},
    },
    registry::{delete::Deleted, options::DeleteOptions, patch::PatchType, read::ListOptions},
};

/// Handles a resource request.
///
/// # Errors
/// The status of the failure.
pub(crate) async fn answer(
    api: &Api,
    incoming: Incoming,
    path: &ResourcePath,
    kind: Option<KindRef>,
    verb: Option<Verb>,
) -> Result<Response<Body>> {
    let Some(kind) = kind else {
        let known = incoming
            .scheme
            .kinds()
            .iter()
            .any(|kind| kind.group == path.group && kind.version == path.version);
        if is_list_of_definitions(path, verb) {
            return no_definitions(api, &incoming);
        }
        return match known {
            true => Err(Status::path_not_found()),
            false => Ok(response::text(404, "404 page not found\n")),
        };
    };
    if !kind.is_namespaced() && path.namespace.is_some() {
        return Err(Status::path_not_found());
    }
    let verb = verb.ok_or_else(Status::method_not_allowed)?;
    check_verb(&kind, path, verb)?;
    let request = ResourceRequest {
        api,
        kind: KindRef::clone(&kind),
        path,
        verb,
        incoming,
    };
    let mut response = match path.subresource.as_deref() {
        None => request.handle().await,
        Some("status" | "approval" | "ephemeralcontainers" | "finalize") => request.handle().await,
        Some(_) => subresources::answer(request).await,
    }?;
    if let Some(text) = kind.strategy.deprecation() {
        response::add_warnings(&mut response, &[text.into()]);
    }
    Ok(response)
}

fn is_list_of_definitions(path: &ResourcePath, verb: Option<Verb>) -> bool {
    verb == Some(Verb::List)
        && path.namespace.is_none()
        && (path.group.as_str(), path.resource.as_str())
            == ("apiextensions.k8s.io", "customresourcedefinitions")
}

/// An empty list of CustomResourceDefinitions. `kubectl apply` lists them before it reports an
/// unknown kind.
fn no_definitions(api: &Api, incoming: &Incoming) -> Result<Response<Body>> {
    let form = incoming.form()?;
    let list = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinitionList",
        "metadata": {"resourceVersion": api.registry.cache.revision().to_string()},
        "items": [],
    });
    Ok(response::value(200, &form, &list))
}

fn check_verb(kind: &Kind, path: &ResourcePath, verb: Verb) -> Result<()> {
    let verbs = match path.subresource.as_deref() {
        None => &kind.verbs,
        Some(name) => {
            &kind
                .subresource(name)
                .ok_or_else(Status::path_not_found)?
                .verbs
        }
    };
    if !verbs.iter().any(|known| known == verb.as_str()) {
        return Err(Status::method_not_allowed());
    }
    // A namespaced kind without namespace supports list and watch only.
    let is_across = kind.is_namespaced() && path.namespace.is_none();
    if is_across && (path.name.is_some() || !matches!(verb, Verb::List | Verb::Watch)) {
        let is_review = verb == Verb::Create && path.name.is_none();
        return Err(if is_review || path.name.is_none() {
            Status::method_not_allowed()
        } else {
            Status::path_not_found()
        });
    }
    Ok(())
}

impl ResourceRequest<'_> {
    /// Handles a request to an object or to a part of it, such as `status`.
    async fn handle(self) -> Result<Response<Body>> {
        match self.verb {
            Verb::Get => self.get().await,
            Verb::List => self.list().await,
            Verb::Watch => self.watch().await,
            Verb::Create if !self.kind.is_stored() => subresources::answer_unstored(&self).await,
            Verb::Create => self.create().await,
            Verb::Update => self.update().await,
            Verb::Patch => self.patch().await,
            Verb::Delete => self.delete().await,
            Verb::DeleteCollection => self.delete_collection().await,
        }
    }

    async fn get(&self) -> Result<Response<Body>> {
        let view = self.view()?;
        let query = &self.incoming.query;
        let object = self.api.registry.get(&self.call()?, query).await?;
        Ok(response::respond(
            200,
            &view.form,
            response::object_body(&self.kind, &view, &object),
        ))
    }

    async fn list(&self) -> Result<Response<Body>> {
        let view = self.view()?;
        let namespace = self.path.namespace.as_deref().unwrap_or_default();
        let options = ListOptions::parse(&self.kind, namespace, &self.incoming.query, false)?;
        let (meta, objects) = self.api.registry.list(&options).await?;
        Ok(response::respond(
            200,
            &view.form,
            Body::List(Box::new(ListBody::new(&self.kind, &view, &meta, objects))),
        ))
    }

    async fn watch(&self) -> Result<Response<Body>> {
        let view = self.view()?;
        let namespace = self.path.namespace.as_deref().unwrap_or_default();
        let options = ListOptions::parse(&self.kind, namespace, &self.incoming.query, true)?;
        let body = match self.api.registry.watch(&options).await? {
            Err(status) => Body::full(error_line(&status)),
            Ok(started) => {
                let options = WatchOptions {
                    deadline: Instant::now() + watch_timeout(options.timeout_seconds),
                    bookmarks: options.bookmarks,
                    mark_initial: options.initial_events == Some(true) && options.bookmarks,
                };
                let cache = std::sync::Arc::clone(&self.api.registry.cache);
                Body::Watch(Box::new(WatchBody::new(
                    cache,
                    KindRef::clone(&self.kind),
                    view,
                    started,
                    options,
                )))
            }
        };
        Ok(response::respond(200, &view.form, body))
    }

    async fn create(&self) -> Result<Response<Body>> {
        let (view, call) = (self.view()?, self.call()?);
        let media = negotiate::body_media(self.incoming.headers())?;
        let registry = &self.api.registry;
        let written = registry.post(&call, media, &self.incoming.body).await?;
        Ok(self.written(&view, &written))
    }

    async fn update(&self) -> Result<Response<Body>> {
        let (view, call) = (self.view()?, self.call()?);
        let media = negotiate::body_media(self.incoming.headers())?;
        let registry = &self.api.registry;
        let written = registry.put(&call, media, &self.incoming.body).await?;
        Ok(self.written(&view, &written))
    }

    async fn patch(&self) -> Result<Response<Body>> {
        let view = self.view()?;
        let content_type = negotiate::content_type(self.incoming.headers());
        let form = PatchType::parse(&self.kind, content_type)?;
        let call = self.call_with(form == PatchType::Apply)?;
        let written = self
            .api
            .registry
            .patch(&call, form, &self.incoming.body)
            .await?;
        Ok(self.written(&view, &written))
    }

    fn delete_options(&self) -> Result<DeleteOptions> {
        let body = &self.incoming.body;
        if body.is_empty() {
            return DeleteOptions::parse(&self.incoming.query, None);
        }
        let media = negotiate::body_media(self.incoming.headers())?;
        let scheme = &self.incoming.scheme;
        let value = match (media, scheme.find_kind("", "v1", "DeleteOptions")) {
            (MediaType::Protobuf, Some(kind)) => {
                decode::decode(scheme, kind, body, media, decode::FieldValidation::Ignore)?.value
            }
            (MediaType::Yaml, _) => decode::parse_yaml(body)
                .map_err(|e| Status::bad_request(format!("error decoding DeleteOptions: {e}")))?,
            _ => decode::parse_json(body)
                .map_err(|e| Status::bad_request(format!("error decoding DeleteOptions: {e}")))?,
        };
        DeleteOptions::parse(&self.incoming.query, Some(&value))
    }

    async fn delete(&self) -> Result<Response<Body>> {
        let (view, call) = (self.view()?, self.call()?);
        let options = self.delete_options()?;
        let deletion = self.api.registry.delete(&call, &options).await?;
        let mut response = match deletion.outcome {
            Deleted::Object(object) => response::respond(
                200,
                &view.form,
                response::object_body(&self.kind, &view, &object),
            ),
            Deleted::Gone(status) => response::error(&view.form, &status),
        };
        response::add_warnings(&mut response, &deletion.warnings);
        Ok(response)
    }

    async fn delete_collection(&self) -> Result<Response<Body>> {
        let (view, call) = (self.view()?, self.call()?);
        let options = self.delete_options()?;
        let selected =
            ListOptions::parse(&self.kind, &call.namespace, &self.incoming.query, false)?
                .for_deletion();
        let deleted = self
            .api
            .registry
            .delete_collection(&call, &options, &selected);
        let (meta, objects, warnings) = deleted.await?;
        let body = Body::List(Box::new(ListBody::new(&self.kind, &view, &meta, objects)));
        let mut response = response::respond(200, &view.form, body);
        response::add_warnings(&mut response, &warnings);
        Ok(response)
    }
}

/// The longest duration of a watch: rights are checked when it starts.
const MAX_WATCH: Duration = Duration::from_secs(24 * 3600);

/// The duration of a watch with this `timeoutSeconds`. Without it, or with 0, it is a random time
/// of 30 to 60 minutes, so that watches do not all end together (upstream's
/// `--min-request-timeout` and `GetTimeoutForWatch`).
fn watch_timeout(seconds: Option<i64>) -> Duration {
    match seconds {
        None | Some(0) => {
            let random = u64::from(uuid::Uuid::new_v4().as_bytes()[0]);
            Duration::from_secs(1800 + random * 1800 / 256)
        }
        Some(seconds) => Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(MAX_WATCH),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_lasts_as_long_as_the_client_says_but_not_for_ever() {
        let minutes = |seconds| watch_timeout(seconds).as_secs() / 60;
        assert_eq!(minutes(Some(120)), 2);
        assert_eq!(minutes(Some(i64::MAX)), 24 * 60);
        assert_eq!(minutes(Some(-1)), 0);
        for default in [None, Some(0)] {
            assert!((30..60).contains(&minutes(default)));
        }
    }
}
