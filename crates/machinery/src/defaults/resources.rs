//! Defaults of resource lists.

use pandaemon_types::Quantity;
use serde_json::Value;

use super::existing;

/// Rounds the amounts of a `ResourceList` up to thousandths.
pub(super) fn round(list: &mut Value) {
    for (_, amount) in list.as_object_mut().into_iter().flatten() {
        if let Ok(quantity) = Quantity::from_json(amount) {
            *amount = quantity.round_up_to_millis().to_string().into();
        }
    }
}

/// Rounds the limits and requests of `ResourceRequirements`.
pub(super) fn requirements(requirements: &mut Value) {
    for name in ["limits", "requests"] {
        if let Some(list) = existing(requirements, name) {
            round(list);
        }
    }
}
