//! End to end: `pandaemon up` with three nodes, real containers, plain kubectl. One cluster serves all
//! scenarios, which run in this order; each cleans up what it applied.

mod daemonset;
mod faults;
mod images;
mod manifests;
mod nodes;
mod restarts;
mod rollout;
mod streams;
mod workload;
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use world::World;

/// A scenario: its name and what it does.
type Scenario = (&'static str, fn(&World) -> anyhow::Result<()>);

const SCENARIOS: &[Scenario] = &[
    (
        "containers_get_what_the_pod_spec_says",
        workload::containers_get_what_the_pod_spec_says,
    ),
    (
        "logs_and_exec_reach_the_container",
        workload::logs_and_exec_reach_the_container,
    ),
    (
        "commands_read_until_their_input_ends",
        streams::commands_read_until_their_input_ends,
    ),
    (
        "a_command_ends_with_its_client",
        streams::a_command_ends_with_its_client,
    ),
    (
        "files_are_copied_both_ways",
        streams::files_are_copied_both_ways,
    ),
    (
        "attach_shows_what_is_printed",
        streams::attach_shows_what_is_printed,
    ),
    ("ports_are_forwarded", streams::ports_are_forwarded),
    (
        "a_debugger_sees_the_processes_of_its_target",
        streams::a_debugger_sees_the_processes_of_its_target,
    ),
    (
        "logs_are_followed_and_outlive_a_restart",
        streams::logs_are_followed_and_outlive_a_restart,
    ),
    (
        "a_deleted_pod_comes_back",
        daemonset::a_deleted_pod_comes_back,
    ),
    (
        "a_killed_process_is_restarted",
        daemonset::a_killed_process_is_restarted,
    ),
    (
        "an_update_takes_one_node_at_a_time",
        rollout::an_update_takes_one_node_at_a_time,
    ),
    ("history_and_undo", rollout::history_and_undo),
    ("labels_move_pods", nodes::labels_move_pods),
    (
        "no_schedule_keeps_and_no_execute_evicts",
        nodes::no_schedule_keeps_and_no_execute_evicts,
    ),
    (
        "a_cordoned_node_keeps_its_daemon",
        nodes::a_cordoned_node_keeps_its_daemon,
    ),
    (
        "a_deleted_node_joins_again",
        nodes::a_deleted_node_joins_again,
    ),
    (
        "an_agent_that_dies_leaves_its_containers",
        restarts::an_agent_that_dies_leaves_its_containers,
    ),
    (
        "a_server_that_dies_loses_nothing",
        restarts::a_server_that_dies_loses_nothing,
    ),
    (
        "containerd_that_dies_is_started_again",
        restarts::containerd_that_dies_is_started_again,
    ),
    (
        "images_come_from_a_registry",
        images::images_come_from_a_registry,
    ),
    ("a_missing_image_says_so", faults::a_missing_image_says_so),
    (
        "a_second_cluster_on_the_same_data_is_refused",
        faults::a_second_cluster_is_refused,
    ),
    ("a_port_in_use_is_named", faults::a_port_in_use_is_named),
    ("a_wrong_token_is_refused", faults::a_wrong_token_is_refused),
    (
        "a_node_name_that_is_taken_is_refused",
        faults::a_node_name_that_is_taken_is_refused,
    ),
    (
        "a_deleted_daemonset_leaves_nothing",
        daemonset::a_deleted_daemonset_leaves_nothing,
    ),
    ("seed_000_nginx", manifests::nginx),
    ("seed_001_node_exporter", manifests::node_exporter_001),
    ("seed_001_cadvisor", manifests::cadvisor),
    ("seed_003_fluentd", manifests::fluentd),
    ("seed_003_monitoring_agent", manifests::monitoring_agent),
    ("seed_004_node_exporter", manifests::node_exporter_004),
    ("broken_manifests_get_their_errors", manifests::broken),
    (
        "stop_leaves_nothing_behind",
        daemonset::stop_leaves_nothing_behind,
    ),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One cluster, one scenario at a time.
    arguments.test_threads = Some(1);
    let world = World::get();
    let trials = SCENARIOS
        .iter()
        .map(|(name, run)| Trial::test(*name, move || run_one(*run)).with_ignored_flag(false))
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    world.end();
    conclusion.exit_code()
}

fn run_one(run: fn(&World) -> anyhow::Result<()>) -> Result<(), Failed> {
    let world = World::get();
    let result = run(world);
    if result.is_err() {
        world.describe();
    }
    world.clean();
    result.map_err(|error| Failed::from(format!("{error:#}")))
}
