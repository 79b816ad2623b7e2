//! Exit statuses, which `--help` and the README list.

use std::process::ExitCode;

use crate::progress::print_status;

/// An exit status other than 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ExitStatus {
    /// Any other error.
    General = 1,
    /// Wrong arguments; also clap's.
    Arguments = 2,
    /// The machine lacks root rights, a program or a CNI plugin.
    Machine = 3,
    /// Another process uses the address or data directory.
    InUse = 4,
    /// The server refused the node: wrong token, the node name is in use, or the Node was deleted.
    Refused = 5,
}

/// Prints an error to standard error and returns the exit status of the process.
pub(crate) fn report(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(failed) = error.downcast_ref::<pandaemon_kubectl_ds::CommandError>() {
                // The message has the form of kubectl's errors already.
                if !failed.message.is_empty() {
                    print_status(&failed.message);
                }
                return ExitCode::from(failed.status);
            }
            print_status(&format!("pandaemon: {error:#}"));
            ExitCode::from(classify(&error) as u8)
        }
    }
}

/// The exit status of the first cause in the chain that has one of its own.
fn classify(error: &anyhow::Error) -> ExitStatus {
    error
        .chain()
        .find_map(classify_one)
        .unwrap_or(ExitStatus::General)
}

fn classify_one(cause: &(dyn std::error::Error + 'static)) -> Option<ExitStatus> {
    if cause.is::<pandaemon_fleet::MissingTools>()
        || cause.is::<pandaemon_agent::MissingRequirement>()
    {
        return Some(ExitStatus::Machine);
    }
    let locked = matches!(
        cause.downcast_ref(),
        Some(pandaemon_store::Error::Locked(_))
    );
    if locked || cause.is::<pandaemon_agent::DataDirInUse>() {
        return Some(ExitStatus::InUse);
    }
    if cause.is::<pandaemon_agent::InvalidConfig>() {
        return Some(ExitStatus::Arguments);
    }
    if cause.is::<pandaemon_agent::JoinRefused>() || cause.is::<pandaemon_agent::NodeDeleted>() {
        return Some(ExitStatus::Refused);
    }
    if let Some(pandaemon_server::Error::Listen { .. }) = cause.downcast_ref() {
        return Some(ExitStatus::InUse);
    }
    let io = cause.downcast_ref::<std::io::Error>()?;
    (io.kind() == std::io::ErrorKind::AddrInUse).then_some(ExitStatus::InUse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_map_to_exit_statuses() {
        let cases: [(anyhow::Error, ExitStatus); 6] = [
            (anyhow::anyhow!("x"), ExitStatus::General),
            (
                pandaemon_agent::InvalidConfig("x".to_owned()).into(),
                ExitStatus::Arguments,
            ),
            (
                pandaemon_agent::NodeDeleted {
                    node: "n1".to_owned(),
                    uid: "u1".to_owned(),
                }
                .into(),
                ExitStatus::Refused,
            ),
            (
                pandaemon_fleet::MissingTools::NotRoot.into(),
                ExitStatus::Machine,
            ),
            (
                pandaemon_store::Error::Locked("x".into()).into(),
                ExitStatus::InUse,
            ),
            (
                anyhow::Error::from(std::io::Error::from(std::io::ErrorKind::AddrInUse))
                    .context("listen"),
                ExitStatus::InUse,
            ),
        ];
        for (error, expected) in cases {
            assert_eq!(classify(&error), expected, "{error:#}");
        }
    }
}
