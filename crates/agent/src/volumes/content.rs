//! What files config maps, secrets and the pod itself make.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, DownwardAPIVolumeFile, DownwardAPIVolumeSource, KeyToPath,
    ProjectedVolumeSource, SecretVolumeSource, VolumeProjection,
};

use super::{token::Tokens, writer::File};
use crate::{
    api::sources::{Data, Kind},
    pod::{
        PodRef,
        env::{self, Surroundings},
        inputs::Snapshot,
    },
};

type Made = Result<Vec<File>, String>;

/// Without a mode files are readable by all, as upstream.
const DEFAULT_MODE: u32 = 0o644;

fn mode(one: Option<i32>, all: Option<i32>) -> u32 {
    one.or(all)
        .and_then(|mode| u32::try_from(mode).ok())
        .unwrap_or(DEFAULT_MODE)
}

pub(super) fn config_map(source: &ConfigMapVolumeSource, inputs: &Snapshot) -> Made {
    let optional = source.optional.unwrap_or(false);
    let data = inputs.get(Kind::ConfigMap, &source.name, optional)?;
    keys(data, source.items.as_deref(), source.default_mode, optional)
}

pub(super) fn secret(source: &SecretVolumeSource, inputs: &Snapshot) -> Made {
    let optional = source.optional.unwrap_or(false);
    let name = source.secret_name.as_deref().unwrap_or_default();
    let data = inputs.get(Kind::Secret, name, optional)?;
    keys(data, source.items.as_deref(), source.default_mode, optional)
}

fn keys(
    data: Option<&Data>,
    items: Option<&[KeyToPath]>,
    default_mode: Option<i32>,
    optional: bool,
) -> Made {
    let Some(Data(data)) = data else {
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
    around: &Surroundings,
) -> Made {
    let items = source.items.iter().flatten();
    items
        .map(|item| downward_file(item, source.default_mode, pod, around))
        .collect()
}

fn downward_file(
    item: &DownwardAPIVolumeFile,
    default_mode: Option<i32>,
    pod: &PodRef,
    around: &Surroundings,
) -> Result<File, String> {
    let content = match (&item.field_ref, &item.resource_field_ref) {
        (Some(field), _) => env::field(field, pod, around)?,
        (None, Some(resource)) => env::resource(resource, pod, None, around)?,
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
    inputs: &Snapshot,
    pod: &PodRef,
    around: &Surroundings,
    tokens: &Tokens<'_>,
) -> Made {
    let mut files = Vec::new();
    for one in source.sources.iter().flatten() {
        if let Some(token) = &one.service_account_token {
            files.push(File {
                path: token.path.clone(),
                content: tokens.get(token).await?.into_bytes(),
                mode: 0o600 | mode(None, source.default_mode),
            });
        } else {
            files.extend(projection(one, source.default_mode, inputs, pod, around)?);
        }
    }
    Ok(files)
}

fn projection(
    one: &VolumeProjection,
    default_mode: Option<i32>,
    inputs: &Snapshot,
    pod: &PodRef,
    around: &Surroundings,
) -> Made {
    if let Some(source) = &one.config_map {
        let optional = source.optional.unwrap_or(false);
        let data = inputs.get(Kind::ConfigMap, &source.name, optional)?;
        return keys(data, source.items.as_deref(), default_mode, optional);
    }
    if let Some(source) = &one.secret {
        let optional = source.optional.unwrap_or(false);
        let data = inputs.get(Kind::Secret, &source.name, optional)?;
        return keys(data, source.items.as_deref(), default_mode, optional);
    }
    if let Some(source) = &one.downward_api {
        let items = source.items.iter().flatten();
        return items
            .map(|item| downward_file(item, default_mode, pod, around))
            .collect();
    }
    Err("this kind of projected source is not supported".to_owned())
}
