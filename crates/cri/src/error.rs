//! Errors of runtime calls. They keep the runtime's message, which is shown in the pod's status.

use std::time::Duration;

/// Why a runtime call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CriError {
    /// The runtime returned an error.
    #[error("rpc error: code = {code} desc = {message}")]
    Failed {
        /// The name of the gRPC code as Go prints it, such as `NotFound`.
        code: &'static str,
        /// The runtime's message.
        message: String,
    },
    /// The runtime could not be reached.
    #[error("container runtime is not reachable: {0}")]
    Unreachable(String),
    /// The runtime did not respond in time.
    #[error("rpc error: code = DeadlineExceeded desc = {call} took longer than {after:?}")]
    TimedOut {
        /// The CRI method.
        call: &'static str,
        /// The timeout that was exceeded.
        after: Duration,
    },
    /// The response lacks a part that CRI requires.
    #[error("{0}: the runtime's response lacks a required field")]
    Incomplete(&'static str),
}

/// The result of a runtime call.
pub type Result<T> = std::result::Result<T, CriError>;

impl CriError {
    /// Whether the sandbox, container or image of the call does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(
            self,
            Self::Failed {
                code: "NotFound",
                ..
            }
        )
    }

    /// The runtime's message without the prefix that names the code.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Failed { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }
}

impl From<tonic::Status> for CriError {
    fn from(status: tonic::Status) -> Self {
        let message = status.message().to_owned();
        if status.code() == tonic::Code::Unavailable {
            return Self::Unreachable(message);
        }
        Self::Failed {
            code: code_name(status.code()),
            message,
        }
    }
}

const fn code_name(code: tonic::Code) -> &'static str {
    use tonic::Code;
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::CriError;

    #[test]
    fn an_error_keeps_the_message_of_the_runtime() {
        let error = CriError::from(tonic::Status::not_found("no such image \"x\""));
        assert_eq!(
            error.to_string(),
            "rpc error: code = NotFound desc = no such image \"x\""
        );
        assert_eq!(error.message(), "no such image \"x\"");
        assert!(error.is_not_found());
    }

    #[test]
    fn unavailable_means_unreachable() {
        let error = CriError::from(tonic::Status::unavailable("connect"));
        assert!(matches!(error, CriError::Unreachable(_)));
    }
}
