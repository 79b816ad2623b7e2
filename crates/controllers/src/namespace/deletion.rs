//! Deletes the content of a terminating namespace: pods first, then every other kind (upstream's
//! OrderedNamespaceDeletion), so that network policies and the like outlive the pods.

use pandaemon_client::{
    discovery::{ApiResource, discover_available},
    errors,
    object_meta::{ObjectMeta, PartialObjectMetadata},
    rest::Rest,
};
use serde::Deserialize;
use serde_json::json;

use super::content::{Content, is_pods};

/// The page size of lists.
const PAGE: usize = 500;

/// Deletes what can be deleted now, and returns what remains. Other kinds wait until all pods are
/// gone. `age`: seconds since the deletion of the namespace.
pub(super) async fn delete_all_content(api: &Rest, namespace: &str, age: i64) -> Content {
    let found = discover_available(api.client()).await;
    let mut content = Content {
        discovery_failures: found
            .failures
            .iter()
            .map(|(group, error)| (group.clone(), error.to_string()))
            .collect(),
        malformed_group_versions: found.malformed,
        ..Content::default()
    };
    let is_deletable = |kind: &ApiResource| kind.namespaced && kind.can(&["delete"]);
    let kinds = found.resources.iter().filter(|kind| is_deletable(kind));
    let (pods, others): (Vec<_>, Vec<_>) = kinds.partition(|kind| is_pods(kind));
    let Some(pods) = pods.first() else {
        // Whether there are pods is not known.
        return content;
    };
    delete_kind(api, pods, namespace, age, &mut content).await;
    if !content.objects.is_empty() || !content.deletion_failures.is_empty() {
        return content;
    }
    for kind in others {
        delete_kind(api, kind, namespace, age, &mut content).await;
    }
    content
}

/// Deletes all objects of a kind, and notes those that remain and the errors.
async fn delete_kind(
    api: &Rest,
    kind: &ApiResource,
    namespace: &str,
    age: i64,
    content: &mut Content,
) {
    match delete_objects(api, kind, namespace, &mut content.deletion_failures).await {
        Ok(left) => content.add(kind, namespace, &left, age),
        Err(error) => content.deletion_failures.push(text(&error)),
    }
}

/// Deletes all objects of a kind, and returns those that remain. An object that cannot be deleted
/// is an entry in `failures` and does not keep the others.
async fn delete_objects(
    api: &Rest,
    kind: &ApiResource,
    namespace: &str,
    failures: &mut Vec<String>,
) -> kube::Result<Vec<ObjectMeta>> {
    let collection = kind.collection(namespace);
    // Most kinds have no object in a namespace: one cheap list spares the delete.
    let (first, _) = page(api, &collection, 1, "").await?;
    if first.is_empty() {
        return Ok(first);
    }
    let options = json!({ "propagationPolicy": "Background" });
    let mut is_collection_deleted = false;
    if kind.can(&["deletecollection"]) {
        is_collection_deleted = match api.delete(&collection, &options).await {
            Err(error) if is_not_supported(&error) => false,
            other => other?,
        };
    }
    if !is_collection_deleted {
        for object in list(api, &collection).await? {
            let path = format!("{collection}/{}", object.name);
            match api.delete(&path, &options).await {
                Err(error) if !is_not_supported(&error) => failures.push(text(&error)),
                _ => (),
            }
        }
    }
    list(api, &collection).await
}

/// 405: the server does not know the verb, although discovery has it.
fn is_not_supported(error: &kube::Error) -> bool {
    errors::status(error).is_some_and(|status| status.code == 405)
}

fn text(error: &kube::Error) -> String {
    errors::status(error).map_or_else(|| error.to_string(), |status| status.message.clone())
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default)]
    items: Vec<PartialObjectMetadata>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ListMeta {
    r#continue: String,
}

/// All objects of a collection; none if its kind is not served any more.
async fn list(api: &Rest, collection: &str) -> kube::Result<Vec<ObjectMeta>> {
    let (mut all, mut next) = page(api, collection, PAGE, "").await?;
    while !next.is_empty() {
        let (more, following) = page(api, collection, PAGE, &next).await?;
        all.extend(more);
        next = following;
    }
    Ok(all)
}

/// One page of a collection, and the token of the next; an empty one at the end.
async fn page(
    api: &Rest,
    collection: &str,
    limit: usize,
    token: &str,
) -> kube::Result<(Vec<ObjectMeta>, String)> {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("limit", &limit.to_string())
        .extend_pairs((!token.is_empty()).then_some(("continue", token)))
        .finish();
    let path = format!("{collection}?{query}");
    let Some(list) = api.get_metadata_list::<List>(&path).await? else {
        return Ok((Vec::new(), String::new()));
    };
    let items = list.items.into_iter().map(|item| item.metadata).collect();
    Ok((items, list.metadata.r#continue))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_server;

    #[tokio::test]
    async fn an_object_that_cannot_be_deleted_does_not_keep_the_others() {
        let (client, sent) = fake_server::client(|sent| match (&*sent.method, &*sent.path) {
            ("DELETE", path) if path.ends_with("/held") => fake_server::refused(),
            ("DELETE", _) => (200, json!({})),
            _ => {
                let names = ["held", "other"].map(|name| json!({ "metadata": { "name": name } }));
                (200, json!({ "items": names }))
            }
        });
        let kind = ApiResource {
            group: "a.io".to_owned(),
            version: "v1".to_owned(),
            plural: "things".to_owned(),
            kind: "Thing".to_owned(),
            namespaced: true,
            verbs: vec!["list".to_owned(), "delete".to_owned()],
        };
        let mut failures = Vec::new();
        delete_objects(&Rest::new(client), &kind, "a", &mut failures)
            .await
            .unwrap();
        assert_eq!(failures, ["refused by the test"]);
        let sent = sent.lock();
        let deleted = sent.iter().filter(|sent| sent.method == "DELETE");
        let paths: Vec<&str> = deleted.map(|sent| &*sent.path).collect();
        let base = "/apis/a.io/v1/namespaces/a/things";
        assert_eq!(paths, [format!("{base}/held"), format!("{base}/other")]);
    }
}
