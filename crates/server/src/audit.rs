//! The audit log: who asked for what, when, and what the answer was. Upstream:
//! `apiserver/pkg/audit`.
//!
//! [`policy`] says how much of a request is written down. A [`Record`] follows the request through
//! the handler and makes its events. The [`sink`] buffers their lines and appends them to a file.

mod annotations;
mod body;
mod event;
mod log_file;
mod object;
mod policy;
mod record;
mod sink;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use pandaemon_runtime::metrics::Metrics;

use self::{policy::Policy, sink::Sink};

pub(crate) use self::{
    annotations::Annotations,
    record::{Peer, Record, add_audit_id, audit_id},
};

/// What happens when the buffer of the audit log is full. Upstream: `--audit-log-mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Events are dropped and counted.
    #[default]
    Batch,
    /// Requests wait until there is room.
    Blocking,
    /// As `Blocking`; and a request whose first event cannot be written is refused.
    BlockingStrict,
}

/// The configuration of the audit log.
#[derive(Debug, Clone, Default)]
pub struct AuditConfig {
    /// The log; without one, nothing is written down.
    pub path: Option<PathBuf>,
    /// The policy file; without one, the built-in policy.
    pub policy: Option<PathBuf>,
    /// What happens when the buffer is full.
    pub mode: Mode,
    /// Size from which the log is replaced, in MiB.
    pub max_size_megabytes: u32,
    /// How many days an old log is kept; 0: for ever.
    pub max_age_days: u32,
    /// How many old logs are kept; 0: all.
    pub max_backups: u32,
}

/// Why the audit log cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The policy cannot be read.
    #[error("read the audit policy `{}`: {source}", path.display())]
    ReadPolicy {
        /// The policy file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The policy has faults.
    #[error("the audit policy `{path}` is not valid: {faults}")]
    Policy {
        /// The policy file, or `built-in`.
        path: String,
        /// The faults, a line for each.
        faults: String,
    },
    /// The log cannot be opened.
    #[error("open the audit log `{}`: {source}", path.display())]
    Log {
        /// The log file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

/// The audit log of a server.
#[derive(Debug)]
pub(crate) struct Auditor(Option<Log>);

/// A policy, and where its events go.
#[derive(Debug)]
struct Log {
    policy: Policy,
    sink: Sink,
}

impl Auditor {
    /// Reads the policy and opens the log.
    ///
    /// # Errors
    /// If the policy is not valid, or a file cannot be opened.
    pub(crate) fn start(config: &AuditConfig, metrics: &Metrics) -> Result<Self, AuditError> {
        let Some(path) = &config.path else {
            return Ok(Self(None));
        };
        let sink = Sink::start(config, path, metrics).map_err(|source| AuditError::Log {
            path: path.clone(),
            source,
        })?;
        let policy = read_policy(config.policy.as_deref())?;
        Ok(Self(Some(Log { policy, sink })))
    }

    /// Waits until all events are written.
    pub(crate) async fn flush(&self) {
        if let Some(log) = &self.0 {
            log.sink.flush().await;
        }
    }
}

fn read_policy(path: Option<&Path>) -> Result<Policy, AuditError> {
    let invalid = |path: &str, faults| AuditError::Policy {
        path: path.to_owned(),
        faults,
    };
    let Some(path) = path else {
        return Policy::built_in().map_err(|faults| invalid("built-in", faults));
    };
    let text = fs::read_to_string(path).map_err(|source| AuditError::ReadPolicy {
        path: path.to_owned(),
        source,
    })?;
    Policy::parse(&text).map_err(|faults| invalid(&path.to_string_lossy(), faults))
}
