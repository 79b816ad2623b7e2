//! Discovery: which resources the server serves. The garbage collector and the namespace loop work
//! on all of them. Aggregated discovery takes two requests; servers without it are asked for each
//! group.
//!
//! Only the preferred version of each group is looked at, as all versions show the same objects.

use std::{collections::BTreeMap, sync::Arc};

use http::{Request, header};
use kube::Client;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::object_meta::Key;

const ACCEPT: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// A resource that can be listed. Upstream: `APIResource`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiResource {
    /// The API group; empty for the core group.
    pub group: String,
    /// The preferred version.
    pub version: String,
    /// The plural name in paths.
    pub plural: String,
    /// The name in objects.
    pub kind: String,
    /// Whether objects are in namespaces.
    pub namespaced: bool,
    /// What can be done.
    pub verbs: Vec<String>,
}

impl ApiResource {
    /// Whether the kind supports all these verbs.
    #[must_use]
    pub fn can(&self, verbs: &[&str]) -> bool {
        verbs
            .iter()
            .all(|verb| self.verbs.iter().any(|known| known == verb))
    }

    /// The path of all objects of the kind, or of those in one namespace.
    #[must_use]
    pub fn collection(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        if namespace.is_empty() {
            format!("{root}/{}", self.plural)
        } else {
            format!("{root}/namespaces/{namespace}/{}", self.plural)
        }
    }

    /// The path of one object.
    #[must_use]
    pub fn object(&self, key: &Key) -> String {
        format!("{}/{}", self.collection(&key.namespace), key.name)
    }

    /// `plural.group`, as upstream's messages say it (with the dot also for the core group).
    #[must_use]
    pub fn dotted(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }
}

/// The resources of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiResources {
    all: Vec<Arc<ApiResource>>,
    /// By group and kind: owner references name kinds so, with any version.
    by_name: BTreeMap<(String, String), Arc<ApiResource>>,
}

impl ApiResources {
    /// Indexes resources by group and kind.
    #[must_use]
    pub fn new(kinds: impl IntoIterator<Item = ApiResource>) -> Self {
        let all: Vec<Arc<ApiResource>> = kinds.into_iter().map(Arc::new).collect();
        let by_name = all
            .iter()
            .map(|kind| ((kind.group.clone(), kind.kind.clone()), kind.clone()))
            .collect();
        Self { all, by_name }
    }

    /// Every kind that the server serves.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ApiResource>> {
        self.all.iter()
    }

    /// The kind that an owner reference's `apiVersion` and `kind` name.
    #[must_use]
    pub fn find(&self, api_version: &str, kind: &str) -> Option<&Arc<ApiResource>> {
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        self.by_name.get(&(group.to_owned(), kind.to_owned()))
    }
}

/// Why the resources of a group are not known.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// A request failed.
    #[error(transparent)]
    Request(#[from] kube::Error),
    /// The server of the group cannot be reached, and its resources may have changed since.
    #[error("stale GroupVersion discovery: {0}")]
    Stale(String),
}

/// The resources that could be discovered, and the groups that could not.
#[derive(Debug, Default)]
pub struct Available {
    /// The resources in the preferred version of each group.
    pub resources: ApiResources,
    /// Groups or group versions whose resources are not known.
    pub failures: Vec<(String, DiscoveryError)>,
    /// Group versions that are malformed, such as `a/b/c`.
    pub malformed: Vec<String>,
}

/// Asks the server which resources it serves, in the preferred version of each group.
///
/// # Errors
/// When the server cannot be reached, or a group cannot be read: half an answer would look like
/// kinds that are gone.
pub async fn discover(client: &Client) -> Result<ApiResources, DiscoveryError> {
    let found = discover_available(client).await;
    match found.failures.into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok(found.resources),
    }
}

