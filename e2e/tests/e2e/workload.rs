//! Environment, volumes, limits and security of containers; logs and exec.

use anyhow::{Context as _, Result, ensure};

use crate::test_env::{TestEnv, name_of};

pub(crate) fn containers_get_environment_volumes_limits_and_security_of_the_pod_spec(
    env: &TestEnv,
) -> Result<()> {
    env.run_agents()?;
    let kubectl = env.kubectl()?;
    let pod = env.pod_on("app=agent", "node2")?;
    let name = name_of(&pod)?.to_owned();
    let inside =
        |script: &str| kubectl.words(&["exec", &name, "-c", "agent", "--", "sh", "-c", script]);
    let expected = [
        ("echo $WHERE", "15s on $(NODE)"),
        ("echo $KEY", "s3cret"),
        ("cat /etc/agent/agent.conf", "listen = 8080"),
        ("cat /scratch/prepared", "prepared on node2"),
        ("touch /data/x && ls /scratch/data", "x"),
        ("hostname", name.as_str()),
        ("touch /x 2>&1; true", "touch: /x: Read-only file system"),
        ("grep NoNewPrivs /proc/self/status | grep -o '[01]$'", "1"),
        (
            "grep CapEff /proc/self/status | grep -o '[0-9a-f]*$'",
            "0000000000000400",
        ),
        ("test -f /host/etc/passwd && echo yes", "yes"),
    ];
    for (script, wanted) in expected {
        let got = inside(script)?;
        ensure!(
            got.trim() == wanted,
            "`{script}` in the container: `{}`, not `{wanted}`",
            got.trim()
        );
    }
    check_memory_limit(&inside)
}

/// Checks the memory limit in the container's cgroup, of version 1 or 2.
fn check_memory_limit(inside: &impl Fn(&str) -> Result<String>) -> Result<()> {
    let read = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null \
                || cat /sys/fs/cgroup/memory.max";
    let limit: u64 = inside(read)?.trim().parse().context("the memory limit")?;
    ensure!(limit == 64 << 20, "memory limit {limit}, not 64Mi");
    Ok(())
}

pub(crate) fn logs_and_exec_reach_the_container(env: &TestEnv) -> Result<()> {
    env.run_agents()?;
    let kubectl = env.kubectl()?;
    let of_set = kubectl.try_run("logs ds/agent -c agent --tail=2")?;
    ensure!(
        of_set.code == 0 && of_set.stdout.lines().count() == 2,
        "logs ds/agent: {of_set:?}"
    );
    let by_label = kubectl.run("logs -l app=agent -c agent --tail=1")?;
    ensure!(
        by_label.lines().count() == 3,
        "one line of each pod: {by_label}"
    );

    let pod = env.pod_on("app=agent", "node1")?;
    let name = name_of(&pod)?;
    let first = kubectl.run(&format!("logs {name} -c agent"))?;
    ensure!(
        first.starts_with("monitoring-agent v1.0.0 started"),
        "the first line: {first}"
    );
    let stamped = kubectl.run(&format!(
        "logs {name} -c agent --timestamps --limit-bytes=20"
    ))?;
    ensure!(
        stamped.starts_with("20") && stamped.len() <= 20,
        "timestamps: {stamped}"
    );

    let code = kubectl.try_run(&format!(
        "exec {name} -c agent -- sh -c 'echo out; echo err >&2; exit 7'"
    ))?;
    ensure!(
        code.code == 7 && code.stdout == "out\n" && code.stderr.starts_with("err\n"),
        "exec: {code:?}"
    );
    let big = kubectl.run(&format!(
        "exec {name} -c agent -- head -c 1000000 /dev/zero"
    ))?;
    ensure!(
        big.len() == 1_000_000,
        "a large output has {} bytes",
        big.len()
    );
    let missing = kubectl.try_run(&format!("exec {name} -c other -- true"))?;
    ensure!(
        missing.code == 1
            && missing
                .stderr
                .contains("container other is not valid for pod"),
        "exec into a container that is not there: {missing:?}"
    );
    Ok(())
}
