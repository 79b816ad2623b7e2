//! Container images without a registry: archives with files of Debian packages, which
//! `pandaemon up --images DIR` imports.

pub mod archive;
pub mod debian;
pub mod standins;
