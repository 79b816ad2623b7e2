//! `images DIR`: the image archives for the manifests and the demo, from Debian packages.

use std::path::Path;

use anyhow::{Context as _, Result};
use pandaemon_testkit::images::standins;

/// Builds all archives into the folder that the arguments name.
///
/// # Errors
/// When a package cannot be had or a file not be written.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let folder = arguments.first().context("usage: images DIR")?;
    let cache = Path::new("target/debian");
    standins::build_all(Path::new(folder), cache)?;
    standins::build_demo(Path::new(folder), cache)
}
