//! A list-watch against a server that follows a script. Time is simulated.

use std::{convert::Infallible, io, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Request, Response};
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use kube::client::Body;
use pandaemon_runtime::Shutdown;
use pandaemon_types::Uid;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::*;
use crate::object_meta::{Object, ObjectMeta};

// === the server ===

/// How the body of a reply ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Whole,
    Reset,
    Never,
}

#[derive(Debug, Clone)]
struct Reply {
    code: u16,
    retry_after: Option<u32>,
    text: String,
    ends: Ends,
}

fn reply(code: u16, text: impl Into<String>) -> Reply {
    Reply {
        code,
        retry_after: None,
        text: text.into(),
        ends: Ends::Whole,
    }
}

impl Reply {
    fn then(self, ends: Ends) -> Self {
        Self { ends, ..self }
    }

    fn response(self) -> Response<UnsyncBoxBody<Bytes, io::Error>> {
        let text = stream::iter([Ok(Frame::data(Bytes::from(self.text)))]);
        let end = match self.ends {
            Ends::Whole => stream::empty().boxed(),
            Ends::Reset => {
                let reset = io::Error::from(io::ErrorKind::ConnectionReset);
                stream::once(std::future::ready(Err(reset))).boxed()
            }
            Ends::Never => stream::pending().boxed(),
        };
        let body = StreamBody::new(text.chain(end)).boxed_unsync();
        let mut response = Response::builder().status(self.code);
        if let Some(seconds) = self.retry_after {
            response = response.header("Retry-After", seconds);
        }
        response.body(body).unwrap()
    }
}

