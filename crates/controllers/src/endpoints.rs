//! Endpoints and EndpointSlices of services: two controllers over the same watches.
//!
//! Observe: services and pods, and which services a change concerns ([`service_index`]). Plan:
//! [`addresses`] (pods to addresses), [`endpoints_object`] and [`endpointslice_reconciler`]. Act:
//! create, update, delete.

pub mod addresses;
pub mod endpoints_object;
pub mod endpointslice_reconciler;
pub mod service;

mod endpoints_controller;
mod endpointslice_controller;
mod service_index;

pub use self::{
    endpoints_controller::run as run_endpoints, endpointslice_controller::run as run_slices,
};
