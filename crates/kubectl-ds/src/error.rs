//! The error of a command: a message as kubectl writes it, and an exit status.

use kube::core::Status;
use pandaemon_explain::manifest::ManifestError;

/// A command that failed. The message is printed as it is, without a prefix.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CommandError {
    /// The exit status.
    pub status: u8,
    /// The message to print; empty if there is nothing to print.
    pub message: String,
}

impl CommandError {
    /// An error with exit status 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            status: 1,
            message: message.into(),
        }
    }

    /// An exit status without a message.
    pub(crate) const fn with_status(status: u8) -> Self {
        Self {
            status,
            message: String::new(),
        }
    }

    /// kubectl's message about an object that does not exist.
    pub(crate) fn not_found(resource: &str, name: &str) -> Self {
        Self::new(format!(
            "Error from server (NotFound): {resource} \"{name}\" not found"
        ))
    }
}

impl From<kube::Error> for CommandError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::new(api_error(&status)),
            error => {
                let mut text = format!("Unable to connect to the server: {error}");
                let mut source = std::error::Error::source(&error);
                while let Some(cause) = source {
                    let cause_text = cause.to_string();
                    if !text.contains(&cause_text) {
                        text += &format!(": {cause_text}");
                    }
                    source = cause.source();
                }
                Self::new(text)
            }
        }
    }
}

fn api_error(status: &Status) -> String {
    if status.code == 401 {
        return "error: You must be logged in to the server (Unauthorized)".to_owned();
    }
    match &*status.reason {
        "" => format!("Error from server: {}", status.message),
        reason => format!("Error from server ({reason}): {}", status.message),
    }
}

impl From<ManifestError> for CommandError {
    fn from(error: ManifestError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<serde_json::Error> for CommandError {
    fn from(error: serde_json::Error) -> Self {
        Self::new(format!(
            "error: the server's answer cannot be read: {error}"
        ))
    }
}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            // The reader closed the pipe, as `head` does.
            return Self::with_status(0);
        }
        Self::new(format!("error: {error}"))
    }
}
