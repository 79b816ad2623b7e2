//! Connections to containers: standard input, attach, cp, port-forward, followed logs, debug.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use pandaemon_testkit::{Kubectl, kubectl::words, wait};

use crate::test_env::{TIMEOUT, TestEnv, name_of};

/// The name of the agent's pod on a node; the agents are started first.
fn pod(env: &TestEnv, node: &str) -> Result<String> {
    env.run_agents()?;
    Ok(name_of(&env.pod_on("app=agent", node)?)?.to_owned())
}

/// The output of a kubectl command that reads this input.
fn run_with_input(kubectl: &Kubectl, line: &str, input: &[u8]) -> Result<String> {
    let mut child = kubectl
        .command(&words(line))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdin = child.stdin.take().context("the input of kubectl")?;
    stdin.write_all(input)?;
    drop(stdin);
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "kubectl {line}: {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first line that a running kubectl prints. It is killed after that.
fn first_line(mut child: Child) -> Result<String> {
    let mut line = String::new();
    let stdout = child.stdout.take().context("the output of kubectl")?;
    let read = BufReader::new(stdout).read_line(&mut line);
    child.kill()?;
    child.wait()?;
    read?;
    Ok(line)
}

pub(crate) fn exec_and_run_read_standard_input_to_its_end(env: &TestEnv) -> Result<()> {
    let (kubectl, name) = (env.kubectl()?, pod(env, "node1")?);
    let line = format!("exec -i {name} -c agent -- wc -c");
    let counted = run_with_input(&kubectl, &line, &vec![b'x'; 300_000])?;
    ensure!(counted.trim() == "300000", "exec -i counted {counted}");
    let unread = format!("exec -i {name} -c agent -- true");
    run_with_input(&kubectl, &unread, &vec![b'x'; 300_000])?;
    let run = "run reader --rm -i --quiet --restart=Never --image=busybox:latest \
               --image-pull-policy=IfNotPresent --command -- wc -c";
    let counted = run_with_input(&kubectl, run, b"12345")?;
    ensure!(counted.trim() == "5", "run -i counted {counted}");
    Ok(())
}

pub(crate) fn exec_command_ends_when_its_client_is_killed(env: &TestEnv) -> Result<()> {
    let (kubectl, name) = (env.kubectl()?, pod(env, "node1")?);
    let run = format!("exec {name} -c agent -- sh -c 'echo here; exec sleep 98765'");
    let line = first_line(kubectl.start(&run)?)?;
    ensure!(line == "here\n", "the command printed {line:?}");
    let list = format!("exec {name} -c agent -- ps");
    wait::until("the command ends", TIMEOUT, || match kubectl.run(&list) {
        Ok(list) if list.contains("98765") => Err(list),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    })
}

pub(crate) fn kubectl_cp_copies_files_both_ways(env: &TestEnv) -> Result<()> {
    let (kubectl, name) = (env.kubectl()?, pod(env, "node2")?);
    let dir = tempfile::tempdir()?;
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let content: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(&from, &content)?;
    let there = format!("{name}:/scratch/copied");
    let copy = |from: &str, to: &str| kubectl.words(&["cp", "-c", "agent", from, to]);
    copy(&from.to_string_lossy(), &there)?;
    copy(&there, &to.to_string_lossy())?;
    ensure!(std::fs::read(&to)? == content, "the copy differs");
    Ok(())
}

pub(crate) fn attach_shows_the_output_of_the_container(env: &TestEnv) -> Result<()> {
    let (kubectl, name) = (env.kubectl()?, pod(env, "node1")?);
    let line = first_line(kubectl.start(&format!("attach {name} -c agent"))?)?;
    ensure!(
        line.starts_with("monitoring-agent: tick"),
        "attach printed {line:?}"
    );
    Ok(())
}

pub(crate) fn port_forward_reaches_the_container(env: &TestEnv) -> Result<()> {
    let (kubectl, name) = (env.kubectl()?, pod(env, "node3")?);
    let mut child = kubectl.start(&format!("port-forward {name} :8080"))?;
    let answered = request_through(&mut child);
    child.kill()?;
    child.wait()?;
    let answer = answered?;
    ensure!(answer.contains(" 200 OK"), "through the port: {answer}");
    Ok(())
}

/// The response of the pod's web server to the last of three requests through the port that kubectl
/// listens on.
fn request_through(child: &mut Child) -> Result<String> {
    let mut line = String::new();
    let stdout = child.stdout.take().context("the output of kubectl")?;
    let mut stdout = BufReader::new(stdout);
    stdout.read_line(&mut line)?;
    let address = line
        .strip_prefix("Forwarding from ")
        .and_then(|rest| rest.split(' ').next())
        .with_context(|| format!("no address in {line:?}"))?;
    let mut answer = String::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET /ready HTTP/1.0\r\n\r\n")?;
        answer.clear();
        stream.read_to_string(&mut answer)?;
    }
    Ok(answer)
}

pub(crate) fn logs_are_followed_and_kept_after_a_restart(env: &TestEnv) -> Result<()> {
    let (kubectl, name) = (env.kubectl()?, pod(env, "node2")?);
    let mut follow = kubectl.start(&format!("logs -f {name} -c agent --tail=1"))?;
    let mut log = BufReader::new(follow.stdout.take().context("the output of kubectl")?);
    let mut followed = String::new();
    log.read_line(&mut followed)?;
    // What ends the container may end before it has said so.
    let _killed = kubectl.try_run(&format!("exec {name} -c agent -- kill 1"))?;
    log.read_to_string(&mut followed)?;
    follow.wait()?;
    ensure!(
        followed.starts_with("monitoring-agent"),
        "followed until the end: {followed:?}"
    );
    let previous = format!("logs {name} -c agent --previous --timestamps");
    wait::until("the log of the former start", TIMEOUT, || {
        let printed = kubectl.try_run(&previous).map_err(|e| e.to_string())?;
        let last = followed.lines().last().unwrap_or_default();
        let whole = printed.stdout.contains(" started on ") && printed.stdout.contains(last);
        whole.then_some(()).ok_or(format!("{printed:?}"))
    })?;
    env.run_agents()?;
    let count = |options: &str| -> Result<usize> {
        let printed = kubectl.run(&format!("logs {name} -c agent {options}"))?;
        Ok(printed.lines().count())
    };
    ensure!(count("--since=1h --tail=1")? == 1, "the last line");
    ensure!(
        count("--since-time=2200-01-01T00:00:00Z")? == 0,
        "the future"
    );
    Ok(())
}

pub(crate) fn debug_container_sees_the_processes_of_its_target(env: &TestEnv) -> Result<()> {
    let (kubectl, name) = (env.kubectl()?, pod(env, "node3")?);
    kubectl.run(&format!(
        "debug {name} --target=agent -c looker --image=busybox:latest \
         --image-pull-policy=IfNotPresent -- ps"
    ))?;
    let log = format!("logs {name} -c looker");
    wait::until("what the debugger sees", TIMEOUT, || {
        let seen = kubectl.try_run(&log).map_err(|error| error.to_string())?;
        let found = seen.stdout.contains("httpd");
        found.then_some(()).ok_or(format!("{seen:?}"))
    })?;
    let pod = kubectl.json(&format!("get pod {name}"))?;
    let main = &pod["status"]["containerStatuses"][0];
    ensure!(
        main["ready"] == true && main["restartCount"] == 0,
        "the container that was looked at: {main}"
    );
    Ok(())
}
