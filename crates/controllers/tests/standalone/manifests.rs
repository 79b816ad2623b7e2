//! The manifests in `deploy/controller`: every field is one that Kubernetes knows, and they fit
//! each other.

use std::{collections::BTreeSet, path::PathBuf};

use clap::Parser;
use pandaemon_controllers::standalone::ControllerArgs;
use pandaemon_machinery::{
    decode::{FieldValidation, MediaType, decode},
    scheme::built_in,
};
use pandaemon_runtime::logs::LogArgs;
use serde_json::Value;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/controller")
}

fn text(file: &str) -> String {
    std::fs::read_to_string(folder().join(file)).unwrap()
}

pub(crate) fn manifest(file: &str) -> Value {
    serde_saphyr::from_str(&text(file)).unwrap()
}

fn files() -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder()).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// The fields of kinds that the API server of this project does not have.
fn known_fields(kind: &str) -> &'static [&'static str] {
    match kind {
        "ClusterRole" | "Role" => &["rules"],
        "ClusterRoleBinding" | "RoleBinding" => &["roleRef", "subjects"],
        "Deployment" | "PodDisruptionBudget" => &["spec"],
        "Kustomization" => &["namespace", "resources"],
        other => panic!("{other}"),
    }
}

#[test]
fn every_field_is_known() {
    for file in files() {
        let object = manifest(&file);
        let version = object["apiVersion"].as_str().unwrap();
        let kind = object["kind"].as_str().unwrap();
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        if let Some(known) = built_in().find_kind(group, version, kind) {
            let decoded = decode(
                built_in(),
                known,
                text(&file).as_bytes(),
                MediaType::Yaml,
                FieldValidation::Strict,
            );
            if let Err(status) = decoded {
                panic!("{file}: {status:?}");
            }
            continue;
        }
        let fields = object.as_object().unwrap().keys();
        let unknown: Vec<_> = fields
            .filter(|field| !["apiVersion", "kind", "metadata"].contains(&field.as_str()))
            .filter(|field| !known_fields(kind).contains(&field.as_str()))
            .collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
        let rules = object["rules"].as_array().into_iter().flatten();
        for rule in rules {
            let fields: BTreeSet<_> = rule
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect();
            let allowed = ["apiGroups", "resources", "verbs", "resourceNames"];
            assert!(
                fields.iter().all(|field| allowed.contains(field)),
                "{file}: {fields:?}"
            );
        }
    }
}

#[test]
fn the_pod_is_one() {
    let mut template = manifest("deployment.yaml")["spec"]["template"].clone();
    template["apiVersion"] = "v1".into();
    template["kind"] = "Pod".into();
    let pod = built_in().find_kind("", "v1", "Pod").unwrap();
    let body = template.to_string();
    if let Err(status) = decode(
        built_in(),
        pod,
        body.as_bytes(),
        MediaType::Json,
        FieldValidation::Strict,
    ) {
        panic!("{status:?}");
    }
    let spec = &template["spec"];
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        spec["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    let inside = &spec["containers"][0]["securityContext"];
    assert_eq!(inside["readOnlyRootFilesystem"], true);
    assert_eq!(inside["allowPrivilegeEscalation"], false);
    assert_eq!(inside["capabilities"]["drop"][0], "ALL");
}

#[test]
fn they_fit_each_other() {
    let listed = manifest("kustomization.yaml")["resources"].clone();
    let listed: BTreeSet<String> = serde_json::from_value(listed).unwrap();
    let mut there = files();
    there.remove("kustomization.yaml");
    assert_eq!(listed, there);
    for (binding, role) in [
        ("clusterrolebinding.yaml", "clusterrole.yaml"),
        ("rolebinding.yaml", "role.yaml"),
    ] {
        let (binding, role) = (manifest(binding), manifest(role));
        assert_eq!(binding["roleRef"]["kind"], role["kind"]);
        assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
        let account = manifest("serviceaccount.yaml");
        assert_eq!(binding["subjects"][0]["name"], account["metadata"]["name"]);
        let namespace = manifest("kustomization.yaml")["namespace"].clone();
        assert_eq!(binding["subjects"][0]["namespace"], namespace);
    }
    let deployment = manifest("deployment.yaml");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], *labels);
    assert_eq!(manifest("service.yaml")["spec"]["selector"], *labels);
    let budget = manifest("poddisruptionbudget.yaml");
    assert_eq!(budget["spec"]["selector"]["matchLabels"], *labels);
    assert!(budget["spec"]["minAvailable"].as_u64() < deployment["spec"]["replicas"].as_u64());
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    controller: ControllerArgs,
    #[command(flatten)]
    logs: LogArgs,
}

#[test]
fn the_arguments_are_understood() {
    let deployment = manifest("deployment.yaml");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let args: Vec<String> = serde_json::from_value(container["args"].clone()).unwrap();
    let line = Line::try_parse_from(&args).map_err(|error| error.to_string());
    let line = line.unwrap();
    let settings = line.controller.settings().unwrap();
    let candidate = settings.leader_election.unwrap();
    assert_eq!(
        candidate.namespace,
        manifest("kustomization.yaml")["namespace"]
    );
    assert_eq!(
        manifest("role.yaml")["rules"][1]["resourceNames"][0],
        candidate.name
    );
    let port = line.controller.metrics_address().unwrap().unwrap().port();
    assert_eq!(container["ports"][0]["containerPort"], port);
    assert_eq!(manifest("service.yaml")["spec"]["ports"][0]["port"], port);
    assert_eq!(line.logs.log, "info");
}
