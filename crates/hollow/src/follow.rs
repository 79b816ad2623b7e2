//! List-watch of a collection: a list, then a watch that is resumed where it ended. Objects are decoded into
//! types that hold only the needed fields, and sent in batches to a bounded queue.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use kube::{Client, client, core::Status};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{sync::mpsc, time::sleep};

use crate::api;

/// Batches that may wait for their reader.
pub(crate) const QUEUE: usize = 256;
/// Objects of one page of a list.
const PAGE: usize = 1000;
/// First and longest wait before a lost server is asked again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// What can be followed.
pub(crate) trait Object: DeserializeOwned + Send + 'static {
    /// Its resource version.
    fn version(&self) -> &str;

    /// Whether a line of the watch is of interest; what is not is never parsed.
    fn concerns(_line: &[u8]) -> bool {
        true
    }
}

/// What happened to the collection.
#[derive(Debug)]
pub(crate) enum Change<T> {
    /// These are all objects there are.
    All(Vec<T>),
    /// It was added or changed.
    Put(T),
    /// It was deleted; this is its last state.
    Gone(T),
}

/// What is followed.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Path with a query; ends in `?` or `&`.
    pub(crate) path: String,
    /// Only what happens from now on, without a list of what is there.
    pub(crate) from_now: bool,
}

/// Follows for ever; ends when nobody reads any more.
pub(crate) async fn follow<T: Object>(
    client: Client,
    source: Source,
    out: mpsc::Sender<Vec<Change<T>>>,
) {
    let mut wait = BACKOFF.0;
    let mut from_now = source.from_now;
    while !out.is_closed() {
        let mut follower = Follower {
            client: &client,
            path: &source.path,
            version: String::new(),
            out: &out,
        };
        match follower.list_and_watch(from_now).await {
            // The history that the watch needs is gone.
            Ok(()) => wait = BACKOFF.0,
            Err(error) => {
                let path = &source.path;
                tracing::warn!(path, %error, "lost sight; listing again");
                wait = (wait * 2).min(BACKOFF.1);
            }
        }
        // What was missed has to be listed now.
        from_now &= follower.version.is_empty();
        sleep(wait).await;
    }
}

struct Follower<'a, T> {
    client: &'a Client,
    path: &'a str,
    version: String,
    out: &'a mpsc::Sender<Vec<Change<T>>>,
}