/// Asks the server which resources it serves, and goes on when a group cannot be read.
pub async fn discover_available(client: &Client) -> Available {
    let (mut kinds, mut found) = (Vec::new(), Available::default());
    for root in ["/api", "/apis"] {
        match get::<Value>(client, root).await {
            Ok(answer) if answer["kind"] == "APIGroupDiscoveryList" => {
                kinds.extend(aggregated(root, answer, &mut found));
            }
            Ok(answer) => {
                kinds.extend(group_by_group(client, root, &answer, &mut found).await);
            }
            Err(error) => found.failures.push((root.to_owned(), error.into())),
        }
    }
    found.resources = ApiResources::new(kinds);
    found
}

/// The resources in an answer of aggregated discovery.
fn aggregated(root: &str, answer: Value, found: &mut Available) -> Vec<ApiResource> {
    let groups = match Groups::deserialize(answer) {
        Ok(groups) => groups.items,
        Err(error) => {
            let error = kube::Error::SerdeError(error);
            found.failures.push((root.to_owned(), error.into()));
            return Vec::new();
        }
    };
    let mut kinds = Vec::new();
    for group in groups {
        if let Some(stale) = group.stale_version() {
            let error = DiscoveryError::Stale(stale.clone());
            found.failures.push((stale, error));
        } else {
            kinds.extend(group.into_kinds());
        }
    }
    kinds
}

/// The resources of each group in an answer without them.
async fn group_by_group(
    client: &Client,
    root: &str,
    answer: &Value,
    found: &mut Available,
) -> Vec<ApiResource> {
    let mut kinds = Vec::new();
    for group_version in group_versions(answer) {
        if group_version.is_empty() || group_version.matches('/').count() > 1 {
            found.malformed.push(group_version);
            continue;
        }
        match get::<Resources>(client, &format!("{root}/{group_version}")).await {
            Ok(list) => kinds.extend(list.into_kinds(&group_version)),
            Err(error) => found.failures.push((group_version, error.into())),
        }
    }
    kinds
}

async fn get<T: DeserializeOwned>(client: &Client, path: &str) -> kube::Result<T> {
    let request = Request::get(path)
        .header(header::ACCEPT, ACCEPT)
        .body(Vec::new());
    client
        .request(request.map_err(kube::Error::HttpError)?)
        .await
}

