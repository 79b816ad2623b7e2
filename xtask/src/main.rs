//! Development tasks: `cargo run -p xtask -- TASK`.

mod codegen;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let task = std::env::args().nth(1);
    match task.as_deref() {
        Some("codegen") => codegen::run(),
        _ => bail!("tasks: codegen"),
    }
}
