//! Development tasks: `cargo run -p xtask -- TASK`.

mod chart;
mod codegen;
mod demo;
mod images;
mod measure;
mod tidy;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let task = words.next();
    let rest: Vec<String> = words.collect();
    match task.as_deref() {
        Some("chart") => chart::run(&rest),
        Some("codegen") => codegen::run(rest.iter().any(|word| word == "--check")),
        Some("demo") => demo::run(&rest),
        Some("images") => images::run(&rest),
        Some("measure") => measure::run(&rest),
        Some("tidy") => tidy::run(),
        _ => bail!(
            "tasks: chart FILE..., codegen [--check], demo PROGRAM, images DIR, measure PROGRAM, tidy"
        ),
    }
}
