//! `apps`.

pub(super) mod controller_revision;
pub(super) mod daemon_set;
