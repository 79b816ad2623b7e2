//! How a command ends when it does not end well: kubectl's words, and an exit status.

use kube::core::Status;

use crate::manifest::ManifestError;

/// A command that did not end well. Its text is complete: no prefix belongs before it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failed {
    /// The exit status.
    pub status: u8,
    /// What to print; empty if everything was said.
    pub message: String,
}

impl Failed {
    /// An error.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            status: 1,
            message: message.into(),
        }
    }

    /// An answer that is not the one hoped for.
    pub(crate) const fn with_status(status: u8) -> Self {
        Self {
            status,
            message: String::new(),
        }
    }

    /// What kubectl says of an object that is not there.
    pub(crate) fn not_found(resource: &str, name: &str) -> Self {
        Self::new(format!(
            "Error from server (NotFound): {resource} \"{name}\" not found"
        ))
    }
}

impl From<kube::Error> for Failed {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::new(refusal(&status)),
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

fn refusal(status: &Status) -> String {
    if status.code == 401 {
        return "error: You must be logged in to the server (Unauthorized)".to_owned();
    }
    match &*status.reason {
        "" => format!("Error from server: {}", status.message),
        reason => format!("Error from server ({reason}): {}", status.message),
    }
}

impl From<ManifestError> for Failed {
    fn from(error: ManifestError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<serde_json::Error> for Failed {
    fn from(error: serde_json::Error) -> Self {
        Self::new(format!(
            "error: the server's answer cannot be read: {error}"
        ))
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            // The reader has seen enough.
            return Self::with_status(0);
        }
        Self::new(format!("error: {error}"))
    }
}
