//! What needs a machine of its own: `make vm`. One machine runs at a time, except where a scenario
//! says otherwise; `PANDAEMON_VM_SEED` repeats the random choices of a run.

mod boot;
mod daemonset;
mod guest;
mod load;
mod power_cuts;
mod replay;
mod report;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use report::Report;

/// The name of a scenario, and its function.
type Scenario = (&'static str, fn(&Report) -> anyhow::Result<()>);

const SCENARIOS: &[Scenario] = &[
    (
        "machines_run_scripts_reboot_and_reach_each_other",
        boot::machines_run_scripts_reboot_and_reach_each_other,
    ),
    (
        "a_daemonset_runs_under_cgroup_v2",
        daemonset::a_daemonset_runs_under_cgroup_v2,
    ),
    (
        "nothing_acknowledged_is_lost_in_ten_power_cuts",
        power_cuts::nothing_acknowledged_is_lost_in_ten_power_cuts,
    ),
    (
        "nothing_acknowledged_is_lost_in_any_order_of_blocks",
        replay::nothing_acknowledged_is_lost_in_any_order_of_blocks,
    ),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The processors are few, and a machine belongs to the thread that boots it.
    arguments.test_threads = Some(1);
    let report = Report::get();
    let trials = SCENARIOS
        .iter()
        .map(|(name, run)| {
            Trial::test(*name, move || {
                report.say(&format!("scenario {name}"));
                run(report).map_err(|error| Failed::from(format!("{error:#}")))
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        report.print_totals();
    }
    conclusion.exit_code()
}
