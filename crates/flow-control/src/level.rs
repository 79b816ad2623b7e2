//! Priority levels: their share of the server's seats, and what becomes of requests beyond it.

use serde::Deserialize;

use crate::schema::Metadata;

/// A PriorityLevelConfiguration: the fields that decide.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Level {
    pub(crate) metadata: Metadata,
    pub(crate) spec: Spec,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Spec {
    pub exempt: Option<Exempt>,
    pub limited: Option<Limited>,
}

/// A level whose requests always begin at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Exempt {
    nominal_concurrency_shares: u32,
    lendable_percent: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Limited {
    nominal_concurrency_shares: Option<u32>,
    lendable_percent: u32,
    borrowing_limit_percent: Option<u32>,
    limit_response: LimitResponse,
}

/// What becomes of a request that finds no free seat.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LimitResponse {
    /// The queues in which requests wait; without, they are refused.
    pub queuing: Option<Queuing>,
}

/// The queues of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Queuing {
    /// How many there are.
    pub queues: usize,
    /// How many a flow may use.
    pub hand_size: usize,
    /// How many requests may wait in one.
    pub queue_length_limit: usize,
}

/// Upstream's defaults: `SetDefaults_QueuingConfiguration`.
impl Default for Queuing {
    fn default() -> Self {
        Self {
            queues: 64,
            hand_size: 8,
            queue_length_limit: 50,
        }
    }
}

/// How many seats a level may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Its share of the server's seats.
    pub nominal: u64,
    /// What is left of its share when everything that it lends is in use by others.
    pub lower: u64,
    /// Its share with all that it may borrow.
    pub upper: u64,
}

impl Level {
    /// What the level is called in references and metrics.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// For the headers of responses.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.metadata.uid
    }

    /// Whether its requests always begin at once.
    #[must_use]
    pub fn is_exempt(&self) -> bool {
        self.spec.limited.is_none()
    }

    /// What becomes of its requests that find no free seat.
    pub(crate) fn queuing(&self) -> Option<Queuing> {
        let limited = self.spec.limited.as_ref()?;
        limited.limit_response.queuing
    }

    pub(crate) fn shares(&self) -> u64 {
        match (&self.spec.limited, &self.spec.exempt) {
            // Upstream's default: `PriorityLevelConfigurationDefaultNominalConcurrencyShares`.
            (Some(limited), _) => limited.nominal_concurrency_shares.unwrap_or(30).into(),
            (None, Some(exempt)) => exempt.nominal_concurrency_shares.into(),
            (None, None) => 0,
        }
    }

    /// Its seats, of a server that has `seats`. Upstream: `updateBorrowingLocked`, KEP-1040.
    pub(crate) fn limits(&self, seats: u64, all_shares: u64) -> Limits {
        let nominal = (seats * self.shares()).div_ceil(all_shares.max(1));
        let (lendable, borrowing) = match (&self.spec.limited, &self.spec.exempt) {
            (Some(limited), _) => (limited.lendable_percent, limited.borrowing_limit_percent),
            (None, Some(exempt)) => (exempt.lendable_percent, None),
            (None, None) => (0, None),
        };
        let part = |percent: u32| (nominal * u64::from(percent) + 50) / 100;
        Limits {
            nominal,
            lower: nominal - part(lendable.min(100)),
            upper: borrowing.map_or(seats.max(nominal), |percent| nominal + part(percent)),
        }
    }
}
