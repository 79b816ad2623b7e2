//! Flow control of requests, beside client-go's `flowcontrol`: how many may be under way, and which
//! goes next.
//!
//! [`concurrency`] finds out how many requests the API server can take at once, [`token_bucket`] is
//! the cap that `--kube-api-qps` and `--kube-api-burst` set, and [`request_gate`] applies both to a
//! client.

pub mod concurrency;
pub mod request_gate;
pub mod token_bucket;
mod tuning;
