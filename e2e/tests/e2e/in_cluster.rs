//! Clients of the API server in pods.

use anyhow::{Result, ensure};
use pandaemon_testkit::wait;

use crate::test_env::{NODES, TIMEOUT, TestEnv, name_of};

const SELECTORS: [&str; 2] = ["app=in-cluster", "app=in-cluster-host"];

/// kube-rs in a pod: it finds the server by the variables and files of each pod, verifies its
/// certificate by address and by name, and has the rights of its account.
pub(crate) fn client_in_a_pod_reaches_the_api_server_by_its_service(env: &TestEnv) -> Result<()> {
    env.apply("in-cluster.yaml")?;
    for selector in SELECTORS {
        env.wait_until_ready_on("default", selector, &NODES)?;
    }
    let refused = "403 pods is forbidden: \
                   User \"system:serviceaccount:default:default\" cannot list resource \"pods\" \
                   in API group \"\" in the namespace \"default\"";
    for_all_clients(env, refused)?;
    env.kubectl()?
        .run("create rolebinding in-cluster --clusterrole=view --serviceaccount=default:default")?;
    for_all_clients(env, "200")?;

    let kubectl = env.kubectl()?;
    let endpoints = kubectl.json("get endpoints kubernetes")?;
    let slice = kubectl.json("get endpointslice kubernetes")?;
    let address = &endpoints["subsets"][0]["addresses"][0]["ip"];
    ensure!(
        address.is_string() && slice["endpoints"][0]["addresses"][0] == *address,
        "{endpoints} {slice}"
    );
    // The server comes back with another port; the variables of running containers stay right.
    env.with_cluster(|cluster| {
        cluster.kill()?;
        cluster.start()
    })?;
    for_all_clients(env, "200")
}

/// Runs the client in each pod until it says this of both ways to the server.
fn for_all_clients(env: &TestEnv, wanted: &str) -> Result<()> {
    let kubectl = env.kubectl()?;
    let expected = ["https://10.96.0.1/", "https://kubernetes.default.svc/"]
        .map(|url| format!("{url}: {wanted}\n"))
        .concat();
    for selector in SELECTORS {
        for node in NODES {
            let pod = env.pod_on(selector, node)?;
            let line = format!("exec {} -- /client", name_of(&pod)?);
            wait::until("the client says", TIMEOUT, || {
                let said = kubectl.try_run(&line).map_err(|error| error.to_string())?;
                if said.stdout == expected {
                    return Ok(());
                }
                Err(format!("{node}, {selector}: {said:?}"))
            })?;
        }
    }
    Ok(())
}
