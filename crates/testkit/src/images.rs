//! Container images without a registry: files from Debian packages, packed as archives that
//! `pandaemon up --images DIR` imports.

pub mod archive;
pub mod debian;
pub mod standins;
