//! Images: which name means which, pulling with back-off, archives, and the pause image.

pub(crate) mod archive;
pub(crate) mod auth;
pub(crate) mod import;
pub(crate) mod name;
pub(crate) mod pause;

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::core::v1::Secret;
use pandaemon_cri::{CriError, Runtime, pb};
use parking_lot::RwLock;

/// The image of the process that holds a pod's namespaces open. It is made by the agent.
pub(crate) const PAUSE_IMAGE: &str = "pandaemon.dev/pause:1";

/// When a container's image is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PullPolicy {
    /// Before every start.
    Always,
    /// When it is missing.
    IfNotPresent,
    /// Never.
    Never,
}

impl PullPolicy {
    /// The policy as written, or what upstream defaults it to for this image.
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

/// Why a container has no image.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ImageError {
    /// It is missing and may not be pulled.
    #[error("Container image {0:?} is not present with pull policy of Never")]
    NeverPull(String),
    /// Its name is not one.
    #[error("couldn't parse image name {0:?}: invalid reference format")]
    InvalidName(String),
    /// The registry or the runtime said no.
    #[error("{0}")]
    Pull(CriError),
}

/// What making an image present took.
#[derive(Debug, Clone)]
pub(crate) struct Present {
    /// The runtime's id, for creating the container.
    pub id: String,
    /// What the image says about its user.
    pub user: ImageUser,
    /// How long a pull took; `None` if it was there.
    pub pulled: Option<std::time::Duration>,
    /// Its size in bytes.
    pub size: u64,
}

/// The user that an image runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageUser {
    /// A number.
    Id(i64),
    /// A name.
    Name(String),
    /// Not said, which means root.
    Unset,
}

/// The node's images.
#[derive(Clone)]
pub(crate) struct Images {
    runtime: Arc<dyn Runtime>,
    imported: Arc<RwLock<BTreeSet<String>>>,
}

impl Images {
    /// Images of this runtime.
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
    /// When the runtime does not answer.
    pub(crate) async fn find(&self, image: &str) -> Result<Option<Present>, CriError> {
        let found = self.runtime.image(image.to_owned()).await?;
        Ok(found.map(|found| Present {
            user: user(&found),
            size: found.size,
            id: found.id,
            pulled: None,
        }))
    }

    /// Whether a start must ask the registry first. An archive given with `--images` counts as the
    /// registry's copy: that is what the option is for, also where a manifest says `:latest`.
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

    /// Pulls an image, trying each login in turn and at last none.
    ///
    /// # Errors
    /// The registry's words of the last try.
    pub(crate) async fn pull(
        &self,
        image: &str,
        secrets: &[Secret],
    ) -> Result<Present, ImageError> {
        let began = std::time::Instant::now();
        let mut logins: Vec<Option<pb::AuthConfig>> =
            auth::logins(secrets, image).into_iter().map(Some).collect();
        logins.push(None);
        let mut last = CriError::Incomplete("PullImage");
        for login in logins {
            match self.runtime.pull_image(image.to_owned(), login).await {
                Ok(_reference) => {
                    let found = self.find(image).await.map_err(ImageError::Pull)?;
                    let present = found.ok_or(ImageError::Pull(last))?;
                    return Ok(Present {
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
