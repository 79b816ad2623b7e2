//! The agent as a client of the API server.

pub(crate) mod events;
pub(crate) mod identity;
pub(crate) mod join;
pub(crate) mod node;
pub(crate) mod report;
pub(crate) mod sources;