/// The preferred version of each group in an APIVersions or an APIGroupList.
fn group_versions(answer: &Value) -> Vec<String> {
    let core = answer["versions"].as_array().into_iter().flatten().take(1);
    let groups = answer["groups"].as_array().into_iter().flatten();
    let preferred = groups.map(|group| &group["preferredVersion"]["groupVersion"]);
    core.chain(preferred)
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

#[derive(Deserialize)]
struct Resources {
    #[serde(default)]
    resources: Vec<PlainResource>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PlainResource {
    name: String,
    kind: String,
    namespaced: bool,
    verbs: Vec<String>,
}

impl Resources {
    fn into_kinds(self, group_version: &str) -> Vec<ApiResource> {
        let (group, version) = group_version
            .rsplit_once('/')
            .unwrap_or(("", group_version));
        self.resources
            .into_iter()
            .filter(|resource| !resource.name.contains('/'))
            .map(|resource| ApiResource {
                group: group.to_owned(),
                version: version.to_owned(),
                plural: resource.name,
                kind: resource.kind,
                namespaced: resource.namespaced,
                verbs: resource.verbs,
            })
            .filter(|kind| kind.can(&["list"]))
            .collect()
    }
}

#[derive(Deserialize)]
struct Groups {
    #[serde(default)]
    items: Vec<Group>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Group {
    metadata: crate::object_meta::ObjectMeta,
    versions: Vec<Version>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Version {
    version: String,
    /// `Stale` if the server of the group cannot be reached.
    freshness: String,
    resources: Vec<Resource>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Resource {
    resource: String,
    response_kind: ResponseKind,
    scope: String,
    verbs: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResponseKind {
    kind: String,
}

impl Group {
    /// The preferred version, if its resources may have changed.
    fn stale_version(&self) -> Option<String> {
        let preferred = self.versions.first()?;
        let text = format!("{}/{}", self.metadata.name, preferred.version);
        (preferred.freshness == "Stale").then_some(text)
    }

    fn into_kinds(self) -> Vec<ApiResource> {
        let group = self.metadata.name;
        let preferred = self.versions.into_iter().next().unwrap_or_default();
        let version = preferred.version;
        preferred
            .resources
            .into_iter()
            .map(|resource| ApiResource {
                group: group.clone(),
                version: version.clone(),
                plural: resource.resource,
                kind: resource.response_kind.kind,
                namespaced: resource.scope == "Namespaced",
                verbs: resource.verbs,
            })
            .filter(|kind| kind.can(&["list"]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use kube::client::Body;

    use super::*;

    #[test]
    fn paths_follow_group_and_scope() {
        let kind = |group: &str, plural: &str| ApiResource {
            group: group.to_owned(),
            version: "v1".to_owned(),
            plural: plural.to_owned(),
            kind: "K".to_owned(),
            namespaced: true,
            verbs: Vec::new(),
        };
        assert_eq!(kind("", "pods").collection(""), "/api/v1/pods");
        assert_eq!(
            kind("", "pods").object(&Key::new("a", "p")),
            "/api/v1/namespaces/a/pods/p"
        );
        assert_eq!(
            kind("apps", "daemonsets").collection("a"),
            "/apis/apps/v1/namespaces/a/daemonsets"
        );
        let kinds = ApiResources::new([kind("apps", "daemonsets")]);
        assert!(kinds.find("apps/v1beta9", "K").is_some());
        assert!(kinds.find("v1", "K").is_none());
    }

    /// A server whose paths answer so; every other path is 503.
    fn server(answers: &'static [(&'static str, &'static str)]) -> Client {
        let service = tower::service_fn(move |request: Request<Body>| async move {
            let known = answers
                .iter()
                .find(|(path, _)| *path == request.uri().path());
            let (code, text) = known.map_or((503, "{}"), |(_, text)| (200, *text));
            let answer = http::Response::builder().status(code);
            answer.body(Body::from(text.as_bytes().to_vec()))
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn groups_that_cannot_be_read_are_failures_and_the_others_are_found() {
        let client = server(&[
            ("/api", r#"{"kind": "APIVersions", "versions": ["v1"]}"#),
            (
                "/api/v1",
                r#"{"resources": [{"name": "pods", "kind": "Pod", "verbs": ["list"]}]}"#,
            ),
            (
                "/apis",
                r#"{"groups": [{"preferredVersion": {"groupVersion": "a.io/v1"}},
                    {"preferredVersion": {"groupVersion": "a/b/c"}}]}"#,
            ),
        ]);
        let found = discover_available(&client).await;
        assert!(found.resources.find("v1", "Pod").is_some());
        let failed: Vec<&str> = found.failures.iter().map(|(name, _)| &**name).collect();
        assert_eq!(failed, ["a.io/v1"]);
        assert_eq!(found.malformed, ["a/b/c"]);
        assert!(discover(&client).await.is_err());
    }

    #[tokio::test]
    async fn a_stale_group_of_aggregated_discovery_is_a_failure() {
        let client = server(&[
            ("/api", r#"{"kind": "APIGroupDiscoveryList", "items": []}"#),
            (
                "/apis",
                r#"{"kind": "APIGroupDiscoveryList", "items": [
                    {"metadata": {"name": "a.io"}, "versions": [{"version": "v1", "freshness": "Stale"}]}]}"#,
            ),
        ]);
        let found = discover_available(&client).await;
        let failed: Vec<&str> = found.failures.iter().map(|(name, _)| &**name).collect();
        assert_eq!(failed, ["a.io/v1"]);
    }
}
