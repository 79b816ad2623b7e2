//! The vocabulary that every other crate shares: label and field selectors, quantities, points in
//! time, and small read models of API objects. Pure: it parses, compares and prints, and never looks
//! at a clock, a file or a socket.

pub mod field_selector;
pub mod label_selector;
pub mod names;
pub mod quantity;

pub use field_selector::FieldSelector;
pub use label_selector::{LabelSelector, Labels, SelectorError};
pub use quantity::{Quantity, QuantityError};
