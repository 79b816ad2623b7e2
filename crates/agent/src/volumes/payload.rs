//! The files of volumes with content from ConfigMaps, Secrets, the downward API and tokens.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, DownwardAPIVolumeFile, DownwardAPIVolumeSource, KeyToPath,
    ProjectedVolumeSource, SecretVolumeSource, VolumeProjection,
};

use super::{atomic_writer::File, token::TokenManager};
use crate::{
    api::object_cache::{ObjectData, ObjectKind},
    pod::{
        PodRef,
        env::{self, NodeInfo},
        references::ReferencedObjects,
    },
};

/// The files of a volume, or the kubelet's message why there are none.
type Payload = Result<Vec<File>, String>;

/// The default mode of files, as in the kubelet.
const DEFAULT_MODE: u32 = 0o644;

fn mode(one: Option<i32>, all: Option<i32>) -> u32 {
    one.or(all)
        .and_then(|mode| u32::try_from(mode).ok())
        .unwrap_or(DEFAULT_MODE)
}

pub(super) fn config_map(
    source: &ConfigMapVolumeSource,
    references: &ReferencedObjects,
) -> Payload {
    let optional = source.optional.unwrap_or(false);
    let data = references.get(ObjectKind::ConfigMap, &source.name, optional)?;
    keys(data, source.items.as_deref(), source.default_mode, optional)
}

pub(super) fn secret(source: &SecretVolumeSource, references: &ReferencedObjects) -> Payload {
    let optional = source.optional.unwrap_or(false);
    let name = source.secret_name.as_deref().unwrap_or_default();
    let data = references.get(ObjectKind::Secret, name, optional)?;
    keys(data, source.items.as_deref(), source.default_mode, optional)
}

fn keys(
    data: Option<&ObjectData>,
    items: Option<&[KeyToPath]>,
    default_mode: Option<i32>,
    optional: bool,
) -> Payload {
    let Some(ObjectData(data)) = data else {
        return Ok(Vec::new());
    };
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        let all = data.iter().map(|(key, content)| File {
            path: key.clone(),
            content: content.clone(),
            mode: mode(None, default_mode),
        });
        return Ok(all.collect());
    };
    let mut files = Vec::new();
    for item in items {
        match data.get(&item.key) {
            Some(content) => files.push(File {
                path: item.path.clone(),
                content: content.clone(),
                mode: mode(item.mode, default_mode),
            }),
            None if optional => (),
            None => return Err(format!("references non-existent config key: {}", item.key)),
        }
    }
    Ok(files)
}

pub(super) fn downward(
    source: &DownwardAPIVolumeSource,
    pod: &PodRef,
    node_info: &NodeInfo,
) -> Payload {
    let items = source.items.iter().flatten();
    items
        .map(|item| downward_file(item, source.default_mode, pod, node_info))
        .collect()
}

fn downward_file(
    item: &DownwardAPIVolumeFile,
    default_mode: Option<i32>,
    pod: &PodRef,
    node_info: &NodeInfo,
) -> Result<File, String> {
    let content = match (&item.field_ref, &item.resource_field_ref) {
        (Some(field), _) => env::field(field, pod, node_info)?,
        (None, Some(resource)) => env::resource(resource, pod, None, node_info)?,
        (None, None) => String::new(),
    };
    Ok(File {
        path: item.path.clone(),
        content: content.into_bytes(),
        mode: mode(item.mode, default_mode),
    })
}

pub(super) async fn projected(
    source: &ProjectedVolumeSource,
    references: &ReferencedObjects,
    pod: &PodRef,
    node_info: &NodeInfo,
    tokens: &TokenManager<'_>,
) -> Payload {
    let mut files = Vec::new();
    for one in source.sources.iter().flatten() {
        if let Some(token) = &one.service_account_token {
            files.push(File {
                path: token.path.clone(),
                content: tokens.get(token).await?.into_bytes(),
                mode: 0o600 | mode(None, source.default_mode),
            });
        } else {
            files.extend(projection(
                one,
                source.default_mode,
                references,
                pod,
                node_info,
            )?);
        }
    }
    Ok(files)
}

fn projection(
    one: &VolumeProjection,
    default_mode: Option<i32>,
    references: &ReferencedObjects,
    pod: &PodRef,
    node_info: &NodeInfo,
) -> Payload {
    if let Some(source) = &one.config_map {
        let optional = source.optional.unwrap_or(false);
        let data = references.get(ObjectKind::ConfigMap, &source.name, optional)?;
        return keys(data, source.items.as_deref(), default_mode, optional);
    }
    if let Some(source) = &one.secret {
        let optional = source.optional.unwrap_or(false);
        let data = references.get(ObjectKind::Secret, &source.name, optional)?;
        return keys(data, source.items.as_deref(), default_mode, optional);
    }
    if let Some(source) = &one.downward_api {
        let items = source.items.iter().flatten();
        return items
            .map(|item| downward_file(item, default_mode, pod, node_info))
            .collect();
    }
    Err("this kind of projected source is not supported".to_owned())
}
