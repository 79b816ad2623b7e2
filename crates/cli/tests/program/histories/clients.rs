//! Clients that write and read a few objects, and record what they are answered.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fastrand::Rng;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt as _,
    api::{
        DeleteParams, ListParams, ObjectList, ObjectMeta, Patch, PatchParams, PostParams,
        Preconditions,
    },
};
use pandaemon_histories::{Answer, Contents, Operation, Request, Snapshot, Version};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::recorder::Recorder;

/// Where the objects are.
pub(super) const NAMESPACE: &str = "default";
const KEYS: usize = 5;
/// Some clients give up while the server is frozen, the others wait.
const ANSWER_TIMEOUTS: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(60)];
/// Most values are short; one of eight is longer than a page of a disk.
const LENGTHS: [usize; 8] = [10, 10, 10, 10, 100, 100, 1_000, 20_000];
/// The client that writes the last object.
const LAST_CLIENT: u32 = u32::MAX - 1;

/// An object with a value.
fn map(name: &str, value: u64, revision: Option<u64>) -> ConfigMap {
    let length = usize::try_from(value).unwrap() % LENGTHS.len();
    let parity = if value.is_multiple_of(2) {
        "even"
    } else {
        "odd"
    };
    let data = [
        ("value", value.to_string()),
        ("padding", "x".repeat(LENGTHS[length])),
    ];
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            resource_version: revision.map(|revision| revision.to_string()),
            labels: Some(BTreeMap::from([("parity".to_owned(), parity.to_owned())])),
            ..ObjectMeta::default()
        },
        data: Some(data.map(|(name, text)| (name.to_owned(), text)).into()),
        ..ConfigMap::default()
    }
}

/// The state of an object; `None` for those of others.
pub(super) fn version(map: &ConfigMap) -> Option<Version> {
    Some(Version {
        value: map.data.as_ref()?.get("value")?.parse().ok()?,
        revision: map.resource_version()?.parse().ok()?,
    })
}

/// A list of the objects.
pub(super) fn snapshot(list: &ObjectList<ConfigMap>) -> Snapshot {
    let items = list.items.iter();
    let items = items.filter_map(|map| Some((map.name_any(), version(map)?)));
    let revision = list.metadata.resource_version.as_deref().unwrap();
    Snapshot {
        revision: revision.parse().unwrap(),
        contents: items.collect(),
    }
}

/// What an error says of the fate of a request.
fn refusal(error: &kube::Error) -> Answer {
    match error {
        kube::Error::Api(status) => match (status.code, status.reason.as_str()) {
            (409, "AlreadyExists") => Answer::Exists,
            (409, _) => Answer::Conflict,
            (404, _) => Answer::NotFound,
            (429 | 503, _) => Answer::Refused,
            (500 | 504, _) => Answer::Unknown,
            _ => panic!("no such answer was expected: {status:?}"),
        },
        // The connection broke.
        _ => Answer::Unknown,
    }
}

pub(super) struct Client {
    number: u32,
    random: Rng,
    recorder: Arc<Recorder>,
    answer_timeout: Duration,
    /// What it last read.
    read: BTreeMap<String, Version>,
}

impl Client {
    pub(super) fn new(number: u32, random: Rng, recorder: Arc<Recorder>) -> Self {
        Self {
            number,
            random,
            recorder,
            answer_timeout: ANSWER_TIMEOUTS[number as usize % ANSWER_TIMEOUTS.len()],
            read: BTreeMap::new(),
        }
    }

    /// Sends requests until it is told to stop.
    pub(super) async fn run(mut self) {
        while !self.recorder.is_stopped() {
            self.request().await;
            // Without a pause several writes race for the same version.
            if self.random.bool() {
                sleep(Duration::from_millis(self.random.u64(0..40))).await;
            }
        }
    }

    async fn request(&mut self) {
        // Half of all requests are about one object.
        let key = match self.random.usize(0..2 * KEYS) {
            number if number < KEYS => format!("k{number}"),
            _ => "k0".to_owned(),
        };
        let request = self.choose(&key);
        let server = self.recorder.server().await;
        let api: Api<ConfigMap> = Api::namespaced(server.client, NAMESPACE);
        let called = self.recorder.now();
        let (sent, mut ended) = (self.send(&api, &key, request), None);
        let answer = match timeout(self.answer_timeout, sent).await {
            Ok((answer, at)) => {
                ended = at;
                answer
            }
            Err(_) => Answer::Unknown,
        };
        let ended = ended.unwrap_or_else(|| self.recorder.now());
        let is_read = request.value().is_none() && !matches!(request, Request::Delete(_));
        if answer == Answer::Unknown {
            // Until the next server runs.
            sleep(Duration::from_millis(50)).await;
        }
        // A read without an answer tells nothing.
        if is_read && matches!(answer, Answer::Unknown | Answer::Refused | Answer::NotFound) {
            return;
        }
        self.learn(&key, request, &answer);
        let is_list = matches!(request, Request::List | Request::ListAny);
        let operation = Operation {
            client: self.number,
            key: if is_list { String::new() } else { key },
            called,
            ended: Some(ended),
            request,
            answer,
        };
        self.recorder.record(server.generation, operation);
    }

