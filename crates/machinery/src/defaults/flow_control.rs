//! `flowcontrol.apiserver.k8s.io/v1` (upstream's `pkg/apis/flowcontrol/v1/defaults.go`).

use serde_json::Value;

use super::{existing, set, set_number};

/// The precedence of a FlowSchema that names none.
const PRECEDENCE: i64 = 1000;

pub(crate) fn flow_schema(object: &mut Value) {
    set_number(
        super::child(object, "spec"),
        "matchingPrecedence",
        PRECEDENCE,
    );
}

pub(crate) fn priority_level(object: &mut Value) {
    let spec = super::child(object, "spec");
    if let Some(exempt) = existing(spec, "exempt") {
        set(exempt, "nominalConcurrencyShares", 0);
        set(exempt, "lendablePercent", 0);
    }
    let Some(limited) = existing(spec, "limited") else {
        return;
    };
    set(limited, "nominalConcurrencyShares", 30);
    set(limited, "lendablePercent", 0);
    let response = existing(limited, "limitResponse");
    if let Some(queuing) = response.and_then(|response| existing(response, "queuing")) {
        set_number(queuing, "queues", 64);
        set_number(queuing, "handSize", 8);
        set_number(queuing, "queueLengthLimit", 50);
    }
}
