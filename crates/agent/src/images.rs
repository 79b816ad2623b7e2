//! Container images: names, pull policies and credentials, imported archives, and the pause image.

pub(crate) mod archive;
pub(crate) mod credentials;
pub(crate) mod import;
pub(crate) mod name;
pub(crate) mod pause;

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::core::v1::Secret;
use pandaemon_cri::{CriError, Runtime, pb};
use parking_lot::RwLock;

/// The image of the sandbox process, which the agent builds itself.
pub(crate) const PAUSE_IMAGE: &str = "pandaemon.dev/pause:1";

/// The API's `imagePullPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PullPolicy {
    /// Pull before every start.
    Always,
    /// Pull if the node does not have it.
    IfNotPresent,
    Never,
}

impl PullPolicy {
    /// The policy in the spec, or the default for this image.
    #[must_use]
    pub(crate) fn new(text: Option<&str>, image: &str) -> Self {
        match text {
            Some("Always") => Self::Always,
            Some("Never") => Self::Never,
            Some(_) => Self::IfNotPresent,
            None if name::is_latest(image) => Self::Always,
            None => Self::IfNotPresent,
        }
    }
}

/// Why an image is not available.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ImageError {
    /// The node does not have it, and the policy forbids pulling.
    #[error("Container image {0:?} is not present with pull policy of Never")]
    NeverPull(String),
    /// Its name is invalid.
    #[error("couldn't parse image name {0:?}: invalid reference format")]
    InvalidName(String),
    /// The pull failed.
    #[error("{0}")]
    Pull(CriError),
}

/// An image on the node.
#[derive(Debug, Clone)]
pub(crate) struct LocalImage {
    /// The image's id in the runtime.
    pub id: String,
    /// The user in its configuration.
    pub user: ImageUser,
    /// How long the pull took; `None` if it was present.
    pub pulled: Option<std::time::Duration>,
    /// Its size in bytes.
    pub size: u64,
}

/// The user in an image's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageUser {
    /// A numeric user id.
    Id(i64),
    /// A user name.
    Name(String),
    /// None, which means root.
    Unset,
}

/// The images on the node.
#[derive(Clone)]
pub(crate) struct Images {
    runtime: Arc<dyn Runtime>,
    imported: Arc<RwLock<BTreeSet<String>>>,
}

impl Images {
    /// The images of this runtime, of which `imported` came from archives.
    #[must_use]
    pub(crate) fn new(runtime: Arc<dyn Runtime>, imported: BTreeSet<String>) -> Self {
        Self {
            runtime,
            imported: Arc::new(RwLock::new(imported)),
        }
    }

    /// The image, if the runtime has it.
    ///
    /// # Errors
    /// If the call to the runtime fails.
    pub(crate) async fn find(&self, image: &str) -> Result<Option<LocalImage>, CriError> {
        let found = self.runtime.image(image.to_owned()).await?;
        Ok(found.map(|found| LocalImage {
            user: user(&found),
            size: found.size,
            id: found.id,
            pulled: None,
        }))
    }

    /// Whether a start must pull first. With policy `Always`, an image that was imported by
    /// `--images` counts as pulled, so that manifests with `:latest` run without a registry.
    #[must_use]
    pub(crate) fn must_pull(&self, image: &str, policy: PullPolicy, present: bool) -> bool {
        match policy {
            PullPolicy::Never => false,
            PullPolicy::IfNotPresent => !present,
            PullPolicy::Always => {
                !(present && self.imported.read().contains(&name::normalize(image)))
            }
        }
    }

    /// Pulls an image with each of the matching credentials in turn, and at last without any.
    ///
    /// # Errors
    /// The error of the last attempt.
    pub(crate) async fn pull(
        &self,
        image: &str,
        secrets: &[Secret],
    ) -> Result<LocalImage, ImageError> {
        let began = std::time::Instant::now();
        let mut credentials: Vec<Option<pb::AuthConfig>> = credentials::for_image(secrets, image)
            .into_iter()
            .map(Some)
            .collect();
        credentials.push(None);
        let mut last = CriError::Incomplete("PullImage");
        for credential in credentials {
            match self.runtime.pull_image(image.to_owned(), credential).await {
                Ok(_reference) => {
                    let found = self.find(image).await.map_err(ImageError::Pull)?;
                    let present = found.ok_or(ImageError::Pull(last))?;
                    return Ok(LocalImage {
                        pulled: Some(began.elapsed()),
                        ..present
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(ImageError::Pull(last))
    }
}

fn user(image: &pb::Image) -> ImageUser {
    match (&image.uid, image.username.as_str()) {
        (Some(uid), _) => ImageUser::Id(uid.value),
        (None, "") => ImageUser::Unset,
        (None, name) => ImageUser::Name(name.to_owned()),
    }
}
