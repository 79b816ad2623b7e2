//! The deterministic simulator: seeded clusters, faults and edits, against the planner in the shell
//! that crate `controllers` builds around it. `docs/design/simulator.md` says what is modelled and
//! how to replay a failure.
//!
//! ```text
//! cargo test -p pandaemon-planner --test simulator                            200 seeds
//! cargo test --release -p pandaemon-planner --test simulator -- --seeds 20000
//! cargo test -p pandaemon-planner --test simulator -- --seed 4711 [--trace]
//! cargo test -p pandaemon-planner --test simulator -- --replay FILE [--trace]
//! ```
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a run reads and writes scripts and says how long it took"
)]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do, and speak to people"
)]

mod api;
mod controller;
mod describe;
mod final_state;
mod mutant;
mod objects;
mod oracle;
mod planner_types;
mod request;
mod revisions;
mod rng;
mod script;
mod shrink;
mod value;
mod world;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use libtest_mimic::{Arguments, Failed, Trial};

use self::{
    mutant::{Mutant, Mutation},
    script::Script,
    world::{Run, World},
};

/// Seeds in one test.
const BLOCK: u64 = 10;
/// A mutant must be seen within so many seeds.
const MUTANT_SEEDS: u64 = 300;

#[derive(Parser)]
struct Options {
    /// How many seeds are run.
    #[arg(long, env = "SIMULATOR_SEEDS", default_value_t = 200)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Runs this seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Runs the script of a file.
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Prints all that happens in a single run.
    #[arg(long)]
    trace: bool,
    /// Runs all seeds without stopping, and counts the failures by kind.
    #[arg(long)]
    summary: bool,
    /// Leaves failing scripts as they are.
    #[arg(long)]
    no_shrink: bool,
    #[command(flatten)]
    harness: Arguments,
}

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs a script; a panic is a fault like any other.
fn run(script: &Script, fault: Option<Mutation>, trace: bool) -> Run {
    let mut world = World::new(script, Mutant::new(fault), trace);
    let panicked = catch_unwind(AssertUnwindSafe(|| world.run())).is_err();
    if panicked {
        world.fail(("panic", PANIC.with_borrow(Clone::clone)));
    }
    world.result()
}

fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        PANIC.with_borrow_mut(|text| *text = info.to_string().replace('\n', " "));
    }));
}

/// Runs a script; a failure is shrunk, kept in a file and described.
fn check(script: &Script, options: &Options) -> Result<Run, Failed> {
    let first = run(script, None, false);
    let Some((kind, _)) = first.violation else {
        return Ok(first);
    };
    let time_limit = Duration::from_secs(if options.no_shrink { 0 } else { 30 });
    let (small, run, tries) = shrink::shrink(script, kind, None, time_limit);
    let file = std::env::temp_dir().join(format!("pandaemon-seed-{}.script", script.seed));
    std::fs::write(&file, small.to_text())?;
    let lines = run
        .trace
        .len()
        .saturating_sub(if options.trace { 5_000 } else { 60 });
    let (kind, text) = run.violation.unwrap_or_default();
    let mut out = format!(
        "seed {} fails\n  {kind}: {text}\n  in step {} at {}.{:03} s, after {tries} smaller scripts: {} nodes, {} sets, {} of {} steps\n",
        script.seed,
        run.step,
        run.at / 1000,
        run.at % 1000,
        small.nodes,
        small.sets.len(),
        small.steps.len(),
        script.steps.len(),
    );
    out += &format!("the script:\n{}", small.to_text());
    out += &format!("the last events:\n{}\n", run.trace[lines..].join("\n"));
    out += &format!(
        "replay the seed:  cargo test -p pandaemon-planner --test simulator -- --seed {}\n",
        script.seed
    );
    out += &format!(
        "replay the small script:  cargo test -p pandaemon-planner --test simulator -- --replay {} --trace\n",
        file.display()
    );
    Err(out.into())
}

fn block(from: u64, count: u64, options: &Options) -> Result<(), Failed> {
    for seed in from..from + count {
        check(&Script::generate(seed), options)?;
    }
    Ok(())
}

fn one(script: &Script, options: &Options) -> Result<(), Failed> {
    let done = check(script, options)?;
    eprintln!(
        "seed {}: {} events, {} plans, {} requests, {} s",
        script.seed,
        done.events,
        done.plans,
        done.requests,
        done.at / 1000
    );
    if options.trace {
        eprintln!("{}", run(script, None, true).trace.join("\n"));
    }
    Ok(())
}

