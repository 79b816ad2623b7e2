//! Faulty behaviours between the planner and the cluster. The simulator must see each of them: what
//! it would not see in a mutant, it would not see in the planner.

mod requests;
mod table;

use std::rc::Rc;

use serde_json::{Value, json};

pub(crate) use self::table::Mutation;
use crate::{
    api::{Kind, Stored},
    objects::{Phase, Pod},
    request::{Delivery, FailureKind, Outcome, OutcomeResult, Request},
};

/// Alters what passes between the planner and the cluster; without a mutation it alters nothing.
#[derive(Debug, Default)]
pub(crate) struct Mutant {
    mutation: Option<Mutation>,
    count: usize,
    /// The pod that was observed last.
    last: Option<Pod>,
    /// The last creation or deletion that the API server refused, until one succeeds.
    refused: Option<Request>,
    /// Failed pods that were observed since the last plan.
    failed: Vec<Pod>,
}

/// The message of failures that a mutant makes up.
const WITHHELD: &str = "the mutant did not send it";

impl Mutant {
    pub(crate) fn new(mutation: Option<Mutation>) -> Self {
        Self {
            mutation,
            ..Self::default()
        }
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Whether feeds deliver entries that are older than what they have delivered.
    pub(crate) fn takes_old_entries(&self) -> bool {
        self.is(Mutation::TakesOldEntries)
    }

    /// The time that the planner is told with a delivery.
    pub(crate) fn time(&self, delivery: &Delivery, now: i64) -> i64 {
        match delivery {
            Delivery::Outcome(outcome) if outcome.result.is_err() => {
                now - if self.is(Mutation::ShortPauses) {
                    120_000
                } else {
                    0
                }
            }
            _ => now,
        }
    }

    /// When the planner is woken.
    pub(crate) fn wake_at(&self, wake_at: Option<i64>) -> Option<i64> {
        wake_at.filter(|_| !self.is(Mutation::NeverWakes))
    }

    /// What the planner observes in place of a delivery.
    pub(crate) fn delivery(&mut self, delivery: Delivery) -> Vec<Delivery> {
        let Some(mutation) = self.mutation else {
            return vec![delivery];
        };
        self.count += 1;
        match delivery {
            Delivery::Changed(stored) => vec![Delivery::Changed(self.changed(mutation, stored))],
            Delivery::Gone { ref last, .. }
                if mutation == Mutation::IgnoresPodRemovals && last.kind() == Kind::Pods =>
            {
                Vec::new()
            }
            Delivery::Listed {
                kind: Kind::Pods,
                members,
                ..
            } if mutation == Mutation::ListsWithoutVersion => vec![Delivery::Listed {
                kind: Kind::Pods,
                members,
                version: u64::MAX,
            }],
            Delivery::Outcome(outcome) => self.outcome(mutation, outcome),
            other => vec![other],
        }
    }

    fn changed(&mut self, mutation: Mutation, stored: Rc<Stored>) -> Rc<Stored> {
        let kind = stored.kind();
        if let Some(pod) = stored.pod().filter(|pod| !pod.deleting) {
            self.last = Some(pod.clone());
            if pod.phase == Phase::Failed && pod.owner.is_some() {
                self.failed.push(pod.clone());
            }
        }
        let edit = |change: &dyn Fn(&mut Value)| {
            let mut json = stored.json.clone();
            change(&mut json);
            Rc::new(Stored::read(kind, json))
        };
        let rolling = "/spec/updateStrategy/rollingUpdate";
        match (mutation, kind) {
            (Mutation::IgnoresBudget, Kind::Sets) => edit(&|set| {
                if let Some(limits) = set.pointer_mut(rolling) {
                    *limits = json!({"maxUnavailable": "100%", "maxSurge": 0});
                }
            }),
            (Mutation::HalfBudget, Kind::Sets) => edit(&|set| {
                if let Some(limits) = set.pointer_mut(rolling)
                    && limits["maxSurge"] == 0
                {
                    *limits = json!({"maxUnavailable": 1, "maxSurge": 0});
                }
            }),
            (Mutation::NeverUpdates, Kind::Sets) => edit(&|set| {
                if set
                    .pointer(rolling)
                    .is_some_and(|limits| limits["maxSurge"] == 0)
                {
                    set["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
                }
            }),
            (Mutation::NeverSurges, Kind::Sets) => edit(&|set| {
                if set
                    .pointer(rolling)
                    .is_some_and(|limits| limits["maxSurge"] != 0)
                {
                    set["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
                }
            }),
            (Mutation::IgnoresMinReady, Kind::Sets) => {
                edit(&|set| set["spec"]["minReadySeconds"] = json!(0))
            }
            (Mutation::AssumesReady, Kind::Pods) => edit(&|pod| {
                let since = "2000-01-01T00:00:00Z";
                pod["status"]["conditions"] =
                    json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]);
            }),
            (Mutation::IgnoresTaints, Kind::Nodes) => {
                edit(&|node| node["spec"] = json!({"taints": []}))
            }
            (Mutation::IgnoresNodeLabels, Kind::Nodes) => {
                edit(&|node| node["metadata"]["labels"] = json!({}))
            }
            _ => stored,
        }
    }

    fn outcome(&mut self, mutation: Mutation, mut outcome: Box<Outcome>) -> Vec<Delivery> {
        let creates = matches!(outcome.request, Request::CreatePod { .. });
        let deletes = matches!(outcome.request, Request::DeletePod { .. });
        match (mutation, &mut outcome.result) {
            (Mutation::DropsExpectations, Err(failure)) if creates => {
                failure.kind = FailureKind::Refused;
            }
            (Mutation::LosesOutcomes, _) if self.count.is_multiple_of(5) => return Vec::new(),
            (Mutation::FastStart, Ok(_)) if creates => {
                return vec![Delivery::Outcome(outcome); 3];
            }
            (Mutation::IgnoresRetryAfter, Err(failure)) => failure.retry_after = 0,
            (Mutation::StarvedByRefusal, result) if creates => {
                self.refused(result, &outcome.request);
            }
            (Mutation::StopsAtRefusedDeletion, result) if deletes => {
                self.refused(result, &outcome.request);
            }
            _ => {}
        }
        vec![Delivery::Outcome(outcome)]
    }

    fn refused(&mut self, result: &OutcomeResult, request: &Request) {
        match result {
            Err(failure) if failure.message == WITHHELD => {}
            Err(failure) if failure.kind == FailureKind::Refused => {
                self.refused = Some(request.clone());
            }
            _ => self.refused = None,
        }
    }
}