    /// Remembers what an object is now.
    fn learn(&mut self, key: &str, request: Request, answer: &Answer) {
        let now = match (answer, request.value()) {
            (Answer::Found(found), _) => *found,
            (Answer::Written(revision), Some(value)) => Some(Version {
                value,
                revision: *revision,
            }),
            (Answer::Deleted | Answer::NotFound, _) => None,
            _ => return,
        };
        match now {
            Some(now) => self.read.insert(key.to_owned(), now),
            None => self.read.remove(key),
        };
    }

    fn choose(&mut self, key: &str) -> Request {
        let from = self.read.get(key).copied();
        match (self.random.u8(0..16), from) {
            (0, _) | (0..=7, None) => Request::Create(self.recorder.next_value()),
            (1..=4, Some(from)) => Request::Replace {
                from,
                value: self.recorder.next_value(),
            },
            (5..=7, _) => Request::Patch(self.recorder.next_value()),
            (8, from) => Request::Delete(from.filter(|_| self.random.bool())),
            (9, _) => Request::List,
            (10, _) => Request::ListAny,
            _ => Request::Get,
        }
    }

    /// Sends a request; its answer, and the time until when it was read if that is earlier.
    async fn send(
        &self,
        api: &Api<ConfigMap>,
        key: &str,
        request: Request,
    ) -> (Answer, Option<u64>) {
        let parameters = PostParams::default();
        let answer = match request {
            Request::Create(value) => {
                written(&api.create(&parameters, &map(key, value, None)).await)
            }
            Request::Replace { from, value } => {
                let map = map(key, value, Some(from.revision));
                written(&api.replace(key, &parameters, &map).await)
            }
            Request::Patch(value) => {
                let map = json!(map(key, value, None));
                let patch = Patch::Merge(&map);
                written(&api.patch(key, &PatchParams::default(), &patch).await)
            }
            Request::Delete(from) => {
                let parameters = DeleteParams {
                    preconditions: from.map(|from| Preconditions {
                        resource_version: Some(from.revision.to_string()),
                        uid: None,
                    }),
                    ..DeleteParams::default()
                };
                let deleted = api.delete(key, &parameters).await;
                deleted.map_or_else(|error| refusal(&error), |_| Answer::Deleted)
            }
            Request::Get => match api.get_opt(key).await {
                Ok(found) => Answer::Found(found.as_ref().and_then(version)),
                Err(error) => refusal(&error),
            },
            Request::List => return self.list(api).await,
            Request::ListAny => match api.list(&ListParams::default().match_any()).await {
                Ok(list) => Answer::Listed(snapshot(&list)),
                Err(error) => refusal(&error),
            },
        };
        (answer, None)
    }

    /// The newest state, in pages if the client is of an odd number. All pages show the state that
    /// the first one was read from.
    async fn list(&self, api: &Api<ConfigMap>) -> (Answer, Option<u64>) {
        let mut parameters = ListParams::default();
        if self.number % 2 == 1 {
            parameters = parameters.limit(2);
        }
        let (mut contents, mut first) = (Contents::new(), None);
        loop {
            let page = match api.list(&parameters).await {
                Ok(page) => page,
                Err(error) => return (refusal(&error), None),
            };
            let (at, revision) = *first.get_or_insert_with(|| {
                let first = snapshot(&page);
                (self.recorder.now(), first.revision)
            });
            let page_contents = snapshot(&page);
            assert_eq!(page_contents.revision, revision, "a page of another state");
            contents.extend(page_contents.contents);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => {
                    let list = Snapshot { revision, contents };
                    return (Answer::Listed(list), Some(at));
                }
            }
        }
    }
}

fn written(answer: &kube::Result<ConfigMap>) -> Answer {
    match answer {
        Ok(map) => Answer::Written(version(map).unwrap().revision),
        Err(error) => refusal(error),
    }
}

/// Writes the last object, which watches wait for.
pub(super) async fn write_last(recorder: &Recorder) {
    let server = recorder.server().await;
    let api: Api<ConfigMap> = Api::namespaced(server.client, NAMESPACE);
    // Selected by all.
    let value = recorder.next_value().next_multiple_of(2);
    let called = recorder.now();
    let made = api
        .create(&PostParams::default(), &map("last", value, None))
        .await;
    let Version { revision, .. } = version(&made.unwrap()).unwrap();
    let operation = Operation {
        client: LAST_CLIENT,
        key: "last".into(),
        called,
        ended: Some(recorder.now()),
        request: Request::Create(value),
        answer: Answer::Written(revision),
    };
    recorder.record(server.generation, operation);
    recorder.set_last(revision);
}
