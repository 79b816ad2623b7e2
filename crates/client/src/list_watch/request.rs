//! Which collection a list-watch reads, and the requests for it.

use std::fmt::Write as _;

use http::{HeaderValue, Request, header};
use kube::client::Body;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::metrics::ListWatchMetrics;

/// Objects of one page of a list: 100,000 objects are few requests, and no reply is huge.
const PAGE: u32 = 2_000;
/// How long one watch request may last, in seconds.
pub(super) const WATCH_SECONDS: u64 = 290;
/// What a query value may hold unescaped.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'/');

const METADATA: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// A collection and which of its objects to list and watch. Upstream: `cache.ListWatch`.
#[derive(Debug, Clone, Default)]
pub struct ListWatch {
    /// The collection's path, such as `/api/v1/pods`.
    pub path: String,
    /// A label selector.
    pub labels: Option<String>,
    /// A field selector.
    pub fields: Option<String>,
    /// Ask the server for metadata only (PartialObjectMetadata).
    pub metadata_only: bool,
    /// Read lists in pages. Otherwise the list is asked for as a stream (`sendInitialEvents`,
    /// Kubernetes 1.32 and later), which needs no copy of all objects in the server and no history
    /// while it is read; a server that cannot do that is asked for pages.
    pub paged: bool,
    /// Deliver only what happens from now on, without a list first. After a lost history there is a
    /// list all the same.
    pub without_list: bool,
    /// Where its requests and failures are counted.
    pub metrics: ListWatchMetrics,
}

/// Where a list has to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At<'a> {
    /// At the state as of now, read consistently.
    Latest,
    /// At any state that is not older than this version.
    NotOlderThan(u64),
    /// At the next page.
    Page(&'a str),
}

impl ListWatch {
    /// Every object of the collection.
    #[must_use]
    pub fn all(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            ..Self::default()
        }
    }

    /// Only objects that a field selector selects.
    #[must_use]
    pub fn fields(mut self, selector: impl Into<String>) -> Self {
        self.fields = Some(selector.into());
        self
    }

    /// Only objects that a label selector selects.
    #[must_use]
    pub fn labels(mut self, selector: impl Into<String>) -> Self {
        self.labels = Some(selector.into());
        self
    }

    /// Only the metadata.
    #[must_use]
    pub const fn metadata_only(mut self) -> Self {
        self.metadata_only = true;
        self
    }

    /// Lists in pages.
    #[must_use]
    pub const fn paged(mut self) -> Self {
        self.paged = true;
        self
    }

    /// Only what happens from now on.
    #[must_use]
    pub const fn without_list(mut self) -> Self {
        self.without_list = true;
        self
    }

    /// Counts its requests and failures there.
    #[must_use]
    pub fn metrics(mut self, metrics: &ListWatchMetrics) -> Self {
        self.metrics = metrics.clone();
        self
    }

    /// A page of a list.
    pub(super) fn page(&self, at: At<'_>) -> kube::Result<Request<Body>> {
        let mut query = self.query();
        let _infallible = write!(query, "limit={PAGE}");
        match at {
            At::Latest => {}
            At::NotOlderThan(version) => not_older_than(&mut query, version),
            At::Page(token) => push(&mut query, "&continue", token),
        }
        self.build(&query, METADATA_LIST)
    }

    /// One object and the version of the collection.
    pub(super) fn newest(&self) -> kube::Result<Request<Body>> {
        let query = self.query() + "limit=1";
        self.build(&query, METADATA_LIST)
    }

    /// All objects as a stream, followed by a watch.
    pub(super) fn stream(&self, at: At<'_>) -> kube::Result<Request<Body>> {
        let mut query = self.watch_query();
        query.push_str("&sendInitialEvents=true");
        match at {
            At::NotOlderThan(version) => not_older_than(&mut query, version),
            At::Latest | At::Page(_) => query.push_str("&resourceVersionMatch=NotOlderThan"),
        }
        self.build(&query, METADATA)
    }

    /// A watch of what happens after a version.
    pub(super) fn watch(&self, version: u64) -> kube::Result<Request<Body>> {
        let mut query = self.watch_query();
        let _infallible = write!(query, "&resourceVersion={version}");
        self.build(&query, METADATA)
    }

    fn watch_query(&self) -> String {
        let mut query = self.query();
        let _infallible = write!(
            query,
            "watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}"
        );
        query
    }

    /// The selectors; empty or with a `&` at the end.
    fn query(&self) -> String {
        let mut query = String::new();
        for (name, selector) in [
            ("labelSelector", &self.labels),
            ("fieldSelector", &self.fields),
        ] {
            if let Some(selector) = selector {
                push(&mut query, name, selector);
                query.push('&');
            }
        }
        query
    }

    fn build(&self, query: &str, metadata: &'static str) -> kube::Result<Request<Body>> {
        let request = Request::get(format!("{}?{query}", self.path)).body(Body::empty());
        let mut request = request.map_err(kube::Error::HttpError)?;
        let headers = request.headers_mut();
        if self.metadata_only {
            headers.insert(header::ACCEPT, HeaderValue::from_static(metadata));
        }
        Ok(request)
    }
}

fn not_older_than(query: &mut String, version: u64) {
    let _infallible = write!(
        query,
        "&resourceVersion={version}&resourceVersionMatch=NotOlderThan"
    );
}

fn push(query: &mut String, name: &str, value: &str) {
    let _infallible = write!(query, "{name}={}", utf8_percent_encode(value, PLAIN));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_carry_selectors_versions_and_the_accepted_form() {
        let pods = ListWatch::all("/api/v1/pods")
            .labels("a in (b,c)")
            .fields("spec.nodeName=n1")
            .metadata_only();
        let selectors = "labelSelector=a%20in%20%28b%2Cc%29&fieldSelector=spec.nodeName%3Dn1";
        let watch = "watch=true&allowWatchBookmarks=true&timeoutSeconds=290";
        let cases = [
            (pods.page(At::Latest), "limit=2000".to_owned()),
            (
                pods.page(At::NotOlderThan(7)),
                "limit=2000&resourceVersion=7&resourceVersionMatch=NotOlderThan".to_owned(),
            ),
            (
                pods.page(At::Page("a+=")),
                "limit=2000&continue=a%2B%3D".to_owned(),
            ),
            (pods.watch(8), format!("{watch}&resourceVersion=8")),
            (
                pods.stream(At::Latest),
                format!("{watch}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"),
            ),
            (
                pods.stream(At::NotOlderThan(9)),
                format!(
                    "{watch}&sendInitialEvents=true&resourceVersion=9&resourceVersionMatch=NotOlderThan"
                ),
            ),
        ];
        for (request, query) in cases {
            let request = request.unwrap();
            let expected = format!("/api/v1/pods?{selectors}&{query}");
            assert_eq!(request.uri().to_string(), expected);
            let accept = request.headers()[header::ACCEPT].to_str().unwrap();
            assert!(accept.contains("PartialObjectMetadata"), "{accept}");
        }
    }
}
