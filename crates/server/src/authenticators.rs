//! The authenticators of bearer tokens, in the order in which they are asked. A new one is a file
//! of its own, its `mod` line and its line of [`chain`].

mod admin_token;
mod audience;
mod bootstrap_token;
mod join_token;
pub(crate) mod oidc;
mod revoked_serials;
mod service_account_token;
mod token_file;

use std::{
    fmt::Display,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use pandaemon_runtime::metrics::Metrics;

pub(crate) use self::revoked_serials::RevokedSerials;
use self::{
    audience::ForApiServer,
    oidc::{OidcIssuer, config::AuthenticationConfiguration},
    service_account_token::TokenMetrics,
    token_file::TokenFile,
};
use crate::{
    auth::{Anonymous, AuthenticatorChain, TokenAuthenticator},
    pki::Pki,
    registry::Registry,
    service_accounts::TokenIssuer,
};

/// The files that name users.
#[derive(Debug, Clone, Default)]
pub struct AuthenticationOptions {
    /// Issuers of ID tokens, and what anonymous users may (`AuthenticationConfiguration`).
    pub config_file: Option<PathBuf>,
    /// Serial numbers of client certificates that count no more.
    pub revoked_serials_file: Option<PathBuf>,
    /// A CSV file of tokens: token, user name, user UID, groups.
    pub token_file: Option<PathBuf>,
}

/// Why a file that names users cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the {what} `{}`: {why}", path.display())]
pub struct AuthenticationError {
    what: &'static str,
    path: PathBuf,
    why: String,
}

/// The revoked client certificates.
///
/// # Errors
/// If the file cannot be read, or is not valid.
pub(crate) fn revoked(
    options: &AuthenticationOptions,
) -> Result<RevokedSerials, AuthenticationError> {
    match &options.revoked_serials_file {
        None => Ok(RevokedSerials::default()),
        Some(path) => {
            let unusable = unusable("file of revoked serial numbers", path);
            RevokedSerials::read(path).map_err(unusable)
        }
    }
}

/// The chain of a server.
///
/// # Errors
/// If a file cannot be read, or is not valid.
pub(crate) fn chain(
    options: &AuthenticationOptions,
    pki: &Arc<Pki>,
    issuer: &Arc<TokenIssuer>,
    registry: &Arc<Registry>,
    metrics: &Metrics,
) -> Result<AuthenticatorChain, AuthenticationError> {
    let audiences = &issuer.options.api_audiences;
    let mut tokens: Vec<Arc<dyn TokenAuthenticator>> = vec![for_api_server(
        audiences,
        admin_token::AdminToken(Arc::clone(pki)),
    )];
    let join_token = join_token::JoinToken(Arc::clone(pki));
    tokens.push(for_api_server(audiences, join_token));
    let bootstrap_tokens = bootstrap_token::BootstrapToken {
        pki: Arc::clone(pki),
        cache: Arc::clone(&registry.cache),
    };
    tokens.push(for_api_server(audiences, bootstrap_tokens));
    if let Some(path) = &options.token_file {
        let file = TokenFile::read(path).map_err(unusable("token file", path))?;
        tokens.push(for_api_server(audiences, file));
    }
    tokens.push(Arc::new(service_account_token::ServiceAccountTokens {
        issuer: Arc::clone(issuer),
        registry: Arc::clone(registry),
        metrics: TokenMetrics::new(metrics),
    }));
    let mut anonymous = Anonymous::Everywhere;
    if let Some(path) = &options.config_file {
        let unusable = |why: String| unusable("authentication configuration", path)(why);
        let text = fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
        let config =
            AuthenticationConfiguration::parse(&text, &issuer.options.issuers).map_err(unusable)?;
        if let Some(setting) = config.anonymous {
            anonymous = setting.into();
        }
        for one in config.jwt {
            let issuer = OidcIssuer::new(one).map_err(unusable)?;
            tokens.push(for_api_server(audiences, issuer));
        }
    }
    Ok(AuthenticatorChain::new(
        tokens,
        audiences.clone(),
        anonymous,
    ))
}

fn for_api_server(
    audiences: &[String],
    inner: impl TokenAuthenticator + 'static,
) -> Arc<dyn TokenAuthenticator> {
    Arc::new(ForApiServer {
        audiences: audiences.to_vec(),
        inner,
    })
}

/// Adds what and where to a reason.
fn unusable<E: Display>(what: &'static str, path: &Path) -> impl Fn(E) -> AuthenticationError {
    move |why| AuthenticationError {
        what,
        path: path.to_owned(),
        why: why.to_string(),
    }
}
