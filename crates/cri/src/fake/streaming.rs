//! The streams of the fake runtime: each URL has a token that can be used once.
//!
//! As in containerd and CRI-O (`request_cache.go` of `k8s.io/kubelet/pkg/cri/streaming`) there is
//! room for 1,000 tokens that wait for their use. Theirs expire after a minute, these never do, so
//! that a test notices each one that is not used.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use super::FakeRuntime;
use crate::{CriError, Result};

/// Upstream: `maxInFlight`.
const MAX_WAITING: usize = 1_000;
/// Where the streams are until a test serves them. Nothing listens there.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// The tokens that were given out.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    given: u64,
    waiting: BTreeSet<String>,
    /// Where a test serves the streams.
    address: Option<SocketAddr>,
}

impl Tokens {
    /// The URL of a new stream of this kind.
    pub(super) fn url(&mut self, kind: &str) -> Result<String> {
        if self.waiting.len() == MAX_WAITING {
            return Err(CriError::Failed {
                code: "ResourceExhausted",
                message: "maximum number of in-flight requests exceeded".to_owned(),
            });
        }
        self.given += 1;
        let token = format!("streaming-token-{}", self.given);
        self.waiting.insert(token.clone());
        let address = self.address.unwrap_or(NOWHERE);
        Ok(format!("http://{address}/{kind}/{token}"))
    }
}

impl FakeRuntime {
    /// Later URLs of streams have this address, where a test serves them. Until then nothing
    /// listens at their address.
    pub fn serve_streams_at(&self, address: SocketAddr) {
        self.state.lock().tokens.address = Some(address);
    }

    /// Uses a token, as the streaming server does before it looks at the rest of a request. False
    /// if there is none: it was used before, or never given out.
    #[must_use]
    pub fn use_token(&self, token: &str) -> bool {
        let used = self.state.lock().tokens.waiting.remove(token);
        self.changed.send_replace(());
        used
    }

    /// How many tokens were given out.
    #[must_use]
    pub fn given_tokens(&self) -> u64 {
        self.state.lock().tokens.given
    }

    /// Waits until no token waits for its use.
    pub async fn all_tokens_used(&self) {
        let mut changed = self.changed.subscribe();
        while !self.state.lock().tokens.waiting.is_empty() {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}
