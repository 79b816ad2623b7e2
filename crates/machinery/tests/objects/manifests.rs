//! The project's manifests: valid ones are accepted without a change, broken ones refused with
//! upstream's text.

use std::{
    fs,
    path::{Path, PathBuf},
};

use pandaemon_machinery::{
    Status,
    decode::{FieldValidation, MediaType},
    scheme,
};
use serde_json::Value;

use crate::{pipeline, text_cases::yaml};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../e2e/manifests")
        .join(name)
}

/// The message of the response to each document of a kind that is served; empty for a success.
fn messages(file: &Path) -> Vec<String> {
    let text = format!("\n{}", fs::read_to_string(file).expect("a manifest"));
    let mut messages = Vec::new();
    for document in text.split("\n---") {
        let object: Value = yaml(document);
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let kind = object["kind"].as_str().unwrap_or_default();
        let Some(kind) = scheme::built_in().find_kind(group, version, kind) else {
            continue;
        };
        let body = (document.as_bytes(), MediaType::Yaml);
        let created = pipeline::create(kind, "default", body, FieldValidation::Strict, |_| ());
        messages.push(match created {
            Ok((_, errors)) if errors.is_empty() => String::new(),
            Ok((object, errors)) => {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                Status::invalid(kind, name, &errors).message
            }
            Err(status) => status.message,
        });
    }
    messages
}

#[test]
fn manifests_of_the_seed_situations_are_valid() {
    let entries = fs::read_dir(folder("seeds")).expect("the manifests");
    let mut documents = 0;
    for entry in entries {
        let file = entry.expect("a manifest").path();
        for message in messages(&file) {
            assert_eq!(message, "", "{}", file.display());
            documents += 1;
        }
    }
    assert!(documents > 6, "only {documents} documents");
}

#[test]
fn broken_manifests_are_refused_with_upstreams_texts() {
    let labels = |shown: &str| {
        format!(
            "spec.template.metadata.labels: Invalid value: {shown}: `selector` does not match template \
             `labels`"
        )
    };
    let invalid = |errors: &str| format!("DaemonSet.apps \"broken\" is invalid: {errors}");
    let cases = [
        (
            "field-of-the-pod-in-a-container",
            "DaemonSet in version \"v1\" cannot be handled as a DaemonSet: strict decoding error: unknown \
             field \"spec.template.spec.containers[0].tolerations\""
                .to_owned(),
        ),
        (
            "labels-that-the-selector-does-not-select",
            invalid(&labels("map[string]string(nil)")),
        ),
        (
            "no-selector-no-image",
            invalid(&format!(
                "[{}, spec.template.spec.containers[0].image: Required value]",
                labels("map[string]string{\"app\":\"broken\"}")
            )),
        ),
        (
            "restart-policy-of-a-container",
            invalid(
                "spec.template.spec.containers[0].restartPolicy: Forbidden: may not be set for \
                 non-init containers",
            ),
        ),
    ];
    for (name, expected) in cases {
        let file = folder("broken").join(format!("{name}.yaml"));
        assert_eq!(messages(&file), [expected], "{name}");
    }
}
