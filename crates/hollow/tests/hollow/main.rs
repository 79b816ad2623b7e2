//! Pretend nodes from outside.

#[cfg(test)]
mod cluster;
