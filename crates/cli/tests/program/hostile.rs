//! Requests that are made to cost as much as possible: what each takes of the server, and how
//! another client is served meanwhile.

use std::time::Duration;

use pandaemon_hollow::hostile::{HEADER, HostileArgs, measure};

use crate::process::{client, start_server};

/// Most memory that a request may take, in bytes.
const MEMORY_MAX: u64 = 300_000_000;
/// Most processor time. An unoptimized build needs 2 s at most (`docs/benchmarks.md`).
const CPU_MAX: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_takes_the_memory_or_the_time_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_server(folder.path());
    let args = HostileArgs {
        pid: server.pid(),
        only: None,
    };
    let (mut count, mut faults) = (0, Vec::new());
    println!("{HEADER}");
    let client = client(&server).await;
    let measured = measure(&client, &args, |outcome| {
        println!("{outcome}");
        count += 1;
        let in_bounds = outcome.memory < MEMORY_MAX && outcome.cpu < CPU_MAX;
        if !in_bounds || outcome.code == 0 || outcome.code >= 500 {
            faults.push(outcome.to_string());
        }
        Ok(())
    });
    measured.await.unwrap();
    assert!(20 < count, "{count} requests");
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
