//! Bad input and a bad world: each gets a clear word and an exit status.

use std::process::{Command, Output};

use anyhow::{Result, ensure};
use pandaemon_testkit::wait;

use crate::world::{PATIENCE, World, program};

pub(crate) fn a_missing_image_says_so(world: &World) -> Result<()> {
    world.apply("missing-image.yaml")?;
    let mut seen = std::collections::BTreeSet::new();
    wait::until("ErrImagePull, then ImagePullBackOff", PATIENCE, || {
        let pods = world
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
    let events = world
        .kubectl()?
        .run("get events --field-selector reason=Failed")?;
    ensure!(
        events.contains("registry.invalid"),
        "events name the image: {events}"
    );
    Ok(())
}

/// Runs the program to its end and returns status and standard error.
fn ended(arguments: &[&str]) -> Result<(i32, String)> {
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

pub(crate) fn a_second_cluster_is_refused(world: &World) -> Result<()> {
    let data = world.with_cluster(|cluster| Ok(cluster.data_dir()))?;
    let data = data.display().to_string();
    let other = tempfile::tempdir()?;
    let kubeconfig = other.path().join("kubeconfig").display().to_string();
    let (code, said) = ended(&[
        "server",
        "--data-dir",
        &data,
        "--listen",
        "127.0.0.1:0",
        "--write-kubeconfig",
        &kubeconfig,
    ])?;
    ensure!(code == 4 && said.contains(&data), "status {code}: {said}");
    Ok(())
}

pub(crate) fn a_port_in_use_is_named(_world: &World) -> Result<()> {
    let held = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = held.local_addr()?.to_string();
    let other = tempfile::tempdir()?;
    let path = |name: &str| other.path().join(name).display().to_string();
    let (code, said) = ended(&[
        "server",
        "--data-dir",
        &path("data"),
        "--listen",
        &address,
        "--write-kubeconfig",
        &path("k"),
    ])?;
    ensure!(
        code == 4 && said.contains(&address),
        "status {code}: {said}"
    );
    Ok(())
}

pub(crate) fn a_wrong_token_is_refused(world: &World) -> Result<()> {
    let (code, said) = join(world, "stranger", |token| {
        let (hash, _secret) = token.split_once('.').unwrap_or((token, ""));
        format!("{hash}.wrong")
    })?;
    ensure!(code == 5 && said.contains("token"), "status {code}: {said}");
    Ok(())
}

pub(crate) fn a_node_name_that_is_taken_is_refused(world: &World) -> Result<()> {
    let (code, said) = join(world, "node1", str::to_owned)?;
    ensure!(code == 5 && said.contains("node1"), "status {code}: {said}");
    Ok(())
}

/// Tries to join the cluster from a new data directory.
fn join(world: &World, name: &str, change: impl Fn(&str) -> String) -> Result<(i32, String)> {
    let data = world.with_cluster(|cluster| Ok(cluster.data_dir()))?;
    let token = change(std::fs::read_to_string(data.join("token"))?.trim());
    let server = world.kubectl()?.words(&[
        "config",
        "view",
        "-o",
        "jsonpath={.clusters[0].cluster.server}",
    ])?;
    let own = tempfile::tempdir()?;
    let own = own.path().display().to_string();
    ended(&[
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
