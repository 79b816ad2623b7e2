//! A runtime in memory, for tests: containers run until they are stopped or a test makes them exit.

mod runtime;
mod streaming;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::watch;

use self::streaming::Tokens;
use crate::{CriError, Reply, Result, pb};

#[derive(Debug, Default)]
struct State {
    next: u64,
    sandboxes: BTreeMap<String, pb::PodSandboxStatus>,
    containers: BTreeMap<String, (String, pb::ContainerStatus)>,
    images: BTreeSet<String>,
    calls: Vec<String>,
    faults: BTreeMap<String, Fault>,
    tokens: Tokens,
}

/// What happens to calls that a test has chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    /// They fail with this message.
    Fail(String),
    /// They do not respond.
    Hang,
    /// They do what is asked for, and do not respond.
    HangReply,
    /// The first one panics.
    Panic,
}

/// A runtime in memory. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct FakeRuntime {
    state: Arc<Mutex<State>>,
    /// Notified of every call and of every change by a test.
    changed: Arc<watch::Sender<()>>,
}

impl FakeRuntime {
    /// A runtime that holds these images.
    #[must_use]
    pub fn with_images(images: &[&str]) -> Self {
        let fake = Self::default();
        fake.state.lock().images = images.iter().map(|&image| image.to_owned()).collect();
        fake
    }

    /// All calls so far: the method and its subject (a name, an id, the values of labels),
    /// separated by a blank.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.state.lock().calls.clone()
    }

    /// Waits until a call that begins with `call` has been made.
    pub async fn called(&self, call: &str) {
        let mut changed = self.changed.subscribe();
        while !self.calls().iter().any(|one| one.starts_with(call)) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Makes calls that begin with `call` fail with this message until [`FakeRuntime::recover`].
    pub fn fail(&self, call: &str, message: &str) {
        self.set_fault(call, Some(Fault::Fail(message.to_owned())));
    }

    /// Makes calls that begin with `call` wait without a response until [`FakeRuntime::recover`].
    pub fn hang(&self, call: &str) {
        self.set_fault(call, Some(Fault::Hang));
    }

    /// Makes calls that begin with `call` do what they are to do, and wait without a response until
    /// [`FakeRuntime::recover`].
    pub fn hang_reply(&self, call: &str) {
        self.set_fault(call, Some(Fault::HangReply));
    }

    /// Makes the next call that begins with `call` panic.
    pub fn panic_once(&self, call: &str) {
        self.set_fault(call, Some(Fault::Panic));
    }

    /// Makes calls that begin with `call` succeed again.
    pub fn recover(&self, call: &str) {
        self.set_fault(call, None);
    }

    fn set_fault(&self, call: &str, fault: Option<Fault>) {
        let mut state = self.state.lock();
        match fault {
            Some(fault) => drop(state.faults.insert(call.to_owned(), fault)),
            None => drop(state.faults.remove(call)),
        }
        drop(state);
        self.changed.send_replace(());
    }

    /// The ids of the containers with this name, oldest first.
    #[must_use]
    pub fn containers(&self, name: &str) -> Vec<String> {
        let state = self.state.lock();
        let named = state.containers.values().filter(|(_, one)| {
            let metadata = one.metadata.as_ref();
            metadata.is_some_and(|metadata| metadata.name == name)
        });
        let mut found: Vec<_> = named
            .map(|(_, one)| (one.created_at, one.id.clone()))
            .collect();
        found.sort();
        found.into_iter().map(|(_, id)| id).collect()
    }

    /// Makes a container's process exit with `code` at `at` (nanoseconds since 1970).
    pub fn exit(&self, id: &str, code: i32, at: i64) {
        if let Some((_, container)) = self.state.lock().containers.get_mut(id) {
            end(container, code);
            container.finished_at = at;
        }
        self.changed.send_replace(());
    }

    /// Records a call and performs it, unless a test has given it a fault.
    fn record<'a, T: Send>(
        &'a self,
        call: &'static str,
        subject: &str,
        act: impl FnOnce(&mut State) -> Result<T> + Send + 'a,
    ) -> Reply<'a, T> {
        let call = format!("{call} {subject}").trim_end().to_owned();
        Box::pin(async move {
            self.state.lock().calls.push(call.clone());
            self.changed.send_replace(());
            self.wait_while(&call, &Fault::Hang).await;
            match self.fault(&call) {
                Some(Fault::Fail(message)) => Err(CriError::Failed {
                    code: "Unknown",
                    message,
                }),
                Some(Fault::Panic) => {
                    self.state
                        .lock()
                        .faults
                        .retain(|_, fault| !matches!(fault, Fault::Panic));
                    // Unlike `panic!`, this is allowed outside of tests; the caller sees no
                    // difference.
                    std::panic::resume_unwind(Box::new(format!(
                        "{call}: a panic asked for by a test"
                    )))
                }
                Some(Fault::HangReply) => {
                    let reply = act(&mut self.state.lock());
                    self.changed.send_replace(());
                    self.wait_while(&call, &Fault::HangReply).await;
                    reply
                }
                Some(Fault::Hang) | None => act(&mut self.state.lock()),
            }
        })
    }

    /// Waits as long as a call has this fault.
    async fn wait_while(&self, call: &str, fault: &Fault) {
        let mut changed = self.changed.subscribe();
        while self.fault(call).as_ref() == Some(fault) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    fn fault(&self, call: &str) -> Option<Fault> {
        let state = self.state.lock();
        let mut faults = state.faults.iter();
        let found = faults.find(|(prefix, _)| call.starts_with(prefix.as_str()));
        found.map(|(_, fault)| fault.clone())
    }
}

/// Marks a container as exited with this code.
fn end(container: &mut pb::ContainerStatus, code: i32) {
    container.state = pb::ContainerState::ContainerExited.into();
    container.exit_code = code;
    container.reason = if code == 0 { "Completed" } else { "Error" }.to_owned();
}

impl State {
    fn id(&mut self, prefix: &str) -> String {
        self.next += 1;
        format!("{prefix}{}", self.next)
    }

    fn container(&mut self, id: &str) -> Result<&mut pb::ContainerStatus> {
        let found = self.containers.get_mut(id).map(|(_, container)| container);
        found.ok_or_else(|| missing("container", id))
    }
}

fn missing(what: &str, id: &str) -> CriError {
    CriError::Failed {
        code: "NotFound",
        message: format!("{what} {id:?} not found"),
    }
}
