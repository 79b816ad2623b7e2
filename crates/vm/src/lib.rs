//! Real machines for tests: Debian under qemu, with its own kernel, its own disks and a power plug.
//! Nothing here knows the product; `tests/vm` has what is proved with it.

mod channel;
pub mod image;
pub mod log_writes;
pub mod machine;
pub mod network;
pub mod record;

pub use channel::Output;
pub use image::{Image, ImageOptions};
pub use machine::{Disk, Machine, MachineOptions};
pub use network::Network;
pub use record::Record;
