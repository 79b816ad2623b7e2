//! Errors of users and of their environment: each has a clear message, and an exit status of its
//! own.

use std::process::{Command, Output};

use anyhow::{Result, ensure};
use pandaemon_testkit::wait;

use crate::test_env::{TIMEOUT, TestEnv, program};

pub(crate) fn missing_image_has_err_image_pull_and_back_off(env: &TestEnv) -> Result<()> {
    env.apply("missing-image.yaml")?;
    let mut seen = std::collections::BTreeSet::new();
    wait::until("ErrImagePull, then ImagePullBackOff", TIMEOUT, || {
        let pods = env
            .pods("default", "app=missing-image")
            .map_err(|error| error.to_string())?;
        for pod in &pods {
            let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
            if let Some(reason) = waiting["reason"].as_str() {
                seen.insert(reason.to_owned());
            }
        }
        let both = seen.contains("ErrImagePull") && seen.contains("ImagePullBackOff");
        if both {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    })?;
    let events = env
        .kubectl()?
        .run("get events --field-selector reason=Failed")?;
    ensure!(
        events.contains("registry.invalid"),
        "events name the image: {events}"
    );
    Ok(())
}

/// Runs the program to its end; its exit status and standard error.
fn run_to_end(arguments: &[&str]) -> Result<(i32, String)> {
    let Output { status, stderr, .. } = Command::new("timeout")
        .arg("30")
        .arg(program()?)
        .args(arguments)
        .output()?;
    Ok((
        status.code().unwrap_or(-1),
        String::from_utf8_lossy(&stderr).into_owned(),
    ))
}

pub(crate) fn data_directory_in_use_is_refused_with_status_4(env: &TestEnv) -> Result<()> {
    let data = env.with_cluster(|cluster| Ok(cluster.data_dir()))?;
    let data = data.display().to_string();
    let other = tempfile::tempdir()?;
    let kubeconfig = other.path().join("kubeconfig").display().to_string();
    let (code, stderr) = run_to_end(&[
        "server",
        "--data-dir",
        &data,
        "--listen",
        "127.0.0.1:0",
        "--write-kubeconfig",
        &kubeconfig,
    ])?;
    ensure!(
        code == 4 && stderr.contains(&data),
        "status {code}: {stderr}"
    );
    Ok(())
}

pub(crate) fn address_in_use_is_refused_with_status_4(_env: &TestEnv) -> Result<()> {
    let held = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = held.local_addr()?.to_string();
    let other = tempfile::tempdir()?;
    let path = |name: &str| other.path().join(name).display().to_string();
    let (code, stderr) = run_to_end(&[
        "server",
        "--data-dir",
        &path("data"),
        "--listen",
        &address,
        "--write-kubeconfig",
        &path("k"),
    ])?;
    ensure!(
        code == 4 && stderr.contains(&address),
        "status {code}: {stderr}"
    );
    Ok(())
}

pub(crate) fn wrong_token_is_refused_with_status_5(env: &TestEnv) -> Result<()> {
    let (code, stderr) = join(env, "stranger", |token| {
        let (hash, _secret) = token.split_once('.').unwrap_or((token, ""));
        format!("{hash}.wrong")
    })?;
    ensure!(
        code == 5 && stderr.contains("token"),
        "status {code}: {stderr}"
    );
    Ok(())
}

pub(crate) fn node_name_in_use_is_refused_with_status_5(env: &TestEnv) -> Result<()> {
    let (code, stderr) = join(env, "node1", str::to_owned)?;
    ensure!(
        code == 5 && stderr.contains("node1"),
        "status {code}: {stderr}"
    );
    Ok(())
}

/// Runs an agent with a changed token from a new data directory; its exit status and standard
/// error.
fn join(env: &TestEnv, name: &str, change: impl Fn(&str) -> String) -> Result<(i32, String)> {
    let data = env.with_cluster(|cluster| Ok(cluster.data_dir()))?;
    let token = change(std::fs::read_to_string(data.join("token"))?.trim());
    let server = env.kubectl()?.words(&[
        "config",
        "view",
        "-o",
        "jsonpath={.clusters[0].cluster.server}",
    ])?;
    let own = tempfile::tempdir()?;
    let own = own.path().display().to_string();
    run_to_end(&[
        "agent",
        "--server",
        &server,
        "--token",
        &token,
        "--node-name",
        name,
        "--data-dir",
        &own,
    ])
}
