//! The Lease object as a lock.

use http::{Method, Request, header};
use kube::Client;
use pandaemon_client::errors;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{
    config::LeaderElectionConfig,
    state::{ElectionState, LeaderElectionRecord},
};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Object {
    metadata: serde_json::Map<String, serde_json::Value>,
    spec: LeaderElectionRecord,
}

impl Object {
    fn meta(&self, field: &str) -> &str {
        let value = self.metadata.get(field);
        value.and_then(|value| value.as_str()).unwrap_or_default()
    }
}

/// Reads and writes one Lease (client-go's `LeaseLock`).
pub(super) struct LeaseLock {
    client: Client,
    collection: String,
    name: String,
    /// Empty until the lease was read or written.
    pub(super) uid: String,
    /// The lease as this process wrote or read it last; `None`: it must be read.
    known: Option<Object>,
}

impl LeaseLock {
    pub(super) fn new(client: Client, config: &LeaderElectionConfig) -> Self {
        let namespace = &config.namespace;
        Self {
            client,
            collection: format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"),
            name: config.name.clone(),
            uid: String::new(),
            known: None,
        }
    }

    /// The lease: as this process wrote it last (a conflict tells if it has changed since), or as
    /// the server has it.
    pub(super) async fn read(
        &mut self,
        state: &ElectionState,
    ) -> kube::Result<Option<LeaderElectionRecord>> {
        let is_own = |object: &Object| Some(object.spec.holder()) == state.leader();
        if let Some(object) = self.known.as_ref().filter(|object| is_own(object))
            && object.spec.holder() == state.identity()
        {
            return Ok(Some(object.spec.clone()));
        }
        let path = format!("{}/{}", self.collection, self.name);
        match self.send::<Object>(Method::GET, &path, None).await {
            Ok(object) => Ok(Some(self.remember(object))),
            Err(error) if errors::is_not_found(&error) => {
                self.known = None;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Creates the lease; `None` if another process did meanwhile.
    pub(super) async fn create(
        &mut self,
        record: LeaderElectionRecord,
    ) -> kube::Result<Option<LeaderElectionRecord>> {
        let body = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": self.name}, "spec": record,
        });
        let collection = self.collection.clone();
        let answer = self.send(Method::POST, &collection, Some(body)).await;
        self.written(answer)
    }

    /// Writes the lease; `None` if another process has changed it meanwhile.
    pub(super) async fn update(
        &mut self,
        record: LeaderElectionRecord,
    ) -> kube::Result<Option<LeaderElectionRecord>> {
        let Some(object) = self.known.clone() else {
            return Ok(None);
        };
        let body = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": object.metadata, "spec": record,
        });
        let path = format!("{}/{}", self.collection, self.name);
        let answer = self.send(Method::PUT, &path, Some(body)).await;
        self.written(answer)
    }

    fn written(
        &mut self,
        answer: kube::Result<Object>,
    ) -> kube::Result<Option<LeaderElectionRecord>> {
        match answer {
            Ok(object) => Ok(Some(self.remember(object))),
            Err(error) => {
                // The lease may have changed, so it must be read again.
                self.known = None;
                if errors::is_conflict(&error) {
                    Ok(None)
                } else {
                    Err(error)
                }
            }
        }
    }

    fn remember(&mut self, object: Object) -> LeaderElectionRecord {
        object.meta("uid").clone_into(&mut self.uid);
        let record = object.spec.clone();
        self.known = Some(object);
        record
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> kube::Result<T> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.into_bytes())
            .map_err(kube::Error::HttpError)?;
        self.client.request(request).await
    }
}
