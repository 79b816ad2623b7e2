//! Secrets of type `kubernetes.io/service-account-token`: each gets a token of the account that it
//! names, and goes with the account. Upstream:
//! `pkg/controller/serviceaccount/tokens_controller.go`.
//!
//! Such a token does not expire. It is valid as long as its Secret contains it.

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::future::{Either, select};
use jiff::Timestamp;
use pandaemon_machinery::{Status, status::Result};
use pandaemon_runtime::{Shutdown, catch_panic};
use serde_json::Value;

use crate::{
    auth::service_account,
    cache::{
        object::Object,
        watch_cache::{ChangeKind, Next},
    },
    registry::{
        Registry, kinds, meta,
        options::{DeleteOptions, Preconditions},
        unreadable,
    },
    service_accounts::{Claims, LEGACY_ISSUER, LegacyClaims, TokenIssuer},
};

const TYPE: &str = "kubernetes.io/service-account-token";
/// The annotations that name the account.
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

/// How long after a failure all Secrets are looked at again.
const RETRY: Duration = Duration::from_secs(30);

/// The loop over these Secrets.
pub(crate) struct ServiceAccountSecrets {
    pub registry: Arc<Registry>,
    pub issuer: Arc<TokenIssuer>,
    /// The CA of the server, in PEM.
    pub ca: String,
}

/// Why a round over these Secrets has ended.
enum End {
    /// Something has failed, or the watches were closed.
    Failed,
    /// Changes were missed: all Secrets have to be looked at again.
    Missed,
}

impl fmt::Debug for ServiceAccountSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceAccountSecrets")
    }
}

