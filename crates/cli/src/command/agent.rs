//! `pandaemon agent`: the node agent.

use std::collections::BTreeMap;

use anyhow::Context as _;
use pandaemon_agent::Config;
use pandaemon_runtime::Shutdown;

use crate::args::AgentArgs;

/// Runs the node agent until a signal stops it. Containers keep running, except with
/// `--stop-containers-on-exit`.
pub(crate) async fn run(args: AgentArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let token = match (&args.token, &args.token_file) {
        (Some(token), _) => token.to_string(),
        (None, Some(file)) => std::fs::read_to_string(file)
            .with_context(|| format!("read the token in {}", file.display()))?,
        (None, None) => String::new(),
    };
    let config = Config {
        cri_socket: args.cri_socket,
        labels: labels(&args.node_labels)?,
        taints: words(&args.node_taints).map(str::to_owned).collect(),
        images_dir: args.images,
        node_ip: args.node_ip,
        pod_cidr: args.pod_cidr,
        cgroup_root: args.cgroup_root,
        kubelet_port: args.kubelet_port,
        stop_containers_on_exit: args.stop_containers_on_exit,
        ..Config::new(&args.server, token.trim(), &args.node_name, &args.data_dir)
    };
    pandaemon_agent::run(config, shutdown).await
}

/// The parts of a comma-separated list that are not empty.
fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

fn labels(list: &str) -> anyhow::Result<BTreeMap<String, String>> {
    words(list)
        .map(|word| {
            let (key, value) = word.split_once('=').with_context(|| {
                format!(
                    "--node-labels: `{word}` is not of the form key=value; use key=value,key=value"
                )
            })?;
            Ok((key.to_owned(), value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::labels;

    #[test]
    fn node_labels_are_key_value_pairs() {
        let parsed = labels("a=b, c=,").unwrap();
        assert_eq!(
            parsed.into_iter().collect::<Vec<_>>(),
            [("a".into(), "b".into()), ("c".into(), String::new())]
        );
        assert!(labels("a").unwrap_err().to_string().contains("`a`"));
    }
}
