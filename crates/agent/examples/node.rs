//! One node without the command line: `node SERVER TOKEN NAME DATA-DIR [IMAGES-DIR]`.
//! With `-` as the token the certificates in the data directory must do.

use std::path::Path;

use anyhow::Context as _;
use pandaemon_agent::Config;
use pandaemon_runtime::{
    Shutdown,
    logs::{LogArgs, LogFormat},
};

fn main() -> anyhow::Result<()> {
    let log = LogArgs {
        log: "info,pandaemon_agent=debug".to_owned(),
        log_format: LogFormat::Text,
    };
    pandaemon_runtime::logs::init(&log)?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let word = |n: usize| {
        arguments
            .get(n)
            .with_context(|| format!("argument {} is missing", n + 1))
    };
    let mut config = Config::new(word(0)?, word(1)?, word(2)?, Path::new(word(3)?));
    config.images_dir = arguments.get(4).map(Into::into);
    config.cgroup_root = format!("pandaemon/{}", word(2)?);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async { pandaemon_agent::run(config, Shutdown::on_signals()?).await })
}