impl ServiceAccountSecrets {
    /// Runs until the shutdown.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        loop {
            // A panic is logged there.
            let round = catch_panic("service-account-secrets", self.follow());
            match shutdown.guard(round).await {
                Some(Some(End::Missed)) => continue,
                Some(_) => {}
                None => return,
            }
            if shutdown.guard(tokio::time::sleep(RETRY)).await.is_none() {
                return;
            }
        }
    }

    /// Looks at all Secrets and at each that changes, until one has failed, or the watches have
    /// ended.
    async fn follow(&self) -> End {
        let cache = &self.registry.cache;
        let (Ok(secrets), Ok(accounts)) = (kinds::secrets(), kinds::service_accounts()) else {
            return End::Failed;
        };
        let by_type = Some(("type", TYPE));
        let (Some((all, secrets)), Some((_, accounts))) = (
            cache.subscribe(secrets, None, by_type),
            cache.subscribe(accounts, None, None),
        ) else {
            return End::Failed;
        };
        let mut works = true;
        for secret in all {
            works &= logged(&secret, self.sync(&secret).await);
        }
        while works {
            let (secret, account) = (Box::pin(secrets.next()), Box::pin(accounts.next()));
            works = match select(secret, account).await {
                Either::Left((Next::Change(_, event), _)) => match &event.change.now {
                    Some(secret) => logged(secret, self.sync(secret).await),
                    None => true,
                },
                Either::Right((Next::Change(ChangeKind::Deleted, event), _)) => {
                    self.sync_namespace_of(event.change.before.as_deref()).await
                }
                Either::Right((Next::Change(..), _)) => true,
                Either::Left((Next::Lagged | Next::Missed, _))
                | Either::Right((Next::Lagged | Next::Missed, _)) => return End::Missed,
                Either::Left(_) | Either::Right(_) => false,
            };
        }
        End::Failed
    }

    /// Looks at the Secrets of the namespace of an account that is gone.
    async fn sync_namespace_of(&self, account: Option<&Object>) -> bool {
        let (Some(account), Ok(kind)) = (account, kinds::secrets()) else {
            return true;
        };
        let namespace = Some(account.namespace());
        let cache = &self.registry.cache;
        let found = cache.subscribe(kind, namespace, Some(("type", TYPE)));
        let mut works = true;
        for secret in found.map(|(secrets, _)| secrets).into_iter().flatten() {
            works &= logged(&secret, self.sync(&secret).await);
        }
        works
    }

    /// Completes a Secret, or deletes it if its account does not exist.
    async fn sync(&self, secret: &Object) -> Result<()> {
        let value = secret.value().map_err(unreadable)?;
        let annotation = |name| meta::text_at(&value, &["metadata", "annotations", name]);
        let (name, uid) = (annotation(ACCOUNT_NAME), annotation(ACCOUNT_UID));
        if secret.is_terminating() {
            return Ok(());
        }
        let kind = kinds::service_accounts()?;
        let account = self.registry.find(kind, secret.namespace(), name);
        let account = account.map(|account| account.value().map_err(unreadable));
        let account = account.transpose()?;
        let is_named = |account: &Value| uid.is_empty() || meta::text(account, "uid") == uid;
        match account.filter(is_named) {
            Some(account) => self.fill(&value, &account).await,
            None => self.delete(&value).await,
        }
    }

    async fn fill(&self, secret: &Value, account: &Value) -> Result<()> {
        let (namespace, name) = (meta::text(secret, "namespace"), meta::name(secret));
        let token = match meta::text_at(secret, &["data", "token"]) {
            "" => STANDARD.encode(self.token(secret, account)?),
            existing => existing.to_owned(),
        };
        let call = self
            .registry
            .internal_call(kinds::secrets()?, namespace, name);
        let update = self.registry.guaranteed_update(&call, |old| {
            let mut value = old.clone();
            if meta::text(old, "uid") == meta::text(secret, "uid") {
                let data = &mut value["data"];
                if data["token"].as_str().is_none_or(str::is_empty) {
                    data["token"] = token.as_str().into();
                }
                data["ca.crt"] = STANDARD.encode(&self.ca).into();
                data["namespace"] = STANDARD.encode(namespace).into();
                value["metadata"]["annotations"][ACCOUNT_UID] = meta::text(account, "uid").into();
            }
            Ok(value.into())
        });
        match update.await {
            Err(status) if status.code != 404 => Err(status),
            _ => Ok(()),
        }
    }

    fn token(&self, secret: &Value, account: &Value) -> Result<String> {
        let (namespace, name) = (meta::text(account, "namespace"), meta::name(account));
        let claims = Claims {
            iss: LEGACY_ISSUER.to_owned(),
            sub: service_account::user_name(namespace, name),
            legacy: Some(LegacyClaims {
                namespace: namespace.to_owned(),
                secret: meta::name(secret).to_owned(),
                account: name.to_owned(),
                account_uid: meta::text(account, "uid").to_owned(),
            }),
            ..Claims::default()
        };
        let token = self.issuer.sign(&claims, Timestamp::now());
        token.map_err(Status::internal)
    }

    async fn delete(&self, secret: &Value) -> Result<()> {
        let (namespace, name) = (meta::text(secret, "namespace"), meta::name(secret));
        let call = self
            .registry
            .internal_call(kinds::secrets()?, namespace, name);
        let options = DeleteOptions {
            preconditions: Preconditions {
                uid: Some(meta::text(secret, "uid").to_owned()),
                ..Preconditions::default()
            },
            ..DeleteOptions::default()
        };
        match self.registry.delete(&call, &options).await {
            // Deleted by another, or there is another with its name.
            Err(status) if !matches!(status.code, 404 | 409) => Err(status),
            _ => Ok(()),
        }
    }
}

/// Whether it worked. A failure is logged.
fn logged(secret: &Object, result: Result<()>) -> bool {
    let Err(error) = result else { return true };
    tracing::warn!(
        %error,
        namespace = secret.namespace(),
        secret = secret.name(),
        "cannot complete a Secret with the token of a service account; retrying in {} seconds",
        RETRY.as_secs()
    );
    false
}
