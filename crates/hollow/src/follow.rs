//! Listing and watching with objects of our own: only the fields that are needed are read.

use futures::{StreamExt as _, stream::BoxStream};
use kube::{Client, core::WatchEvent};
use serde::{Deserialize, de::DeserializeOwned};

use crate::api::get;

#[derive(Deserialize)]
struct List<T> {
    metadata: ListMetadata,
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    more: String,
}

/// Events of one watch request.
pub(crate) type Events<T> = BoxStream<'static, kube::Result<WatchEvent<T>>>;

/// All objects, page by page, and the version from which to watch. `path` ends in `?` or `&`.
pub(crate) async fn list<T: DeserializeOwned>(
    client: &Client,
    path: &str,
) -> kube::Result<(Vec<T>, String)> {
    let (mut all, mut more) = (Vec::new(), String::new());
    loop {
        let page: List<T> = client
            .request(get(&format!("{path}limit=1000&continue={more}"))?)
            .await?;
        all.extend(page.items);
        if page.metadata.more.is_empty() {
            return Ok((all, page.metadata.resource_version));
        }
        more = page
            .metadata
            .more
            .replace('%', "%25")
            .replace('+', "%2B")
            .replace('=', "%3D");
    }
}

/// The changes after a version.
pub(crate) async fn watch<T: DeserializeOwned + Clone + Send + 'static>(
    client: &Client,
    path: &str,
    version: &str,
) -> kube::Result<Events<T>> {
    let query = "watch=true&allowWatchBookmarks=true&timeoutSeconds=290&resourceVersion";
    Ok(client
        .request_events::<T>(get(&format!("{path}{query}={version}"))?)
        .await?
        .boxed())
}
