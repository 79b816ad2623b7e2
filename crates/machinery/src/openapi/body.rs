//! The bodies of requests.

use crate::Kind;

/// The body of a request.
pub(super) enum Body<'a> {
    None,
    /// An object of this type.
    Object(&'a str),
    Patch,
}

impl<'a> Body<'a> {
    /// The body of an operation with this `x-kubernetes-action`, about objects of this type.
    pub(super) fn of(action: &str, type_name: &'a str) -> Self {
        match action {
            "put" | "post" => Self::Object(type_name),
            "patch" => Self::Patch,
            "delete" => Self::Object("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"),
            _ => Self::None,
        }
    }

    /// The type of the body, unless there is none or nothing is known of it.
    pub(super) fn type_name(&self) -> Option<&'a str> {
        match self {
            Self::None => None,
            Self::Object(name) => Some(*name).filter(|name| !name.is_empty()),
            Self::Patch => Some("io.k8s.apimachinery.pkg.apis.meta.v1.Patch"),
        }
    }

    /// The media types that a request about this kind may have.
    pub(super) fn media_types(&self, kind: &Kind) -> &'static [&'static str] {
        match self {
            Self::None | Self::Object(_) => &["*/*"],
            // The schemas of kinds that came at run time have no patch strategies.
            Self::Patch if kind.built_type.is_some() => &[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/apply-patch+yaml",
            ],
            Self::Patch => &[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/strategic-merge-patch+json",
                "application/apply-patch+yaml",
            ],
        }
    }
}
