//! End to end: `pandaemon up` with three nodes, real containers and plain kubectl. All scenarios
//! run on one cluster, in this order; each one cleans up what it applied.

mod crashes;
mod daemonset;
mod errors;
mod images;
mod in_cluster;
mod manifests;
mod nodes;
mod rollout;
mod streams;
mod test_env;
mod workload;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use test_env::TestEnv;

/// The name of a scenario, and its function.
type Scenario = (&'static str, fn(&TestEnv) -> anyhow::Result<()>);

const SCENARIOS: &[Scenario] = &[
    (
        "containers_get_environment_volumes_limits_and_security_of_the_pod_spec",
        workload::containers_get_environment_volumes_limits_and_security_of_the_pod_spec,
    ),
    (
        "logs_and_exec_reach_the_container",
        workload::logs_and_exec_reach_the_container,
    ),
    (
        "client_in_a_pod_reaches_the_api_server_by_its_service",
        in_cluster::client_in_a_pod_reaches_the_api_server_by_its_service,
    ),
    (
        "exec_and_run_read_standard_input_to_its_end",
        streams::exec_and_run_read_standard_input_to_its_end,
    ),
    (
        "exec_command_ends_when_its_client_is_killed",
        streams::exec_command_ends_when_its_client_is_killed,
    ),
    (
        "kubectl_cp_copies_files_both_ways",
        streams::kubectl_cp_copies_files_both_ways,
    ),
    (
        "attach_shows_the_output_of_the_container",
        streams::attach_shows_the_output_of_the_container,
    ),
    (
        "port_forward_reaches_the_container",
        streams::port_forward_reaches_the_container,
    ),
    (
        "debug_container_sees_the_processes_of_its_target",
        streams::debug_container_sees_the_processes_of_its_target,
    ),
    (
        "logs_are_followed_and_kept_after_a_restart",
        streams::logs_are_followed_and_kept_after_a_restart,
    ),
    (
        "deleted_pod_is_replaced_on_its_node",
        daemonset::deleted_pod_is_replaced_on_its_node,
    ),
    (
        "killed_container_is_restarted_in_its_pod",
        daemonset::killed_container_is_restarted_in_its_pod,
    ),
    (
        "rolling_update_has_one_node_without_a_ready_pod_at_a_time",
        rollout::rolling_update_has_one_node_without_a_ready_pod_at_a_time,
    ),
    (
        "rollout_history_and_undo",
        rollout::rollout_history_and_undo,
    ),
    (
        "pods_follow_changed_node_labels",
        nodes::pods_follow_changed_node_labels,
    ),
    (
        "no_schedule_taint_keeps_pods_and_no_execute_evicts_them",
        nodes::no_schedule_taint_keeps_pods_and_no_execute_evicts_them,
    ),
    (
        "cordoned_node_gets_its_daemon_pod",
        nodes::cordoned_node_gets_its_daemon_pod,
    ),
    (
        "deleted_node_registers_again_and_gets_a_new_pod",
        nodes::deleted_node_registers_again_and_gets_a_new_pod,
    ),
    (
        "containers_survive_a_kill_of_the_agent",
        crashes::containers_survive_a_kill_of_the_agent,
    ),
    (
        "objects_and_containers_survive_a_kill_of_the_server",
        crashes::objects_and_containers_survive_a_kill_of_the_server,
    ),
    (
        "a_restore_restarts_no_container_of_a_pod_that_is_in_both",
        crashes::a_restore_restarts_no_container_of_a_pod_that_is_in_both,
    ),
    (
        "killed_containerd_is_restarted_and_runs_new_pods",
        crashes::killed_containerd_is_restarted_and_runs_new_pods,
    ),
    (
        "images_are_pulled_from_a_registry",
        images::images_are_pulled_from_a_registry,
    ),
    (
        "missing_image_has_err_image_pull_and_back_off",
        errors::missing_image_has_err_image_pull_and_back_off,
    ),
    (
        "data_directory_in_use_is_refused_with_status_4",
        errors::data_directory_in_use_is_refused_with_status_4,
    ),
    (
        "address_in_use_is_refused_with_status_4",
        errors::address_in_use_is_refused_with_status_4,
    ),
    (
        "wrong_token_is_refused_with_status_5",
        errors::wrong_token_is_refused_with_status_5,
    ),
    (
        "node_name_in_use_is_refused_with_status_5",
        errors::node_name_in_use_is_refused_with_status_5,
    ),
    (
        "deleted_daemonset_leaves_no_pods_cgroups_or_processes",
        daemonset::deleted_daemonset_leaves_no_pods_cgroups_or_processes,
    ),
    ("seed_000_nginx", manifests::nginx),
    ("seed_001_node_exporter", manifests::node_exporter_001),
    ("seed_001_cadvisor", manifests::cadvisor),
    ("seed_003_fluentd", manifests::fluentd),
    ("seed_003_monitoring_agent", manifests::monitoring_agent),
    ("seed_004_node_exporter", manifests::node_exporter_004),
    (
        "broken_manifests_are_refused_with_upstreams_texts",
        manifests::broken,
    ),
    (
        "stop_leaves_nothing_behind",
        daemonset::stop_leaves_nothing_behind,
    ),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One cluster, one scenario at a time.
    arguments.test_threads = Some(1);
    let env = TestEnv::get();
    let trials = SCENARIOS
        .iter()
        .map(|(name, run)| Trial::test(*name, move || run_one(*run)).with_ignored_flag(false))
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    env.shut_down();
    conclusion.exit_code()
}

/// Runs a scenario, prints diagnostics if it fails, and cleans up.
fn run_one(run: fn(&TestEnv) -> anyhow::Result<()>) -> Result<(), Failed> {
    let env = TestEnv::get();
    let result = run(env);
    if result.is_err() {
        env.print_diagnostics();
    }
    env.clean_up();
    result.map_err(|error| Failed::from(format!("{error:#}")))
}
