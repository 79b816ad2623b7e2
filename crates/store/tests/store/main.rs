//! The embedded store from outside.

mod common;
mod crash;
mod damage;
mod embedded;
mod full_disk;
mod model;
