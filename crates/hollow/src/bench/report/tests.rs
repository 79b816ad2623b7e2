//! The distribution, the JSON object and the table of a report.

use serde_json::{Value, json};

use super::*;

#[test]
fn percentiles_are_values_that_were_measured() {
    let ms = |value| Duration::from_millis(value);
    let spread = Spread::of(&(1..=20).rev().map(ms).collect::<Vec<_>>()).unwrap();
    let of = |count, min, p50, p99, max| Spread {
        count,
        min,
        p50,
        p99,
        max,
    };
    assert_eq!(spread, of(20, 1.0, 10.0, 20.0, 20.0));
    let spread = Spread::of(&(1..=200).map(ms).collect::<Vec<_>>()).unwrap();
    assert_eq!(spread, of(200, 1.0, 100.0, 198.0, 200.0));
    assert_eq!(Spread::of(&[ms(3)]), Some(of(1, 3.0, 3.0, 3.0, 3.0)));
    assert_eq!(Spread::of(&[]), None);
}

fn report() -> Report {
    Report {
        schema: SCHEMA,
        label: "here".to_owned(),
        started: "2026-01-01T00:00:00Z".to_owned(),
        machine: Machine {
            cores: 2,
            cpu: "Some CPU".to_owned(),
            memory_bytes: 24 << 30,
            kernel: "6.1.0".to_owned(),
            load_average: vec![0.5, 0.25, 0.0],
        },
        server: Server {
            version: "v1.33.0".to_owned(),
        },
        options: Options {
            client: "0.1.0",
            nodes: 1000,
            joins: 20,
            max_unavailable: "10%".to_owned(),
            start_latency_seconds: 0.0,
            lease_interval_seconds: 10.0,
            parallel: 64,
            hollow_external: false,
        },
        phases: vec![Phase {
            name: "roll-out",
            seconds: 0.5,
            cpu_seconds: 0.75,
            client_cpu_seconds: 0.25,
            peak_memory_bytes: 3 << 20,
        }],
        ceiling: None,
        results: Results {
            available_seconds: Some(0.5),
            join_milliseconds: Spread::of(&[Duration::from_millis(4)]),
            peak_memory_bytes: 3 << 20,
            ..Results::default()
        },
        processes: vec![Process {
            pid: 7,
            command: "pandaemon".to_owned(),
            cpu_seconds: 0.75,
            peak_memory_bytes: 3 << 20,
        }],
    }
}

#[test]
fn the_json_object_has_exactly_the_documented_fields() {
    let value = serde_json::to_value(report()).unwrap();
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let top = [
        "label",
        "machine",
        "options",
        "phases",
        "processes",
        "results",
        "schema",
    ];
    assert_eq!(keys(&value), [&top[..], &["server", "started"]].concat());
    assert_eq!(
        value["results"],
        json!({
            "availableSeconds": 0.5, "cpuSeconds": 0.0, "totalCpuSeconds": 0.0,
            "peakMemoryBytes": 3 << 20,
            "joinMilliseconds": {"count": 1, "min": 4.0, "p50": 4.0, "p99": 4.0, "max": 4.0},
        })
    );
    assert_eq!(
        keys(&value["phases"][0]),
        [
            "clientCpuSeconds",
            "cpuSeconds",
            "name",
            "peakMemoryBytes",
            "seconds"
        ]
    );
}

#[test]
fn the_table_leaves_out_what_was_not_measured() {
    let expected = "\
here: server v1.33.0; 1000 nodes and 20 joining; 2 cores (Some CPU), 24 GiB, Linux 6.1.0, load 0.50 0.25 0.00

what                                  measured
numberAvailable = nodes               0.500 s
node joins until its pod is ready     p50 4.0 ms, p99 4.0 ms, max 4.0 ms (of 1)
processor time, roll-out to deletion  0.000 s
peak memory                           3.0 MiB

phase              seconds  CPU s  CPU s here  memory MiB
roll-out             0.500   0.75        0.25         3.0
process 7 (pandaemon): 0.75 s of processor time, at most 3.0 MiB
";
    assert_eq!(report().table(), expected);
}
