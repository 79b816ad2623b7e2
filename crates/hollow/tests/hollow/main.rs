//! Pretend nodes from outside.

#[cfg(test)]
mod bench;
#[cfg(test)]
mod cluster;
