//! The Kubernetes client of every crate that reads or changes a cluster through its API.
//!
//! | module | what it is |
//! |---|---|
//! | [`connect`] | makes a `kube::Client` from a kubeconfig file or a service account |
//! | [`rest`], [`errors`] | requests by path with JSON bodies; questions about refused requests |
//! | [`list_watch`] | list and watch of one collection, client-go's Reflector |
//! | [`informer`] | one list-watch shared by several loops, client-go's SharedInformer |
//! | [`work_queue`] | keys that need work, with back-off per key, client-go's workqueue |
//! | [`backoff`] | exponential back-off with jitter |
//! | [`events`] | records Events, client-go's EventRecorder |
//! | [`discovery`] | which resources a server serves |
//! | [`object_meta`] | the parts of an object's metadata that are kept in memory |
//! | [`supervise`](mod@supervise) | starts a loop again after a panic or an error |

pub mod backoff;
pub mod connect;
pub mod discovery;
pub mod errors;
pub mod events;
pub mod informer;
pub mod list_watch;
pub mod object_meta;
pub mod rest;
pub mod supervise;
pub mod work_queue;