fn object(name: &str, uid: &str, version: u64) -> String {
    format!(r#"{{"metadata":{{"name":"{name}","uid":"{uid}","resourceVersion":"{version}"}}}}"#)
}

fn line(kind: &str, name: &str, version: u64) -> String {
    line_of(kind, &object(name, name, version))
}

fn line_of(kind: &str, object: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

fn bookmark(version: u64) -> String {
    let object = format!(r#"{{"metadata":{{"resourceVersion":"{version}"}}}}"#);
    line_of("BOOKMARK", &object)
}

fn list_end(version: u64) -> String {
    let annotations = r#""annotations":{"k8s.io/initial-events-end":"true"}"#;
    let object = format!(r#"{{"metadata":{{"resourceVersion":"{version}",{annotations}}}}}"#);
    line_of("BOOKMARK", &object)
}

const EXPIRED: &str = r#"{"type":"ERROR","object":{"code":410,"message":"too old","reason":"Expired"}}
"#;
const TOO_LARGE: &str = r#"{"code":504,"reason":"Timeout","message":"Too large resource version: 90, current: 5","details":{"causes":[{"reason":"ResourceVersionTooLarge"}]}}"#;

fn list(version: u64, items: &[String]) -> Reply {
    let items = items.join(",");
    let meta = format!(r#"{{"resourceVersion":"{version}"}}"#);
    reply(200, format!(r#"{{"metadata":{meta},"items":[{items}]}}"#))
}

/// Every request that a server got: when, and its query.
type Asked = Arc<Mutex<Vec<(Instant, String)>>>;

fn server(
    answer: impl Fn(usize, &str) -> Option<Reply> + Send + Sync + 'static,
) -> (Client, Asked) {
    let (asked, answer) = (Asked::default(), Arc::new(answer));
    let noted = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<Body>| {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let nth = {
            let mut noted = noted.lock();
            noted.push((Instant::now(), query.clone()));
            noted.len() - 1
        };
        let answer = Arc::clone(&answer);
        async move {
            match answer(nth, &query) {
                Some(reply) => Ok::<_, Infallible>(reply.response()),
                None => std::future::pending().await,
            }
        }
    });
    (Client::new(service, "default"), asked)
}

/// A server that gives these replies in turn, and then none.
fn script(replies: Vec<Reply>) -> (Client, Asked) {
    server(move |nth, _| replies.get(nth).cloned())
}

/// Checks the first requests: `list`, `list >=5`, `stream`, `stream >=5`, `watch 5`.
#[track_caller]
fn assert_asked(asked: &Asked, expected: &[&str]) {
    let asked: Vec<_> = asked.lock().iter().map(|(_, query)| short(query)).collect();
    assert_eq!(asked[..expected.len().min(asked.len())], *expected);
}

fn short(query: &str) -> String {
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let version = value("resourceVersion");
    let word = match (value("watch"), value("sendInitialEvents")) {
        (None, _) => "list",
        (_, Some(_)) => "stream",
        _ => return format!("watch {}", version.unwrap_or_default()),
    };
    version.map_or(word.to_owned(), |version| format!("{word} >={version}"))
}

// === the reader ===

/// An object whose `size` must be a number.
#[derive(Debug, Clone, Deserialize)]
struct Thing {
    metadata: ObjectMeta,
    #[serde(default, rename = "size")]
    _size: u32,
}

impl Object for Thing {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

/// Writes down what it is told.
struct Log(mpsc::UnboundedSender<String>);

impl Handler for Log {
    type Object = Thing;

    fn uid(object: &Thing) -> Uid {
        object.metadata.uid.as_str().into()
    }

    fn version(object: &Thing) -> u64 {
        object.metadata.version()
    }

    fn wants(line: &[u8]) -> bool {
        !line.windows(6).any(|part| part == b"boring")
    }

    async fn handle(&mut self, events: Vec<ListWatchEvent<Thing>>) -> bool {
        let said = |thing: Thing| format!("{}@{}", thing.metadata.uid, thing.metadata.version());
        let named = |object: ObjectIdentity| format!("{}@{}", object.uid, object.version);
        for event in events {
            let text = match event {
                ListWatchEvent::ListStarted { versions_reset } if versions_reset => "reset".into(),
                ListWatchEvent::ListStarted { .. } => "start".into(),
                ListWatchEvent::Page(things) => {
                    let things: Vec<_> = things.into_iter().map(said).collect();
                    format!("page {}", things.join(" "))
                }
                ListWatchEvent::Listed { version } => format!("listed {version}"),
                ListWatchEvent::Applied(thing) => format!("applied {}", said(thing)),
                ListWatchEvent::Deleted(thing) => format!("deleted {}", said(thing)),
                ListWatchEvent::Undecodable(object) => format!("undecodable {}", named(object)),
                ListWatchEvent::DeletedUndecodable(object) => {
                    format!("deleted undecodable {}", named(object))
                }
            };
            if self.0.send(text).is_err() {
                return false;
            }
        }
        true
    }
}

fn things() -> ListWatch {
    ListWatch::all("/things")
}

/// Runs a list-watch until it has told `last`; what it told.
async fn told(client: &Client, source: &ListWatch, last: &str) -> Vec<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "what a test reads is bounded by its script"
    )]
    let (sender, mut log) = mpsc::unbounded_channel();
    let reading = async {
        let mut told = Vec::new();
        while told.last().is_none_or(|text| text != last) {
            let next = tokio::time::timeout(Duration::from_secs(3_600), log.recv()).await;
            let Ok(Some(next)) = next else {
                panic!("no {last} after {told:?}");
            };
            told.push(next);
        }
        told
    };
    tokio::select! {
        () = run(client, source, Log(sender)) => panic!("the list-watch ended"),
        told = reading => told,
    }
}

/// Runs a list-watch for a while.
async fn run_for(client: &Client, source: &ListWatch, time: Duration) {
    let running = told(client, source, "the end of time");
    assert!(tokio::time::timeout(time, running).await.is_err());
}

// === going on ===

#[tokio::test(start_paused = true)]
async fn a_reset_in_mid_stream_resumes_from_the_newest_version_seen() {
    let cut = r#"{"type":"ADDED","obj"#;
    let (client, asked) = script(vec![
        list(5, &[object("a", "a", 3)]),
        reply(200, line("MODIFIED", "a", 7) + cut).then(Ends::Reset),
        reply(200, line("DELETED", "a", 9)).then(Ends::Reset),
        reply(200, bookmark(12)).then(Ends::Reset),
        reply(200, line("ADDED", "b", 13)).then(Ends::Never),
    ]);
    let told = told(&client, &things().paged(), "applied b@13").await;
    let expected = [
        "start",
        "page a@3",
        "listed 5",
        "applied a@7",
        "deleted a@9",
        "applied b@13",
    ];
    assert_eq!(told, expected);
    let expected = ["list", "watch 5", "watch 7", "watch 9", "watch 12"];
    assert_asked(&asked, &expected);
}

#[tokio::test(start_paused = true)]
async fn duplicated_and_reordered_events_are_ignored() {
    let body = [
        line("MODIFIED", "a", 8),
        line("MODIFIED", "a", 8),
        line("MODIFIED", "a", 7),
        line("ADDED", "c", 9),
        line_of("ADDED", &object("a", "a2", 12)),
        line_of("DELETED", &object("a", "a", 11)),
        line_of("DELETED", &object("a", "a", 11)),
        line("MODIFIED", "a", 10),
        line("ADDED", "b", 10),
        line("ADDED", "end", 20),
    ];
    let metrics = ListWatchMetrics::default();
    let (client, _) = script(vec![
        list(5, &[object("a", "a", 3)]),
        reply(200, body.concat()).then(Ends::Never),
    ]);
    let told = told(
        &client,
        &things().paged().metrics(&metrics),
        "applied end@20",
    )
    .await;
    let expected = [
        "applied a@8",
        "applied c@9",
        "applied a2@12",
        "deleted a@11",
        "applied b@10",
        "applied end@20",
    ];
    assert_eq!(told[3..], expected);
    assert_eq!(counted(&metrics, "reflector_stale_events"), 4);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_decoded_is_named_and_counted() {
    let metrics = ListWatchMetrics::default();
    let (client, asked) = script(vec![
        list(5, &[bad(2), object("a", "a", 3)]),
        reply(200, line_of("MODIFIED", &bad(8))).then(Ends::Reset),
        reply(200, line("MODIFIED", "a", 9)).then(Ends::Never),
    ]);
    let told = told(&client, &things().paged().metrics(&metrics), "applied a@9").await;
    let list = ["start", "undecodable bad@2", "page a@3", "listed 5"];
    assert_eq!(told, [&list[..], &["applied a@9"]].concat());
    assert_asked(&asked, &["list", "watch 5", "watch 8"]);
    assert_eq!(counted(&metrics, "reflector_skipped_objects"), 2);
}

/// An object whose size is no number.
fn bad(version: u64) -> String {
    object("bad", "bad", version).replacen('{', r#"{"size":"big","#, 1)
}

#[tokio::test(start_paused = true)]
async fn the_deletion_of_an_object_that_became_undecodable_is_told_once() {
    let deleted = line_of("DELETED", &bad(9));
    let (client, _) = script(vec![
        reply(200, line_of("ADDED", &bad(3)) + &list_end(5)).then(Ends::Reset),
        reply(200, deleted.clone() + &deleted + &line("ADDED", "b", 10)).then(Ends::Never),
    ]);
    let told = told(&client, &things(), "applied b@10").await;
    let expected = [
        "start",
        "undecodable bad@3",
        "listed 5",
        "deleted undecodable bad@9",
        "applied b@10",
    ];
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_cannot_be_decoded_at_all_ends_in_a_new_list() {
    let garbled = || reply(200, "{\"type\":\"ADDED\",\"object\":7}\n");
    let (client, asked) = script(vec![
        list(5, &[]),
        garbled(),
        garbled(),
        garbled(),
        list(6, &[object("a", "a", 6)]),
    ]);
    told(&client, &things().paged(), "listed 6").await;
    let expected = ["list", "watch 5", "watch 5", "watch 5", "list >=5"];
    assert_asked(&asked, &expected);
}

#[tokio::test(start_paused = true)]
async fn lines_of_no_interest_are_skipped_but_their_version_counts() {
    let (client, asked) = script(vec![
        list(5, &[]),
        reply(200, line("ADDED", "a", 6) + &line("ADDED", "boring", 8)).then(Ends::Reset),
        reply(200, line("ADDED", "b", 9)).then(Ends::Never),
    ]);
    let told = told(&client, &things().paged(), "applied b@9").await;
    assert_eq!(told, ["start", "listed 5", "applied a@6", "applied b@9"]);
    assert_asked(&asked, &["list", "watch 5", "watch 8"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_now_on_begins_without_a_list() {
    let (client, asked) = script(vec![
        list(5, &[object("a", "a", 3)]),
        reply(200, line("MODIFIED", "a", 6)),
        reply(200, EXPIRED),
        list(9, &[object("a", "a", 9)]),
    ]);
    let told = told(&client, &things().without_list().paged(), "listed 9").await;
    assert_eq!(told, ["applied a@6", "start", "page a@9", "listed 9"]);
    assert_asked(&asked, &["list", "watch 5", "watch 6", "list >=6"]);
}

// === the server's trouble ===

#[tokio::test(start_paused = true)]
async fn a_storm_of_410_is_answered_ever_more_slowly() {
    for paged in [true, false] {
        let (client, asked) = server(move |_, query| {
            let word = short(query);
            Some(match word.split(' ').next().unwrap() {
                "list" => list(5, &[]),
                "stream" => reply(200, list_end(5) + EXPIRED),
                _ => reply(200, EXPIRED),
            })
        });
        let source = ListWatch { paged, ..things() };
        run_for(&client, &source, Duration::from_secs(600)).await;
        let asked = asked.lock();
        let rounds = asked.len() / if paged { 2 } else { 1 };
        assert!((40..60).contains(&rounds), "{rounds} lists in ten minutes");
        let (last, before) = (asked[asked.len() - 1].0, asked[asked.len() - 3].0);
        assert!(last - before >= BACKOFF.max, "{:?}", last - before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_every_watch_at_once_is_asked_ever_more_slowly() {
    let (client, asked) = server(|nth, _| {
        Some(if nth == 0 {
            list(5, &[])
        } else {
            reply(200, "")
        })
    });
    run_for(&client, &things().paged(), Duration::from_secs(600)).await;
    let rounds = asked.lock().len();
    assert!(
        (40..60).contains(&rounds),
        "{rounds} watches in ten minutes"
    );
}

#[tokio::test(start_paused = true)]
async fn a_throttled_list_waits_as_long_as_the_server_asks() {
    let mut throttled = reply(429, "");
    throttled.retry_after = Some(7);
    let (client, asked) = script(vec![throttled, list(5, &[])]);
    told(&client, &things().paged(), "listed 5").await;
    let asked = asked.lock();
    let waited = asked[1].0 - asked[0].0;
    let longest = Duration::from_secs(7 + 2);
    assert!(
        Duration::from_secs(7) <= waited && waited < longest,
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn failures_back_off_and_success_ends_that() {
    let mut replies = vec![reply(500, "no"); 6];
    replies.push(list(5, &[]));
    replies.push(reply(200, line("ADDED", "a", 6)).then(Ends::Reset));
    replies.push(reply(200, line("ADDED", "b", 7)));
    let (client, asked) = script(replies);
    told(&client, &things().paged(), "applied b@7").await;
    let asked = asked.lock();
    let waits: Vec<_> = asked.windows(2).map(|two| two[1].0 - two[0].0).collect();
    for (nth, wait) in waits[..6].iter().enumerate() {
        let least = BACKOFF.min * 2_u32.pow(u32::try_from(nth).unwrap());
        assert!(
            *wait >= least && *wait <= least * 5 / 4 + BACKOFF.min,
            "{waits:?}"
        );
    }
    assert!(waits[7] < BACKOFF.min * 2, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_never_answered_is_given_up() {
    // A list, its body, and the answer to a watch.
    let (client, asked) = server(|nth, _| match nth {
        0 | 3 => None,
        1 => Some(reply(200, "{").then(Ends::Never)),
        2 => Some(list(5, &[])),
        _ => Some(reply(200, line("ADDED", "a", 6))),
    });
    told(&client, &things().paged(), "applied a@6").await;
    assert_asked(&asked, &["list", "list", "list", "watch 5", "watch 5"]);
}

#[tokio::test(start_paused = true)]
async fn silence_of_a_watch_is_no_error_until_its_own_timeout_is_over() {
    let (client, asked) = script(vec![
        list(5, &[]),
        reply(200, "").then(Ends::Never),
        reply(200, line("ADDED", "a", 6)).then(Ends::Never),
    ]);
    told(&client, &things().paged(), "applied a@6").await;
    let asked = asked.lock();
    assert_eq!(asked[2].0 - asked[1].0, Duration::from_secs(290 + 15));
}

// === lists ===

#[tokio::test(start_paused = true)]
async fn a_list_is_never_older_than_what_was_seen() {
    let (client, asked) = script(vec![
        list(5, &[object("a", "a", 3)]),
        reply(200, line("MODIFIED", "a", 9) + EXPIRED),
        // Servers that lag, and do not even know what they were asked for.
        list(7, &[object("a", "a", 3)]),
        list(9, &[object("a", "a", 3)]),
        list(10, &[object("a", "a", 9)]),
    ]);
    let told = told(&client, &things().paged(), "listed 10").await;
    let expected = ["start", "start", "start", "page a@9", "listed 10"];
    assert_eq!(told[4..], expected);
    assert_asked(
        &asked,
        &["list", "watch 5", "list >=9", "list >=9", "list >=9"],
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_a_server_that_is_behind_ends_in_a_list() {
    let (client, asked) = script(vec![
        list(90, &[]),
        reply(200, bookmark(40)).then(Ends::Never),
        list(95, &[]),
    ]);
    told(&client, &things().paged(), "listed 95").await;
    assert_asked(&asked, &["list", "watch 90", "list >=90"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_restore_the_state_of_the_server_is_taken_and_older_versions_forgotten() {
    for paged in [true, false] {
        let (client, asked) = server(|nth, query| match (nth, short(query).as_str()) {
            (0, "list") => Some(list(90, &[object("a", "a", 90)])),
            (0, _) => Some(reply(200, line("ADDED", "a", 90) + &list_end(90) + EXPIRED)),
            (_, "watch 90") => Some(reply(200, EXPIRED)),
            (_, "list >=90" | "stream >=90") => Some(reply(504, TOO_LARGE)),
            (_, "list") => Some(list(5, &[object("a", "a", 4)])),
            (_, "stream") => Some(reply(200, line("ADDED", "a", 4) + &list_end(5))),
            _ => Some(reply(200, line("MODIFIED", "a", 6)).then(Ends::Never)),
        });
        let source = ListWatch { paged, ..things() };
        let told = told(&client, &source, "applied a@6").await;
        let expected = ["reset", "page a@4", "listed 5", "applied a@6"];
        assert_eq!(told[told.len() - 4..], expected);
        let asked = asked.lock();
        let refused = asked
            .iter()
            .find(|(_, query)| short(query).ends_with(">=90"));
        let taken = asked[1..]
            .iter()
            .find(|(_, query)| !short(query).contains("90"));
        let patience = taken.unwrap().0 - refused.unwrap().0;
        let most = PATIENCE_WITH_VERSION + BACKOFF.max * 2;
        assert!(
            PATIENCE_WITH_VERSION <= patience && patience < most,
            "{patience:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_is_streamed_where_the_server_can() {
    let added = line("ADDED", "a", 5);
    let changed = line("MODIFIED", "a", 9);
    let watch = || reply(200, changed.clone()).then(Ends::Never);
    let pages = || list(7, &[object("a", "a", 5)]);
    let first = |text: String| reply(200, text);
    let cases: [(&str, Vec<Reply>, &[&str]); 5] = [
        (
            "one that can",
            vec![first(added.clone() + &list_end(7) + &changed)],
            &["stream"],
        ),
        (
            "one that refuses",
            vec![reply(422, ""), pages(), watch()],
            &["stream", "list", "watch 7"],
        ),
        (
            "one that does not know the end",
            vec![first(added.clone() + &bookmark(7)), pages(), watch()],
            &["stream", "list", "watch 7"],
        ),
        (
            "one that hangs up",
            vec![first(added.clone()), pages(), watch()],
            &["stream", "list", "watch 7"],
        ),
        (
            "one that comes to a stop",
            vec![first(added.clone()).then(Ends::Never), pages(), watch()],
            &["stream", "list", "watch 7"],
        ),
    ];
    for (name, replies, expected) in cases {
        let (client, asked) = script(replies);
        let told = told(&client, &things(), "applied a@9").await;
        let end = ["page a@5", "listed 7", "applied a@9"];
        assert_eq!(told[told.len() - 3..], end, "{name}");
        assert_asked(&asked, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_after_a_streamed_list_needs_no_new_list() {
    let (client, asked) = script(vec![
        reply(200, line("ADDED", "a", 5) + &list_end(7)).then(Ends::Reset),
        reply(200, line("MODIFIED", "a", 9)).then(Ends::Never),
    ]);
    told(&client, &things(), "applied a@9").await;
    assert_asked(&asked, &["stream", "watch 7"]);
}

#[tokio::test(start_paused = true)]
async fn pages_that_outlast_the_history_are_read_again_from_the_start() {
    let first = format!(
        r#"{{"metadata":{{"resourceVersion":"5","continue":"t="}},"items":[{}]}}"#,
        object("a", "a", 3)
    );
    let (client, asked) = script(vec![
        reply(200, first.clone()),
        reply(410, r#"{"code":410,"reason":"Expired","message":"token"}"#),
        reply(200, first),
        list(5, &[object("b", "b", 4)]),
    ]);
    let told = told(&client, &things().paged(), "listed 5").await;
    let expected = [
        "start", "page a@3", "start", "page a@3", "page b@4", "listed 5",
    ];
    assert_eq!(told, expected);
    assert!(asked.lock()[3].1.contains("continue=t%3D"));
}

// === as a channel ===

#[tokio::test(start_paused = true)]
async fn an_object_deleted_while_the_list_was_streamed_is_not_in_it() {
    let body = [
        line("ADDED", "a", 3),
        line("ADDED", "b", 4),
        line("DELETED", "a", 6),
        line("MODIFIED", "b", 7),
        list_end(7),
    ];
    let (client, _) = script(vec![reply(200, body.concat()).then(Ends::Never)]);
    let mut deltas = watch::<Thing>(client, things(), Shutdown::default());
    let Some(Delta::Listed(all)) = deltas.recv().await else {
        panic!("no list");
    };
    let last = all.last().unwrap();
    assert_eq!(
        (last.metadata.name.as_str(), last.metadata.version()),
        ("b", 7)
    );
    assert!(all.iter().all(|thing| thing.metadata.name != "a"));
}

#[tokio::test(start_paused = true)]
async fn a_panic_starts_the_list_watch_again() {
    /// Panics when it is decoded with this name.
    #[derive(Debug, Clone)]
    struct Panics(Thing);

    impl<'de> Deserialize<'de> for Panics {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let thing = Thing::deserialize(deserializer)?;
            assert_ne!(thing.metadata.name, "panic");
            Ok(Self(thing))
        }
    }

    impl Object for Panics {
        fn meta(&self) -> &ObjectMeta {
            &self.0.metadata
        }
    }

    let (client, _) = script(vec![
        reply(200, list_end(5) + &line("ADDED", "panic", 6)).then(Ends::Never),
        reply(200, line("ADDED", "a", 7) + &list_end(7)).then(Ends::Never),
    ]);
    let mut deltas = watch::<Panics>(client, things(), Shutdown::default());
    let Some(Delta::Listed(all)) = deltas.recv().await else {
        panic!("no list");
    };
    assert_eq!(all[0].0.metadata.name, "a");
}

/// The value of a counter.
fn counted(metrics: &ListWatchMetrics, name: &str) -> u64 {
    let (mut registry, mut text) = (Registry::default(), String::new());
    metrics.register(&mut registry);
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("{name}_total{{")));
    line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok())
        .unwrap_or(0)
}
