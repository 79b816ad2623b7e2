//! Value types that all other crates share: label and field selectors, quantities, timestamps, and
//! small read models of API objects. Pure: it parses, compares and prints; it does no IO and reads
//! no clock.

pub mod cluster_ip;
pub mod duration;
pub mod field_selector;
pub mod hash;
pub mod intern;
pub mod label_selector;
pub mod label_set;
pub mod names;
pub mod node_labels;
pub mod number;
pub mod object;
pub mod pod_resources;
pub mod quantity;
pub mod sensitive;
pub mod text_template;
pub mod time;
pub mod uid;
pub mod view;

pub use duration::{go_duration_error, parse_duration, parse_duration_or_seconds};
pub use field_selector::FieldSelector;
pub use intern::Interner;
pub use label_selector::{LabelSelector, Labels, SelectorError};
pub use label_set::{LabelSet, Name};
pub use number::{IntOrPercent, IntOrPercentError};
pub use object::{ObjectMeta, Owner, OwnerReference};
pub use pod_resources::{HostPort, PodResources, Resources};
pub use quantity::{Quantity, QuantityError};
pub use sensitive::Sensitive;
pub use time::Timestamp;
pub use uid::Uid;
pub use view::{Effect, NodeView, Phase, PodView, Taint, VersionedNode};
