//! Logging to standard error, as text or JSON lines.

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line of text per event.
    Text,
    /// One JSON object per line.
    Json,
}

/// Logging options of all subcommands.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// Which log lines to show: a level, or a filter such as `info,pandaemon_server=debug`
    #[arg(
        long,
        env = "PANDAEMON_LOG",
        default_value = "warn,kube_client=off",
        global = true,
        value_name = "FILTER"
    )]
    pub log: String,
    /// Format of log lines
    #[arg(
        long,
        env = "PANDAEMON_LOG_FORMAT",
        value_enum,
        default_value = "text",
        global = true
    )]
    pub log_format: LogFormat,
}

/// Installs the global log subscriber. A second call has no effect.
///
/// # Errors
/// When the filter cannot be parsed.
pub fn init(args: &LogArgs) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log)
        .map_err(|error| anyhow::anyhow!("--log {}: {error}", args.log))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // Fails if a subscriber is installed already, as in tests.
    let _already_set = match args.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}
