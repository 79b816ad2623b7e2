//! Tests of the planner: clusters described as text, and properties over random histories.
#![expect(clippy::disallowed_methods, reason = "cases are read from files")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

#[path = "planner/cases.rs"]
mod cases;
#[path = "planner/cluster.rs"]
mod cluster;
#[path = "planner/earlier_set.rs"]
mod earlier_set;
#[path = "planner/limits.rs"]
mod limits;
#[path = "planner/properties.rs"]
mod properties;
#[path = "planner/regressions.rs"]
mod regressions;
#[path = "planner/takeover.rs"]
mod takeover;
#[path = "planner/text_cluster.rs"]
mod text_cluster;
