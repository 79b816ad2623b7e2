//! An API server in memory that serves as much as an agent needs.

mod reviews;
mod watches;

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use kube::client::Body;
use pandaemon_machinery::{
    patch::{merge_patch, strategic_merge_patch},
    scheme::built_in,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use self::{
    reviews::Reviews,
    watches::{watch_object, watch_pods},
};

/// Longer than anything here takes; a test that waits longer fails.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The collection of requests for certificates.
const REQUESTS: &str = "certificatesigningrequests";

/// The objects of the server, and what was asked of it.
#[derive(Debug, Default)]
pub(super) struct State {
    version: u64,
    pods: BTreeMap<String, Value>,
    log: Vec<Value>,
    watchers: Vec<mpsc::Sender<Value>>,
    /// ConfigMaps and Secrets by collection and name.
    objects: BTreeMap<(String, String), Value>,
    /// The watches of such objects: collection and name, and where the events go.
    object_watchers: Vec<((String, String), mpsc::Sender<Value>)>,
    /// Accepted and refused requests: method and path.
    pub(super) requests: Vec<String>,
    /// The requests that are refused with 500: the beginning of method and path.
    refused: Option<String>,
    /// The `Status` that all requests get.
    refusal: Option<Value>,
    /// What reviews say.
    pub(super) reviews: Reviews,
    /// The requests that are not answered: the beginning of method and path.
    hung: Option<String>,
    /// When tokens expire, in seconds since 1970.
    token_expiry: i64,
    /// How many tokens were issued; the last one is `token-N`, followed by the suffix.
    pub(super) tokens: u32,
    /// How tokens end.
    pub(super) token_suffix: String,
    /// The messages of all events.
    pub(super) events: Vec<String>,
    down: bool,
    /// Watches tell nothing.
    silent: bool,
}

impl State {
    /// The status of a pod, if the pod exists.
    pub(super) fn status(&self, name: &str) -> Option<&Value> {
        self.pods.get(name)?.get("status")
    }

    /// The state of a pod's first container: its kind and the reason.
    pub(super) fn container_state(&self, name: &str) -> Option<String> {
        let states = self.status(name)?["containerStatuses"][0]["state"].as_object()?;
        let (kind, state) = states.iter().next()?;
        let reason = state["reason"].as_str().unwrap_or_default();
        Some(format!("{kind} {reason}").trim_end().to_owned())
    }

    /// Whether a pod is Ready.
    pub(super) fn is_ready(&self, name: &str) -> bool {
        let conditions = self.status(name).map(|status| &status["conditions"]);
        let conditions = conditions.and_then(Value::as_array).into_iter().flatten();
        conditions
            .into_iter()
            .any(|one| one["type"] == "Ready" && one["status"] == "True")
    }

    fn change(&mut self, kind: &str, name: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        match kind {
            "DELETED" => drop(self.pods.remove(name)),
            _ => drop(self.pods.insert(name.to_owned(), object.clone())),
        }
        let event = json!({ "type": kind, "object": object });
        if !self.silent {
            self.watchers
                .retain(|watcher| watcher.try_send(event.clone()).is_ok());
        }
        self.log.push(event);
        object
    }

    fn change_object(&mut self, collection: &str, name: &str, mut object: Value) {
        self.version += 1;
        object["metadata"] = json!({
            "name": name, "namespace": "default", "uid": name,
            "resourceVersion": self.version.to_string(),
        });
        let key = (collection.to_owned(), name.to_owned());
        let event = json!({ "type": "MODIFIED", "object": object });
        for (_, watcher) in self.object_watchers.iter().filter(|(of, _)| *of == key) {
            let _ended = watcher.try_send(event.clone());
        }
        self.objects.insert(key, object);
    }

    /// The CertificateSigningRequest of this name, if there is one.
    pub(super) fn request(&self, name: &str) -> Option<&Value> {
        self.objects.get(&(REQUESTS.to_owned(), name.to_owned()))
    }

    fn since(&self, version: u64) -> Vec<Value> {
        let newer = |event: &&Value| {
            let at = event["object"]["metadata"]["resourceVersion"].as_str();
            at.and_then(|at| at.parse::<u64>().ok()) > Some(version)
        };
        self.log.iter().filter(newer).cloned().collect()
    }
}

/// An API server in memory. Clones share their state.
#[derive(Debug, Clone, Default)]
pub(super) struct FakeApi {
    state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<()>>,
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

impl FakeApi {
    /// A client of this server.
    pub(super) fn client(&self) -> kube::Client {
        let this = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let this = this.clone();
            async move { this.serve(request).await }
        });
        kube::Client::new(service, "default")
    }

    /// Creates a pod, or replaces it.
    pub(super) fn apply(&self, pod: &Value) {
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        self.state.lock().change("MODIFIED", &name, pod.clone());
        self.changed.send_replace(());
    }

    /// Marks a pod as deleted with this grace period, as a DELETE request does.
    pub(super) fn delete(&self, name: &str, grace_seconds: i64) {
        let mut state = self.state.lock();
        let mut pod = state.pods[name].clone();
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(grace_seconds);
        state.change("MODIFIED", name, pod);
    }

    /// Sets a condition in the status of a pod, as another client may.
    pub(super) fn set_condition(&self, name: &str, kind: &str, status: &str) {
        let mut state = self.state.lock();
        let mut pod = state.pods[name].clone();
        let conditions = pod["status"]["conditions"].as_array_mut().unwrap();
        conditions.retain(|one| one["type"] != kind);
        conditions.push(json!({ "type": kind, "status": status }));
        state.change("MODIFIED", name, pod);
    }

    /// Creates a config map with one key, or replaces it.
    pub(super) fn apply_config_map(&self, name: &str, key: &str, value: &str) {
        let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { key: value } });
        self.state.lock().change_object("configmaps", name, object);
    }

    /// Creates a secret with one key, or replaces it.
    pub(super) fn apply_secret(&self, name: &str, key: &str, value: &str) {
        let data = json!({ key: BASE64_STANDARD.encode(value) });
        let object = json!({ "apiVersion": "v1", "kind": "Secret", "data": data });
        self.state.lock().change_object("secrets", name, object);
    }

    /// Sets the status of a CertificateSigningRequest.
    pub(super) fn set_request_status(&self, name: &str, status: Value) {
        let mut state = self.state.lock();
        let mut request = state.request(name).unwrap().clone();
        request["status"] = status;
        state.change_object(REQUESTS, name, request);
    }

    /// Removes the object of a pod.
    pub(super) fn remove(&self, name: &str) {
        let mut state = self.state.lock();
        let pod = state.pods[name].clone();
        state.change("DELETED", name, pod);
    }

    /// Lets every request fail to connect, and ends the watches, or ends that.
    pub(super) fn set_down(&self, down: bool) {
        let mut state = self.state.lock();
        state.down = down;
        state.watchers.clear();
        state.object_watchers.clear();
    }

    /// Lets watches tell nothing of what happens from now on, or ends that.
    pub(super) fn set_silent(&self, silent: bool) {
        self.state.lock().silent = silent;
    }

    /// Refuses requests that begin with this method and path with status 500.
    pub(super) fn refuse(&self, request: Option<&str>) {
        self.state.lock().refused = request.map(str::to_owned);
    }

    /// Answers all requests with this `Status`, and ends the watches, or ends that.
    pub(super) fn refuse_all(&self, status: Option<Value>) {
        let mut state = self.state.lock();
        state.refusal = status;
        state.watchers.clear();
        state.object_watchers.clear();
    }

    /// Answers no request that begins with this method and path, until the next call.
    pub(super) fn hang(&self, request: Option<&str>) {
        self.state.lock().hung = request.map(str::to_owned);
        self.changed.send_replace(());
    }

    /// Lets the tokens that are issued from now on expire at this time, in seconds since 1970.
    pub(super) fn set_token_expiry(&self, at: i64) {
        self.state.lock().token_expiry = at;
    }

    /// Changes the state.
    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
    }

    /// Looks at the state.
    pub(super) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock())
    }

    /// Waits until the state is as wanted.
    pub(super) async fn until(&self, what: &str, wanted: impl Fn(&State) -> bool) {
        let mut changed = self.changed.subscribe();
        let wait = async {
            while !wanted(&self.state.lock()) {
                changed.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(TIMEOUT, wait).await.is_err() {
            let state = self.state.lock();
            let statuses: Vec<_> = state.pods.values().map(|pod| &pod["status"]).collect();
            panic!(
                "waited too long for: {what}\nrequests: {:#?}\nevents: {:#?}\nstatuses: {statuses:#?}",
                state.requests, state.events
            );
        }
    }

    async fn serve(&self, request: Request<Body>) -> Result<Answer, std::io::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes());
        let body = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or(Value::Null);
        let asked = format!("{} {}", head.method, head.uri.path());
        self.take(&asked)?;
        let mut changed = self.changed.subscribe();
        while self.is_hung(&asked) {
            let _sender_lives = changed.changed().await;
        }
        let mut state = self.state.lock();
        let refused = state.refused.as_ref();
        let answer = if let Some(refusal) = &state.refusal {
            refuse(refusal)
        } else if refused.is_some_and(|refused| asked.starts_with(refused)) {
            status(StatusCode::INTERNAL_SERVER_ERROR)
        } else {
            respond(&mut state, &head, &body)
        };
        drop(state);
        self.changed.send_replace(());
        Ok(answer)
    }

    fn take(&self, asked: &str) -> Result<(), std::io::Error> {
        let mut state = self.state.lock();
        if state.down {
            return Err(std::io::ErrorKind::ConnectionRefused.into());
        }
        state.requests.push(asked.to_owned());
        drop(state);
        self.changed.send_replace(());
        Ok(())
    }

    fn is_hung(&self, asked: &str) -> bool {
        let state = self.state.lock();
        state
            .hung
            .as_ref()
            .is_some_and(|hung| asked.starts_with(hung))
    }
}

