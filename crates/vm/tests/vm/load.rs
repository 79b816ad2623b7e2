//! Concurrent writers on the host, and the record of what was acknowledged.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
};
use pandaemon_testkit::wait;
use pandaemon_vm::record::{Contents, Record};
use parking_lot::Mutex;
use tokio::runtime::Runtime;

const NAMESPACE: &str = "load";
/// Writers that write at once, so that the store commits several writes together.
const WRITERS: usize = 12;
/// The keys of a writer.
const KEYS: usize = 6;
/// Most values are short. One of `LONG_ONE_IN` is as long as several pages of a disk.
const SHORT_VALUE: usize = 2_000;
const LONG_VALUE: usize = 200_000;
const LONG_ONE_IN: usize = 16;

/// What writers share.
#[derive(Debug, Default)]
struct Shared {
    record: Mutex<Record>,
    /// Answers that contradict earlier ones.
    wrong: Mutex<Vec<String>>,
    stop: AtomicBool,
    /// Numbers the values of all rounds.
    values: Mutex<u64>,
}

/// Writers, and what they have written. The record is kept over several starts of them.
#[derive(Debug)]
pub(crate) struct Load {
    runtime: Runtime,
    shared: Arc<Shared>,
    running: Option<tokio::task::JoinHandle<()>>,
}

impl Load {
    pub(crate) fn new() -> Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Ok(Self {
            runtime: builder.worker_threads(2).enable_all().build()?,
            shared: Arc::default(),
            running: None,
        })
    }

    /// Runs a future of a client to its end.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// The record of acknowledged writes.
    pub(crate) fn record(&self) -> &Mutex<Record> {
        &self.shared.record
    }

    /// Starts the writers; they go on with the objects that are there.
    pub(crate) fn start(&mut self, client: &Client, found: &Contents, random: &mut Rng) {
        self.shared.stop.store(false, Ordering::Relaxed);
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let prefix = format!("w{number}-");
                let known = found.iter().filter(|(key, _)| key.starts_with(&prefix));
                let writer = Writer {
                    api: Api::namespaced(client.clone(), NAMESPACE),
                    shared: Arc::clone(&self.shared),
                    random: random.fork(),
                    prefix: prefix.clone(),
                    known: known
                        .map(|(key, (_, revision))| (key.clone(), *revision))
                        .collect(),
                };
                writer.run()
            })
            .collect();
        let all = async {
            futures::future::join_all(writers).await;
        };
        self.running = Some(self.runtime.spawn(all));
    }

    /// Waits until this many more writes are acknowledged.
    pub(crate) fn wait_for(&self, more: usize, limit: Duration) -> Result<()> {
        let goal = self.shared.record.lock().acknowledged() + more;
        wait::until("acknowledged writes", limit, || {
            let now = self.shared.record.lock().acknowledged();
            if now >= goal {
                return Ok(());
            }
            Err(format!("{now} of {goal}"))
        })
    }

    /// Tells the writers to end after their writes, and waits for them.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        match self.running.take() {
            Some(running) => self.runtime.block_on(running).context("a writer panicked"),
            None => Ok(()),
        }
    }

    /// Answers that contradict earlier ones.
    pub(crate) fn take_wrong(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.wrong.lock())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // A panic of a writer has been reported, or the scenario has failed already.
        let _ended = self.stop();
    }
}

/// Makes the namespace that the writers use.
pub(crate) async fn make_namespace(client: &Client) -> Result<()> {
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(NAMESPACE.into()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    let api: Api<Namespace> = Api::all(client.clone());
    api.create(&PostParams::default(), &namespace).await?;
    // The controllers write this one; it must not look like a foreign key later.
    Ok(())
}

/// What the server has: the values of the writers, with the revisions that wrote them.
pub(crate) async fn read_all(client: &Client) -> Result<Contents> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let list = api.list(&ListParams::default()).await?;
    let mut found = Contents::new();
    for map in list.items {
        let key = map.metadata.name.clone().context("an object has no name")?;
        let revision = revision(&map)?;
        let value = map.data.and_then(|mut data| data.remove("value"));
        // Others' objects: the certificate of the CA.
        if let Some(value) = value {
            found.insert(key, (value, revision));
        }
    }
    Ok(found)
}

