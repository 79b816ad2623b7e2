//! Leader election by a Lease, with the rules and fields of client-go's leaderelection package.
//!
//! [`state`] decides, without IO: given the lease and the time, it says whether to create, update
//! or leave it. The clocks of other processes are never read: a lease has expired when *it has not
//! changed* for its whole duration, measured by this process's clock. [`elector`] acquires and
//! renews the lease through a [`lease_lock`], and [`fence`] refuses the changes of a process that
//! may no longer be the leader.

pub mod config;
pub mod elector;
pub mod fence;
mod lease_lock;
pub mod state;