fn respond(state: &mut State, head: &http::request::Parts, body: &Value) -> Answer {
    let parts: Vec<&str> = head.uri.path().split('/').skip(1).collect();
    let query = head.uri.query().unwrap_or_default();
    match (&head.method, parts.as_slice()) {
        (&Method::GET, [.., "pods"]) if query.contains("watch=") => watch_pods(state, query),
        (&Method::GET, [.., "pods"]) => {
            let items: Vec<&Value> = state.pods.values().collect();
            let meta = json!({ "resourceVersion": state.version.to_string() });
            object(
                &json!({ "kind": "PodList", "apiVersion": "v1", "metadata": meta, "items": items }),
            )
        }
        (&Method::GET, [.., collection @ ("configmaps" | "secrets" | REQUESTS)]) => {
            watch_object(state, collection, query)
        }
        (&Method::GET, [.., "configmaps", name]) => {
            let key = ("configmaps".to_owned(), (*name).to_owned());
            let found = state.objects.get(&key);
            found.map_or_else(|| status(StatusCode::NOT_FOUND), object)
        }
        (&Method::POST, [.., REQUESTS]) => {
            let name = body["metadata"]["name"].as_str().unwrap();
            if state.request(name).is_some() {
                return refuse(&json!({
                    "kind": "Status", "status": "Failure", "reason": "AlreadyExists", "code": 409,
                }));
            }
            state.change_object(REQUESTS, name, body.clone());
            object(body)
        }
        (&Method::PATCH, [.., "pods", name, "status"]) => match state.pods.get(*name) {
            Some(pod) if pod["metadata"]["uid"] == body["metadata"]["uid"] => {
                let pod = patched(pod, head, body);
                object(&state.change("MODIFIED", name, pod))
            }
            Some(_) => status(StatusCode::CONFLICT),
            None => status(StatusCode::NOT_FOUND),
        },
        (&Method::DELETE, [.., "pods", name]) => match state.pods.get(*name).cloned() {
            Some(pod) => {
                assert_eq!(body["gracePeriodSeconds"], 0);
                assert_eq!(body["preconditions"]["uid"], pod["metadata"]["uid"]);
                object(&state.change("DELETED", name, pod))
            }
            None => status(StatusCode::NOT_FOUND),
        },
        (&Method::POST, [.., "serviceaccounts", _, "token"]) => {
            state.tokens += 1;
            let expiry = jiff::Timestamp::from_second(state.token_expiry).unwrap();
            let mut request = body.clone();
            let token = format!("token-{}{}", state.tokens, state.token_suffix);
            request["status"] =
                json!({ "token": token, "expirationTimestamp": expiry.to_string() });
            object(&request)
        }
        (&Method::POST, [.., "tokenreviews" | "subjectaccessreviews"]) => {
            object(&state.reviews.answer(body))
        }
        (&Method::POST, [.., "events"]) => {
            let message = body["message"].as_str().unwrap_or_default();
            state.events.push(message.to_owned());
            object(body)
        }
        _ => status(StatusCode::NOT_FOUND),
    }
}

fn patched(pod: &Value, head: &http::request::Parts, body: &Value) -> Value {
    let patch = body.to_string();
    let patched = match head.headers["content-type"].to_str().unwrap() {
        "application/strategic-merge-patch+json" => {
            let kind = built_in().find_resource("", "v1", "pods").unwrap();
            strategic_merge_patch(kind, pod, patch.as_bytes())
        }
        "application/merge-patch+json" => merge_patch(pod, patch.as_bytes()),
        other => panic!("a patch of type {other}"),
    };
    patched.unwrap()
}

fn object(value: &Value) -> Answer {
    Response::new(Full::new(Bytes::from(value.to_string())).boxed())
}

fn refuse(status: &Value) -> Answer {
    let mut answer = object(status);
    let code = status["code"]
        .as_u64()
        .and_then(|code| u16::try_from(code).ok());
    *answer.status_mut() = StatusCode::from_u16(code.unwrap()).unwrap();
    answer
}

fn status(code: StatusCode) -> Answer {
    let reason = code.canonical_reason().unwrap_or_default();
    let mut answer = object(&json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "message": reason, "reason": reason, "code": code.as_u16(),
    }));
    *answer.status_mut() = code;
    answer
}