/// Writes an object of its own and returns its revision.
pub(crate) async fn next_revision(client: &Client) -> Result<u64> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let map = config_map("next-revision", "", None);
    revision(&api.create(&PostParams::default(), &map).await?)
}

fn revision(map: &ConfigMap) -> Result<u64> {
    let text = map.metadata.resource_version.as_deref();
    let text = text.context("an object has no resource version")?;
    text.parse()
        .with_context(|| format!("resource version {text}"))
}

fn config_map(name: &str, value: &str, revision: Option<u64>) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.into()),
            resource_version: revision.map(|revision| revision.to_string()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([("value".into(), value.into())])),
        ..ConfigMap::default()
    }
}

/// Writes its keys until it is told to stop, or does not know what became of a write.
struct Writer {
    api: Api<ConfigMap>,
    shared: Arc<Shared>,
    random: Rng,
    prefix: String,
    /// Its objects that exist, with their revisions.
    known: BTreeMap<String, u64>,
}

impl Writer {
    async fn run(mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) {
            match self.write().await {
                Ok(()) => {}
                // The server says that what it acknowledged is otherwise.
                Err(kube::Error::Api(status)) if status.code < 500 => {
                    let mut wrong = self.shared.wrong.lock();
                    wrong.push(format!(
                        "{}: {}: {}",
                        self.prefix, status.code, status.message
                    ));
                    return;
                }
                // The write may have happened. The record leaves it open.
                Err(_) => return,
            }
        }
    }

    async fn write(&mut self) -> Result<(), kube::Error> {
        let key = format!("{}k{}", self.prefix, self.random.usize(0..KEYS));
        let known = self.known.get(&key).copied();
        if known.is_some() && self.random.u8(0..4) == 0 {
            let ticket = self.shared.record.lock().begin(&key, None);
            self.api.delete(&key, &DeleteParams::default()).await?;
            self.known.remove(&key);
            self.acknowledge(ticket, None);
            return Ok(());
        }
        let value = self.next_value();
        let map = config_map(&key, &value, known);
        let ticket = self.shared.record.lock().begin(&key, Some(value));
        let parameters = PostParams::default();
        let written = match known {
            Some(_) => self.api.replace(&key, &parameters, &map).await?,
            None => self.api.create(&parameters, &map).await?,
        };
        match revision(&written) {
            Ok(revision) => {
                self.known.insert(key, revision);
                self.acknowledge(ticket, Some(revision));
            }
            Err(error) => self.shared.wrong.lock().push(format!("{key}: {error:#}")),
        }
        Ok(())
    }

    fn acknowledge(&self, ticket: pandaemon_vm::record::Ticket, revision: Option<u64>) {
        let noted = self.shared.record.lock().acknowledge(ticket, revision);
        if let Err(what) = noted {
            self.shared.wrong.lock().push(what);
        }
    }

    /// A value that was never written before.
    fn next_value(&mut self) -> String {
        let number = {
            let mut values = self.shared.values.lock();
            *values += 1;
            *values
        };
        let longest = if self.random.usize(0..LONG_ONE_IN) == 0 {
            LONG_VALUE
        } else {
            SHORT_VALUE
        };
        let length = self.random.usize(0..longest);
        let mut value = format!("{number}-");
        value.extend(std::iter::repeat_with(|| self.random.alphanumeric()).take(length));
        value
    }
}

/// Fails with everything that is wrong.
pub(crate) fn nothing_wrong(when: &str, wrong: &[String]) -> Result<()> {
    ensure!(
        wrong.is_empty(),
        "{when}: {} keys or answers are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    Ok(())
}
