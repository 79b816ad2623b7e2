//! The built program: its errors and exit statuses, crashes and faults under load, many watches,
//! and the benchmark.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "program/admission_configuration.rs"]
mod admission_configuration;
#[path = "program/backups.rs"]
mod backups;
#[path = "program/bench.rs"]
mod bench;
#[path = "program/crash.rs"]
mod crash;
#[path = "program/encryption.rs"]
mod encryption;
#[path = "program/failed_starts.rs"]
mod failed_starts;
#[path = "program/histories.rs"]
mod histories;
#[path = "program/hostile.rs"]
mod hostile;
#[path = "program/kubeconfigs.rs"]
mod kubeconfigs;
#[path = "program/process.rs"]
mod process;
#[path = "program/restored_clusters.rs"]
mod restored_clusters;
#[path = "program/store_files.rs"]
mod store_files;
#[path = "program/tokens.rs"]
mod tokens;
#[path = "program/watches.rs"]
mod watches;
