//! The cache: stored objects as encoded bytes, and the watch cache of all kinds.

pub mod object;
pub mod watch_cache;

#[cfg(test)]
pub(crate) mod fixture;
