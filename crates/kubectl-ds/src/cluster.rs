//! A client from a kubeconfig, found as kubectl does, and reads of objects and lists.

use http::{HeaderName, HeaderValue};
use kube::{
    Client, Config,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
    core::Request as Collection,
};
use pandaemon_client::{connect, errors, rest::Rest};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{args::ClusterArgs, error::CommandError};

const PAGE: u32 = 1_000;
const AGENT: &str = concat!("kubectl-ds/", env!("CARGO_PKG_VERSION"));

/// A cluster and the default namespace.
#[derive(Clone)]
pub struct Cluster {
    rest: Rest,
    /// The namespace of the command line or the context.
    pub(crate) namespace: String,
}

impl Cluster {
    /// A cluster with an existing client.
    #[must_use]
    pub fn new(client: Client, namespace: impl Into<String>) -> Self {
        Self {
            rest: Rest::new(client),
            namespace: namespace.into(),
        }
    }

    /// Connects to the cluster that kubectl would choose.
    pub(crate) async fn connect(args: &ClusterArgs) -> Result<Self, CommandError> {
        let mut config = config(args).await?;
        headers(&mut config, args)?;
        let namespace = args.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let client = connect::direct(config);
        let client = client.map_err(|error| CommandError::new(format!("error: {error:#}")))?;
        Ok(Self::new(client, namespace))
    }

    pub(crate) const fn client(&self) -> &Client {
        self.rest.client()
    }

    /// Reads an object; `None` if it does not exist.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Option<T>, CommandError> {
        Ok(self.rest.get(path).await?)
    }

    /// Reads one object of a collection, to find out whether it may be listed.
    ///
    /// # Errors
    /// When it may not, with kubectl's message.
    pub(crate) async fn probe_list(&self, path: &str) -> Result<(), CommandError> {
        let page: Option<serde::de::IgnoredAny> = self.get(&format!("{path}?limit=1")).await?;
        page.map(drop).ok_or_else(|| not_served(path))
    }

    /// Reads a collection page by page.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        labels: &str,
        fields: &str,
    ) -> Result<Vec<T>, CommandError> {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let mut items = Vec::new();
        let mut params = ListParams {
            label_selector: some(labels),
            field_selector: some(fields),
            limit: Some(PAGE),
            ..ListParams::default()
        };
        let mut tries = 0;
        loop {
            let request = Collection::new(path).list(&params);
            let path = request
                .map_err(kube::Error::BuildRequest)?
                .uri()
                .to_string();
            let page: Option<Page<T>> = match self.rest.get(&path).await {
                Err(error) if errors::is_gone(&error) && tries < 3 => {
                    // The server dropped the state that the pages show: list again.
                    tries += 1;
                    items.clear();
                    params.continue_token = None;
                    continue;
                }
                page => page?,
            };
            let page = page.ok_or_else(|| not_served(&path))?;
            items.extend(page.items.unwrap_or_default());
            params.continue_token = page.metadata.r#continue.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                return Ok(items);
            }
        }
    }
}

/// The error about a collection that the server does not have.
fn not_served(path: &str) -> CommandError {
    let path = path.split('?').next().unwrap_or(path);
    CommandError::new(format!("error: the server does not serve {path}"))
}

#[derive(Deserialize)]
struct Page<T> {
    #[serde(default)]
    metadata: PageMeta,
    items: Option<Vec<T>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PageMeta {
    r#continue: Option<String>,
}

async fn config(args: &ClusterArgs) -> Result<Config, CommandError> {
    let failed = |error: &dyn std::fmt::Display| CommandError::new(format!("error: {error}"));
    let options = KubeConfigOptions {
        context: args.context.clone(),
        cluster: args.cluster.clone(),
        user: args.user.clone(),
    };
    let chosen = args.context.is_some() || args.cluster.is_some() || args.user.is_some();
    let file = match &args.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    match file {
        Ok(file) => {
            let config = Config::from_custom_kubeconfig(file, &options).await;
            config.map_err(|error| failed(&error))
        }
        // Without a kubeconfig, a pod uses its service account.
        Err(_) if args.kubeconfig.is_none() && !chosen => Config::incluster()
            .map_err(|_| failed(&"no cluster: pass --kubeconfig FILE or set KUBECONFIG")),
        Err(error) => Err(failed(&error)),
    }
}

fn headers(config: &mut Config, args: &ClusterArgs) -> Result<(), CommandError> {
    let auth = &config.auth_info;
    let user = args
        .impersonate
        .clone()
        .or_else(|| auth.impersonate.clone());
    let groups = if args.impersonate_groups.is_empty() {
        auth.impersonate_groups.clone().unwrap_or_default()
    } else {
        args.impersonate_groups.clone()
    };
    let user = user.map(|user| ("impersonate-user", user));
    let groups = groups.into_iter().map(|group| ("impersonate-group", group));
    for (name, value) in user.into_iter().chain(groups) {
        let value = HeaderValue::from_str(&value)
            .map_err(|_| CommandError::new(format!("error: {value} cannot be acted as")))?;
        config.headers.push((HeaderName::from_static(name), value));
    }
    let agent = HeaderValue::from_static(AGENT);
    config.headers.push((http::header::USER_AGENT, agent));
    Ok(())
}
