//! Exit statuses: one table, documented in `--help` and the README.

use std::process::ExitCode;

use crate::steps::say;

/// Why the process ends with a status other than 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Failure {
    /// Anything without a status of its own.
    General = 1,
    /// The machine lacks root, a program or a plugin.
    Machine = 3,
    /// An address or data directory is in use.
    InUse = 4,
    /// The server refused this node.
    Refused = 5,
}

/// Prints the error, if any, and chooses the exit status.
pub(crate) fn report(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(failed) = error.downcast_ref::<pandaemon_kubectl_ds::CommandError>() {
                // Its text is kubectl's, and complete.
                if !failed.message.is_empty() {
                    say(&failed.message);
                }
                return ExitCode::from(failed.status);
            }
            say(&format!("pandaemon: {error:#}"));
            ExitCode::from(classify(&error) as u8)
        }
    }
}

fn classify(error: &anyhow::Error) -> Failure {
    error
        .chain()
        .find_map(classify_one)
        .unwrap_or(Failure::General)
}

fn classify_one(cause: &(dyn std::error::Error + 'static)) -> Option<Failure> {
    if cause.is::<pandaemon_fleet::MissingTools>()
        || cause.is::<pandaemon_agent::MissingRequirement>()
    {
        return Some(Failure::Machine);
    }
    let locked = matches!(
        cause.downcast_ref(),
        Some(pandaemon_store::Error::Locked(_))
    );
    if locked || cause.is::<pandaemon_agent::DataDirInUse>() {
        return Some(Failure::InUse);
    }
    if cause.is::<pandaemon_agent::JoinRefused>() {
        return Some(Failure::Refused);
    }
    if let Some(pandaemon_server::Error::Listen { .. }) = cause.downcast_ref() {
        return Some(Failure::InUse);
    }
    let io = cause.downcast_ref::<std::io::Error>()?;
    (io.kind() == std::io::ErrorKind::AddrInUse).then_some(Failure::InUse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_have_their_statuses() {
        let cases: [(anyhow::Error, Failure); 4] = [
            (anyhow::anyhow!("x"), Failure::General),
            (
                pandaemon_fleet::MissingTools::NotRoot.into(),
                Failure::Machine,
            ),
            (
                pandaemon_store::Error::Locked("x".into()).into(),
                Failure::InUse,
            ),
            (
                anyhow::Error::from(std::io::Error::from(std::io::ErrorKind::AddrInUse))
                    .context("listen"),
                Failure::InUse,
            ),
        ];
        for (error, expected) in cases {
            assert_eq!(classify(&error), expected, "{error:#}");
        }
    }
}
