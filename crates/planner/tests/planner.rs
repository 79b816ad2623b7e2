//! Tests of the planner: worlds as text, and properties over random ones.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

#[path = "planner/cases.rs"]
mod cases;
#[path = "planner/cluster.rs"]
mod cluster;
#[path = "planner/limits.rs"]
mod limits;
#[path = "planner/properties.rs"]
mod properties;
#[path = "planner/simulated.rs"]
mod simulated;
#[path = "planner/takeover.rs"]
mod takeover;
#[path = "planner/world.rs"]
mod world;