/// Runs all seeds and counts the failures by kind; the first seeds of each kind are printed.
fn summary(options: &Options) -> Result<(), Failed> {
    let mut kinds: BTreeMap<&str, Vec<(u64, String)>> = BTreeMap::new();
    for seed in options.from..options.from + options.seeds {
        if let Some((kind, text)) = run(&Script::generate(seed), None, false).violation {
            kinds.entry(kind).or_default().push((seed, text));
        }
    }
    for (kind, seeds) in &kinds {
        eprintln!("{kind}: {} seeds", seeds.len());
        for (seed, text) in seeds.iter().take(3) {
            let text: String = text.chars().take(300).collect();
            eprintln!("    {seed}: {text}");
        }
    }
    if kinds.is_empty() {
        Ok(())
    } else {
        Err("some seeds fail".into())
    }
}

/// Each faulty behaviour must be seen by its own check, and small clusters must be enough to see
/// it.
fn mutant_is_seen(mutation: Mutation) -> Result<(), Failed> {
    let small = (0..MUTANT_SEEDS)
        .map(Script::generate)
        .filter(|script| script.nodes <= 12);
    let kept = kept_scripts()?.into_iter().map(|(_, script)| script);
    let mut others: BTreeMap<&str, usize> = BTreeMap::new();
    for script in kept.chain(small) {
        let Some((kind, text)) = run(&script, Some(mutation), false).violation else {
            continue;
        };
        if kind == mutation.seen_as() {
            eprintln!(
                "{mutation:?} is seen with seed {}: {kind}: {text}",
                script.seed
            );
            return Ok(());
        }
        *others.entry(kind).or_default() += 1;
    }
    let wanted = mutation.seen_as();
    Err(format!("{mutation:?} is not seen as `{wanted}`, but as {others:?}").into())
}

/// The scripts in `tests/simulator/scripts`, by name: each holds a situation that once went wrong.
fn kept_scripts() -> Result<Vec<(String, Script)>, Failed> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulator/scripts");
    let mut scripts = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let script = Script::from_text(&std::fs::read_to_string(&path)?)?;
        scripts.push((name.into_owned(), script));
    }
    scripts.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(scripts)
}

/// The same script runs the same way, to the last event.
fn runs_are_repeatable() -> Result<(), Failed> {
    for seed in [3, 14, 15] {
        let script = Script::generate(seed);
        let again = Script::from_text(&script.to_text())?;
        let (first, second) = (run(&script, None, true), run(&again, None, true));
        if first.trace != second.trace || first.events != second.events {
            return Err(format!("seed {seed} runs in two ways").into());
        }
    }
    Ok(())
}

fn trials(options: &'static Options) -> Result<Vec<Trial>, Failed> {
    if let Some(file) = &options.replay {
        let script = Script::from_text(&std::fs::read_to_string(file)?)?;
        return Ok(vec![Trial::test("replay", move || one(&script, options))]);
    }
    if let Some(seed) = options.seed {
        return Ok(vec![Trial::test(format!("seed_{seed}"), move || {
            one(&Script::generate(seed), options)
        })]);
    }
    if options.summary {
        return Ok(vec![Trial::test("summary", move || summary(options))]);
    }
    let size = if options.seeds > 1_000 { 100 } else { BLOCK };
    let until = options.from + options.seeds;
    let blocks = (options.from..until).step_by(usize::try_from(size).unwrap());
    let mut trials: Vec<Trial> = blocks
        .map(|from| {
            let count = size.min(until - from);
            let name = format!("seeds_{from:06}_to_{:06}", from + count - 1);
            Trial::test(name, move || block(from, count, options))
        })
        .collect();
    for mutation in Mutation::ALL {
        trials.push(Trial::test(format!("mutant_{mutation:?}"), move || {
            mutant_is_seen(*mutation)
        }));
    }
    for (name, script) in kept_scripts()? {
        trials.push(Trial::test(format!("script_{name}"), move || {
            check(&script, options).map(drop)
        }));
    }
    trials.push(Trial::test("runs_are_repeatable", runs_are_repeatable));
    Ok(trials)
}

fn main() -> ExitCode {
    let options: &'static Options = Box::leak(Box::new(Options::parse()));
    quiet_panics();
    match trials(options) {
        Ok(trials) => libtest_mimic::run(&options.harness, trials).exit_code(),
        Err(failed) => {
            eprintln!("{}", failed.message().unwrap_or("cannot start"));
            ExitCode::FAILURE
        }
    }
}
