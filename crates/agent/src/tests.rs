//! Tests of the agent with the fake runtime and an API server in memory: they need no root, no
//! containerd and no network.

mod deletion;
mod fake_api;
mod isolation;
mod join;
mod leaks;
mod node;
mod node_deletion;
mod references;
mod restart;
mod rights;
mod server;
mod start;
mod status;
mod streams;
mod volumes;
