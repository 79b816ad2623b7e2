//! The controllers: loops that watch the Kubernetes API, decide with pure functions, and act through the same API.
//!
//! Each loop is three steps in three places: *observe* (a projection and a small state), *plan* (a pure function in a
//! module of its own, tested as a table), *act* (requests). No loop knows of another, and none holds truth: all of
//! them can be stopped at any moment and start again from a list.
//!
//! The toolkit, for every loop: [`watching`] and [`informer`] (list and watch), [`queue`] (work with back-off),
//! [`recorder`] (events), [`api`] (requests by path), [`meta`] (projections), [`supervise`] (restart).

pub mod api;
pub mod daemonset;
pub mod defaults;
pub mod informer;
pub mod kinds;
pub mod meta;
pub mod namespace;
pub mod queue;
pub mod recorder;
pub mod selection;
pub mod supervise;
pub mod watching;

pub use selection::{Selection, UnknownLoop};
