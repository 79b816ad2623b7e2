//! HTTP: connections, TLS, and the parsing and routing of requests.

pub(crate) mod body;
mod client_verifier;
mod deadline;
pub(crate) mod handler;
pub(crate) mod limits;
pub(crate) mod listen;
pub(crate) mod negotiate;
pub(crate) mod request;
pub(crate) mod request_bodies;
pub(crate) mod stream_end;
pub(crate) mod tls;