impl<T: Object> Follower<'_, T> {
    /// Returns when a list is needed again, or nobody reads any more.
    async fn list_and_watch(&mut self, from_now: bool) -> kube::Result<()> {
        if from_now {
            let path = format!("{}limit=1", self.path);
            let list: List<T> = api::get(self.client, &path).await?;
            self.version = list.metadata.resource_version;
        } else {
            let (all, version) = list(self.client, self.path).await?;
            self.version = version;
            if self.out.send(vec![Change::All(all)]).await.is_err() {
                return Ok(());
            }
        }
        let mut failures = 0;
        loop {
            match self.watch().await {
                Ok(true) => failures = 0,
                Ok(false) => return Ok(()),
                Err(error) if api::code(&error) == Some(410) => return Ok(()),
                // A server that starts again has kept its history.
                Err(error) if failures < 5 => {
                    tracing::debug!(path = self.path, %error, "the watch broke off; resuming");
                    failures += 1;
                    sleep(BACKOFF.0 * 2_u32.pow(failures)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One watch request. Returns whether another one may follow where it ended.
    async fn watch(&mut self) -> kube::Result<bool> {
        let query = "watch=true&allowWatchBookmarks=true&timeoutSeconds=290&resourceVersion";
        let path = format!("{}{query}={}", self.path, self.version);
        let mut lines = Lines::new(api::stream(self.client, &path).await?);
        let mut skipped = Bytes::new();
        let ended = loop {
            let lines = match lines.next().await {
                Ok(Some(lines)) => lines,
                Ok(None) => break Ok(true),
                Err(error) => break Err(error),
            };
            match self.take(&lines, &mut skipped) {
                Ok((changes, over)) => {
                    let read = changes.is_empty() || self.out.send(changes).await.is_ok();
                    if over || !read {
                        break Ok(false);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        self.note_skipped(&skipped);
        ended
    }

    /// The changes that some lines tell of, and whether the watch must be given up after them.
    fn take(&mut self, lines: &Bytes, skipped: &mut Bytes) -> kube::Result<(Vec<Change<T>>, bool)> {
        let mut changes = Vec::new();
        for line in lines
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            if !T::concerns(line) && !is_special(line) {
                *skipped = lines.slice_ref(line);
                continue;
            }
            *skipped = Bytes::new();
            let event: Event<T> = serde_json::from_slice(line).map_err(kube::Error::SerdeError)?;
            let change = match event {
                Event::Added(object) | Event::Modified(object) => Change::Put(object),
                Event::Deleted(object) => Change::Gone(object),
                Event::Bookmark(mark) => {
                    self.version = mark.metadata.resource_version;
                    continue;
                }
                Event::Error(status) => {
                    tracing::debug!(code = status.code, message = status.message, "watch ended");
                    return Ok((changes, true));
                }
            };
            let (Change::Put(object) | Change::Gone(object)) = &change else {
                continue;
            };
            self.version.clear();
            self.version.push_str(object.version());
            changes.push(change);
        }
        Ok((changes, false))
    }

    /// The last line that was not parsed says from where to resume.
    fn note_skipped(&mut self, line: &[u8]) {
        if let Ok(Event::Added(mark) | Event::Modified(mark) | Event::Deleted(mark)) =
            serde_json::from_slice::<Event<Mark>>(line)
        {
            self.version = mark.metadata.resource_version;
        }
    }
}

/// Bookmarks and errors have to be parsed whatever they hold.
fn is_special(line: &[u8]) -> bool {
    let start = line.get(..24).unwrap_or(line);
    contains(start, b"BOOKMARK") || contains(start, b"ERROR")
}

/// Whether some bytes occur in others.
pub(crate) fn contains(text: &[u8], part: &[u8]) -> bool {
    let Some((first, rest)) = part.split_first() else {
        return true;
    };
    let mut text = text;
    while let Some(at) = text.iter().position(|byte| byte == first) {
        text = text.get(at + 1..).unwrap_or_default();
        if text.starts_with(rest) {
            return true;
        }
    }
    false
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE")]
enum Event<T> {
    Added(T),
    Modified(T),
    Deleted(T),
    Bookmark(Mark),
    Error(Box<Status>),
}

#[derive(Deserialize)]
struct Mark {
    metadata: MarkMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MarkMetadata {
    resource_version: String,
}

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

/// All objects, page by page, and the version from which to watch. `path` ends in `?` or `&`.
pub(crate) async fn list<T: DeserializeOwned>(
    client: &Client,
    path: &str,
) -> kube::Result<(Vec<T>, String)> {
    let (mut all, mut more) = (Vec::new(), String::new());
    loop {
        let page: List<T> =
            api::get(client, &format!("{path}limit={PAGE}&continue={more}")).await?;
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

/// Cuts a body into whole lines, many at a time.
struct Lines {
    body: client::Body,
    begun: BytesMut,
}

impl Lines {
    fn new(body: client::Body) -> Self {
        let begun = BytesMut::new();
        Self { body, begun }
    }

    /// One or more whole lines; none at the end.
    async fn next(&mut self) -> kube::Result<Option<Bytes>> {
        while let Some(frame) = self.body.frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            if let Some(lines) = self.push(data) {
                return Ok(Some(lines));
            }
        }
        Ok(None)
    }

    fn push(&mut self, mut data: Bytes) -> Option<Bytes> {
        let Some(end) = data.iter().rposition(|byte| *byte == b'\n') else {
            self.begun.extend_from_slice(&data);
            return None;
        };
        let rest = data.split_off(end + 1);
        let lines = if self.begun.is_empty() {
            data
        } else {
            self.begun.extend_from_slice(&data);
            self.begun.split().freeze()
        };
        self.begun.extend_from_slice(&rest);
        Some(lines)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{Request, Response};
    use parking_lot::Mutex;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Thing {
        metadata: Meta,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Meta {
        name: String,
        resource_version: String,
    }

    impl Object for Thing {
        fn version(&self) -> &str {
            &self.metadata.resource_version
        }

        fn concerns(line: &[u8]) -> bool {
            !contains(line, b"boring")
        }
    }

    fn line(kind: &str, name: &str, version: u32) -> String {
        let metadata = format!(r#"{{"name":"{name}","resourceVersion":"{version}"}}"#);
        format!("{{\"type\":\"{kind}\",\"object\":{{\"metadata\":{metadata}}}}}\n")
    }

    /// A server that gives these answers in turn, and notes what it was asked.
    fn server(answers: Vec<(u16, String)>) -> (Client, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (noted, answers) = (Arc::clone(&asked), Mutex::new(answers.into_iter()));
        let service = tower::service_fn(move |request: Request<client::Body>| {
            let query = request.uri().query().unwrap_or_default();
            let version = query.rsplit_once("resourceVersion=");
            let word = version.map_or("list".to_owned(), |(_, version)| format!("watch {version}"));
            noted.lock().push(word);
            let answer = answers.lock().next();
            async move {
                let Some((code, text)) = answer else {
                    return std::future::pending().await;
                };
                let response = Response::builder().status(code);
                let body = http_body_util::Full::from(text);
                Ok::<_, std::convert::Infallible>(response.body(body).unwrap())
            }
        });
        (Client::new(service, "default"), asked)
    }

    #[tokio::test]
    async fn a_watch_is_resumed_where_it_ended_and_listed_again_when_it_must() {
        let list = |version: u32, name: &str| {
            let item = format!(r#"{{"metadata":{{"name":"{name}","resourceVersion":"1"}}}}"#);
            format!(r#"{{"metadata":{{"resourceVersion":"{version}"}},"items":[{item}]}}"#)
        };
        let gone =
            r#"{"type":"ERROR","object":{"code":410,"message":"too old","reason":"Expired"}}"#;
        let answers = vec![
            (200, list(5, "a")),
            (200, line("ADDED", "b", 6) + &line("MODIFIED", "boring", 7)),
            (503, "not now".to_owned()),
            (200, line("BOOKMARK", "", 9)),
            (200, line("DELETED", "b", 11) + gone + "\n"),
            (200, list(20, "c")),
        ];
        let (client, asked) = server(answers);
        let (send, mut changes) = mpsc::channel::<Vec<Change<Thing>>>(QUEUE);
        let source = Source {
            path: "/things?".to_owned(),
            from_now: false,
        };
        let reading = async {
            let mut seen = Vec::new();
            while seen.len() < 4 {
                let batch = changes.recv().await.unwrap();
                seen.extend(batch.into_iter().map(|change| match change {
                    Change::All(all) => format!("all {}", all[0].metadata.name),
                    Change::Put(thing) => format!("put {}", thing.metadata.name),
                    Change::Gone(thing) => format!("gone {}", thing.metadata.name),
                }));
            }
            seen
        };
        let seen = tokio::select! {
            () = follow(client, source, send) => Vec::new(),
            seen = reading => seen,
        };
        assert_eq!(seen, ["all a", "put b", "gone b", "all c"]);
        let asked = asked.lock().clone();
        let expected = ["list", "watch 5", "watch 7", "watch 7", "watch 9", "list"];
        assert_eq!(asked[..6], expected);
    }

    #[test]
    fn bodies_are_cut_into_lines() {
        let mut lines = Lines::new(client::Body::empty());
        let mut push = |text: &'static str| {
            let lines = lines.push(Bytes::from_static(text.as_bytes()));
            lines.map(|lines| String::from_utf8(lines.to_vec()).unwrap())
        };
        assert_eq!(push("a\n").as_deref(), Some("a\n"));
        assert_eq!(push("b"), None);
        assert_eq!(push("c"), None);
        assert_eq!(push("d\ne\nf").as_deref(), Some("bcd\ne\n"));
        assert_eq!(push("\n").as_deref(), Some("f\n"));
    }

    #[test]
    fn parts_are_found() {
        assert!(contains(b"abcabd", b"abd") && contains(b"x", b"") && contains(b"aab", b"ab"));
        assert!(!contains(b"abcab", b"abd") && !contains(b"", b"a"));
    }
}
