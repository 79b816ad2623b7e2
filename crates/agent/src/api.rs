//! The agent as a client of the API server.

pub mod events;
pub mod identity;
pub mod join;
pub mod node;
pub mod report;
pub mod sources;
