//! Tests of the stores through their public interface.

#[cfg(test)]
mod common;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod embedded;
#[cfg(test)]
mod encryption;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod home;
#[cfg(test)]
mod model;
#[cfg(test)]
mod rotation;
