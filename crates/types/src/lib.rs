//! The vocabulary that every other crate shares: label and field selectors, quantities, points in
//! time, and small read models of API objects. Pure: it parses, compares and prints, and never looks
//! at a clock, a file or a socket.

pub mod claims;
pub mod field_selector;
pub mod intern;
pub mod label_selector;
pub mod names;
pub mod number;
pub mod object;
pub mod quantity;
pub mod time;
pub mod view;

pub use claims::{Claims, HostPort, Resources};
pub use field_selector::FieldSelector;
pub use intern::{Interner, LabelSet, Name, Uid};
pub use label_selector::{LabelSelector, Labels, SelectorError};
pub use number::{IntOrPercent, IntOrPercentError};
pub use object::{Meta, Owner};
pub use quantity::{Quantity, QuantityError};
pub use time::Timestamp;
pub use view::{Effect, NodeView, Phase, PodView, Taint, VersionedNode};
