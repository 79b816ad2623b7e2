//! Priority and fairness: which requests begin now, which wait, and which are refused. Pure.
//!
//! A [`Policy`] says of a request which FlowSchema it matches, and so its priority level and its
//! flow. A [`Dispatcher`] gives out the server's seats: each level has seats of its own and may
//! use those that others lend, and within a level each flow gets its share. Upstream:
//! `k8s.io/apiserver/pkg/util/flowcontrol`; `docs/design/api-server.md` says where it differs.

mod dispatcher;
mod level;
mod policy;
mod schema;
mod shuffle;

pub use dispatcher::{Arrival, Begun, Dispatcher, Refusal, RequestId, Usage, Waits};
pub use level::{Level, LimitResponse, Limits, Queuing};
pub use policy::{Flow, Policy};
pub use schema::{FlowSchema, Request, SERVICE_ACCOUNT_PREFIX};
