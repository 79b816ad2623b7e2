//! The handlers of requests, and what they answer. They call the registry and keep nothing.

pub(crate) mod backup;
pub(crate) mod discovery;
pub(crate) mod health;
pub(crate) mod join;
pub(crate) mod large;
pub(crate) mod list;
pub(crate) mod openid;
pub(crate) mod proxy;
pub(crate) mod render;
pub(crate) mod resource;
pub(crate) mod resource_request;
pub(crate) mod response;
pub(crate) mod rotate_keys;
pub(crate) mod subresources;
pub(crate) mod watch;
