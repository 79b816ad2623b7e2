//! What the server does with every written object, whatever its kind: see [`crate::Strategy`] for
//! what kinds do differently.

mod prepare;
mod qos;

pub use prepare::{prepare_create, prepare_update};
pub use qos::qos_class;
