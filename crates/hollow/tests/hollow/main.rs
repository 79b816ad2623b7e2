//! Hollow nodes and the benchmark against an API server in this process.

#[cfg(test)]
mod bench;
#[cfg(test)]
mod cluster;
