//! The loops against a server in the same process.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test must fail loudly")]

#[path = "loops/binding.rs"]
mod binding;
#[path = "loops/collecting.rs"]
mod collecting;
#[path = "loops/daemons.rs"]
mod daemons;
#[path = "loops/defaults.rs"]
mod defaults;
#[path = "loops/endpoints.rs"]
mod endpoints;
#[path = "loops/harness.rs"]
mod harness;
#[path = "loops/nodes.rs"]
mod nodes;
