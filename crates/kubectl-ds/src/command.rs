//! The commands: read a snapshot, explain it, print.

use std::{
    io::{IsTerminal as _, Read as _},
    path::Path,
};

use pandaemon_explain::{
    Report, RolloutTracker, Snapshot, TableOptions, dry_run, explain, manifest, render,
    render_status,
};
use serde_json::Value;

use crate::{
    args::{ExplainArgs, Output, StatusArgs},
    cluster::Cluster,
    error::CommandError,
    output::{print, print_json},
    read_cluster::now,
    status_printer::OutputForm,
    watch,
};

/// The exit status of `explain --exit-code` when some node is not settled.
const UNSETTLED: u8 = 3;

/// Runs `explain`.
///
/// # Errors
/// With kubectl's message and exit status.
pub async fn run_explain(args: ExplainArgs) -> Result<(), CommandError> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let reports = match &args.file {
        Some(file) => dry_runs(&cluster, &args, file).await?,
        None => {
            let name = args.name.as_deref().unwrap_or_default();
            vec![explain_live(&cluster, name, args.node.as_deref()).await?]
        }
    };
    for (position, report) in reports.iter().enumerate() {
        if position > 0 && args.output != Output::Json {
            print("\n")?;
        }
        show(report, &args)?;
    }
    if args.exit_code && !reports.iter().all(Report::is_settled) {
        return Err(CommandError::with_status(UNSETTLED));
    }
    Ok(())
}

/// Explains a DaemonSet of a cluster.
///
/// # Errors
/// With kubectl's message and exit status.
pub async fn explain_live(
    cluster: &Cluster,
    name: &str,
    node: Option<&str>,
) -> Result<Report, CommandError> {
    let set = cluster.set(&cluster.namespace, name).await?;
    let mut snapshot = cluster.snapshot(set, node).await?;
    let first = explain(&snapshot, node)?;
    if read_node_pods(cluster, &mut snapshot, &first, node).await {
        return Ok(explain(&snapshot, node)?);
    }
    Ok(first)
}

/// Explains a DaemonSet as if it had been applied.
///
/// # Errors
/// With kubectl's message and exit status.
pub async fn explain_applied(
    cluster: &Cluster,
    wanted: &Value,
    node: Option<&str>,
) -> Result<Report, CommandError> {
    let text = |field: &str| wanted["metadata"][field].as_str().unwrap_or_default();
    let live = cluster.find_set(text("namespace"), text("name")).await?;
    let set = match &live {
        Some(live) => manifest::updated(live, wanted)?,
        None => manifest::created(wanted),
    };
    let mut snapshot = cluster.snapshot(set, node).await?;
    snapshot.events.clear();
    let first = dry_run(&snapshot, live.as_ref(), node)?;
    if read_node_pods(cluster, &mut snapshot, &first, node).await {
        return Ok(dry_run(&snapshot, live.as_ref(), node)?);
    }
    Ok(first)
}

/// Reads all pods of the nodes whose verdict depends on them. Returns whether any were read.
async fn read_node_pods(
    cluster: &Cluster,
    snapshot: &mut Snapshot,
    first: &Report,
    node: Option<&str>,
) -> bool {
    let nodes = first.nodes_to_inspect();
    if nodes.is_empty() {
        return false;
    }
    snapshot.node_pods = cluster.node_pods(&nodes, node.is_none()).await;
    true
}

async fn dry_runs(
    cluster: &Cluster,
    args: &ExplainArgs,
    file: &Path,
) -> Result<Vec<Report>, CommandError> {
    let (shown, text) = read(file)?;
    let mut sets = manifest::read(&shown, &text, &cluster.namespace)?;
    if let Some(name) = &args.name {
        sets.retain(|set| set["metadata"]["name"] == **name);
        if sets.is_empty() {
            let (file, name) = (shown, name.clone());
            return Err(manifest::ManifestError::NoSuchName { file, name }.into());
        }
    }
    let mut reports = Vec::new();
    for set in &sets {
        if let Some(wanted) = &args.cluster.namespace
            && set["metadata"]["namespace"] != **wanted
        {
            let found = set["metadata"]["namespace"].as_str().unwrap_or_default();
            return Err(CommandError::new(format!(
                "error: the namespace from the provided object \"{found}\" does not match the \
                 namespace \"{wanted}\". You must pass '--namespace={found}' to perform this operation."
            )));
        }
        reports.push(explain_applied(cluster, set, args.node.as_deref()).await?);
    }
    Ok(reports)
}

fn read(file: &Path) -> Result<(String, String), CommandError> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text)?;
        return Ok(("standard input".to_owned(), text));
    }
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| {
        let why = if error.kind() == std::io::ErrorKind::NotFound {
            format!("error: the path \"{shown}\" does not exist")
        } else {
            format!("error: {shown}: {error}")
        };
        CommandError::new(why)
    })?;
    Ok((shown, text))
}

fn show(report: &Report, args: &ExplainArgs) -> Result<(), CommandError> {
    if args.output == Output::Json {
        return print_json(report);
    }
    let options = TableOptions {
        wide: args.output == Output::Wide,
        all: args.all,
        colours: args.color.colours(std::io::stdout().is_terminal()),
    };
    print(&render(report, now(), options))
}

/// Runs `status`.
///
/// # Errors
/// With kubectl's message and exit status.
pub async fn run_status(args: StatusArgs) -> Result<(), CommandError> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let terminal = std::io::stdout().is_terminal();
    let colours = args.color.colours(terminal);
    if args.watch {
        let form = match args.output {
            Output::Json => OutputForm::Json,
            _ if terminal => OutputForm::Screen { colours },
            _ => OutputForm::Lines,
        };
        return watch::run(
            &cluster,
            &args.name,
            args.timeout,
            form,
            &mut std::io::stdout(),
        )
        .await;
    }
    let set = cluster.set(&cluster.namespace, &args.name).await?;
    let snapshot = cluster.daemons(set).await?;
    let report = RolloutTracker::of(&snapshot)?.report(snapshot.now);
    if args.output == Output::Json {
        return print_json(&report);
    }
    print(&render_status(&report, snapshot.now, colours))
}
