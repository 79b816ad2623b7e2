//! What the agent reads from and writes to the API server.

mod certificate_request;
pub(crate) mod certificates;
pub(crate) mod events;
pub(crate) mod identity;
pub(crate) mod join;
pub(crate) mod node_lease;
pub(crate) mod node_registration;
pub(crate) mod node_status;
pub(crate) mod object_cache;
pub(crate) mod status_manager;
