//! The objects of a run, and the requests that create, change and delete them.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use pandaemon_client::rest::{Patch, Rest};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};
use tokio::time::sleep;

/// The label of a run's nodes; its DaemonSet selects them by it.
pub(super) const LABEL: &str = "pandaemon.dev/bench";

/// The cluster and the namespace of a run.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) rest: Rest,
    /// Created for this run.
    pub(super) namespace: String,
}

/// The DaemonSet to roll out, as its JSON object.
#[derive(Debug, Clone)]
pub(super) struct Manifest(pub(super) Value);

impl Manifest {
    /// Reads the file, or returns [`standard`].
    pub(super) fn load(file: Option<&Path>) -> Result<Self> {
        let Some(path) = file else {
            return Ok(Self(standard()));
        };
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("read {shown}"))?;
        let object: Value = serde_saphyr::from_str(&text).with_context(|| format!("{shown}"))?;
        ensure!(
            object["kind"] == "DaemonSet" && object["apiVersion"] == "apps/v1",
            "{shown}: expected one apps/v1 DaemonSet"
        );
        ensure!(
            object["metadata"]["name"].is_string(),
            "{shown}: it has no name"
        );
        Ok(Self(object))
    }

    pub(super) fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Sets namespace, node selector and `maxUnavailable`. Without a run it selects all nodes.
    pub(super) fn with_run(mut self, namespace: &str, run: Option<&str>, roll: &str) -> Self {
        self.0["metadata"]["namespace"] = json!(namespace);
        let budget = roll
            .parse::<u32>()
            .map_or(json!(roll), |number| json!(number));
        self.0["spec"]["updateStrategy"] =
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": budget}});
        if let Some(run) = run {
            self.0["spec"]["template"]["spec"]["nodeSelector"][LABEL] = json!(run);
        }
        self
    }
}

/// A DaemonSet with one small container.
fn standard() -> Value {
    let labels = json!({"app": "bench"});
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "bench", "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod_spec()},
        },
    })
}

fn pod_spec() -> Value {
    json!({
        "terminationGracePeriodSeconds": 5,
        "containers": [{
            "name": "daemon", "image": "bench/daemon:v1",
            "ports": [{"name": "http", "containerPort": 8080}],
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
        }],
    })
}

/// A pod like those of the DaemonSet, with the name of a scheduler that does not exist.
pub(super) fn unscheduled_pod() -> Value {
    let mut spec = pod_spec();
    spec["schedulerName"] = json!("none");
    let metadata = json!({"generateName": "bench-", "labels": {"app": "ceiling"}});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

impl Cluster {
    /// The server's version.
    pub(super) async fn version(&self) -> Result<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            git_version: String,
        }
        let version: Option<Version> = self
            .rest
            .get("/version")
            .await
            .context("ask the server for its version")?;
        let version = version.context("the server has no /version")?;
        Ok(version.git_version)
    }

    /// Creates the namespace, and waits for the service account that its pods need.
    pub(super) async fn create_namespace(&self) -> Result<()> {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": self.namespace, "labels": {LABEL: "true"}},
        });
        self.create("/api/v1/namespaces", &namespace).await?;
        let account = self.path("/api/v1", "serviceaccounts/default");
        while !self.exists(&account).await? {
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    pub(super) fn path(&self, group: &str, rest: &str) -> String {
        format!("{group}/namespaces/{}/{rest}", self.namespace)
    }

    /// Creates an object.
    pub(super) async fn create(&self, collection: &str, object: &Value) -> Result<()> {
        let created = self.rest.create::<IgnoredAny>(collection, object).await;
        created
            .map(drop)
            .with_context(|| format!("create {} {}", object["kind"], object["metadata"]["name"]))
    }

    /// Changes the pod template of the DaemonSet.
    pub(super) async fn update_template(&self, name: &str) -> Result<()> {
        let annotations = json!({"pandaemon.dev/bench-template": "second"});
        let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
        self.patch(name, Patch::Merge, &patch).await
    }

    /// Rolls back to the previous revision, as `kubectl rollout undo` does.
    pub(super) async fn roll_back(&self, name: &str) -> Result<()> {
        #[derive(Deserialize)]
        struct Revision {
            revision: i64,
            data: Value,
        }
        #[derive(Deserialize)]
        struct List {
            items: Vec<Revision>,
        }
        let path = self.path("/apis/apps/v1", "controllerrevisions");
        let list = self.rest.get::<List>(&path).await?;
        let mut revisions = list.map(|list| list.items).unwrap_or_default();
        revisions.sort_by_key(|revision| revision.revision);
        let Some([before, _newest]) = revisions.last_chunk::<2>() else {
            bail!("the DaemonSet has no revision to go back to");
        };
        self.patch(name, Patch::Strategic, &before.data).await
    }

    async fn patch(&self, name: &str, form: Patch, patch: &Value) -> Result<()> {
        let path = self.path("/apis/apps/v1", &format!("daemonsets/{name}"));
        let patched = self.rest.patch(&path, form, patch).await;
        patched.context("change the DaemonSet")
    }

    /// Deletes an object or a collection; one that does not exist is no error.
    pub(super) async fn delete(&self, path: &str, options: &Value) -> Result<()> {
        let deleted = self.rest.delete(path, options).await;
        deleted.map(drop).with_context(|| format!("delete {path}"))
    }

    /// Deletes the DaemonSet; the garbage collector deletes its pods.
    pub(super) async fn delete_daemonset(&self, name: &str) -> Result<()> {
        let path = self.path("/apis/apps/v1", &format!("daemonsets/{name}"));
        self.delete(&path, &json!({"propagationPolicy": "Background"}))
            .await
    }

    /// Deletes the namespace, and waits until it is gone.
    pub(super) async fn delete_namespace(&self) -> Result<()> {
        let path = format!("/api/v1/namespaces/{}", self.namespace);
        self.delete(&path, &json!({})).await?;
        while self.exists(&path).await? {
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    pub(super) async fn exists(&self, path: &str) -> Result<bool> {
        let found = self.rest.get::<IgnoredAny>(path).await;
        let found = found.with_context(|| format!("read {path}"))?;
        Ok(found.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_gets_namespace_selector_and_budget() {
        let manifest = Manifest::load(None)
            .unwrap()
            .with_run("ns", Some("r1"), "10%");
        assert_eq!(manifest.name(), "bench");
        let Manifest(object) = manifest;
        assert_eq!(object["metadata"]["namespace"], "ns");
        assert_eq!(
            object["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"],
            "10%"
        );
        assert_eq!(
            object["spec"]["template"]["spec"]["nodeSelector"][LABEL],
            "r1"
        );
        let Manifest(object) = Manifest::load(None).unwrap().with_run("ns", None, "5");
        assert_eq!(
            object["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"],
            5
        );
        assert!(object["spec"]["template"]["spec"]["nodeSelector"].is_null());
    }

    #[test]
    fn a_file_must_hold_one_daemonset() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ds.yaml");
        std::fs::write(
            &path,
            "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: x}\n",
        )
        .unwrap();
        assert_eq!(Manifest::load(Some(&path)).unwrap().name(), "x");
        std::fs::write(&path, "apiVersion: apps/v1\nkind: Deployment\n").unwrap();
        let error = Manifest::load(Some(&path)).unwrap_err().to_string();
        assert!(error.ends_with("expected one apps/v1 DaemonSet"), "{error}");
    }
}
