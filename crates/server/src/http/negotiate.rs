//! Content negotiation: the form of a response from the `Accept` header, the media type of a body.
//! Pure. Upstream: `k8s.io/apiserver/pkg/endpoints/handlers/negotiation`.

use http::{HeaderMap, header};
use pandaemon_machinery::{
    Status,
    decode::MediaType,
    status::{Details, Result},
};

/// The encoding of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Encoding {
    /// JSON (`application/json`), also for clients that prefer protobuf.
    #[default]
    Json,
    /// YAML (`application/yaml`).
    Yaml,
}

/// What a response contains instead of or beside the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Shape {
    /// The objects themselves.
    #[default]
    Plain,
    /// A `Table` of this version of `meta.k8s.io`.
    Table(&'static str),
    /// `PartialObjectMetadata`, or a list of it, of this version of `meta.k8s.io`.
    Metadata(&'static str),
}

/// The negotiated form of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Form {
    /// JSON or YAML.
    pub encoding: Encoding,
    /// Objects, a Table, or metadata only.
    pub shape: Shape,
    /// Whether JSON is indented (`?pretty=true`).
    pub pretty: bool,
}

impl Form {
    /// The `Content-Type` of the response.
    #[must_use]
    pub(crate) fn content_type(&self) -> &'static str {
        match self.encoding {
            Encoding::Json => "application/json",
            Encoding::Yaml => "application/yaml",
        }
    }
}

/// One media range of an `Accept` header.
struct Clause<'a> {
    media: &'a str,
    params: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let params: Vec<_> = parts.filter_map(|p| p.split_once('=')).collect();
        let quality = params
            .iter()
            .find(|(k, _)| *k == "q")
            .and_then(|(_, v)| v.parse().ok());
        Self {
            media,
            params,
            quality: quality.unwrap_or(1.0),
        }
    }

    fn param(&self, name: &str) -> Option<&'a str> {
        self.params
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
    }

    fn encoding(&self) -> Option<Encoding> {
        match self.media {
            // The server writes no protobuf. Clients that accept protobuf also accept JSON.
            "application/json"
            | "*/*"
            | "application/*"
            | "application/vnd.kubernetes.protobuf" => Some(Encoding::Json),
            "application/yaml" => Some(Encoding::Yaml),
            _ => None,
        }
    }

    fn shape(&self) -> Option<Shape> {
        let version = match self.param("v") {
            Some("v1beta1") => "v1beta1",
            _ => "v1",
        };
        match self.param("as") {
            None => Some(Shape::Plain),
            Some("Table") => Some(Shape::Table(version)),
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") => {
                Some(Shape::Metadata(version))
            }
            Some(_) => None,
        }
    }

    fn form(&self) -> Option<Form> {
        let (encoding, shape) = (self.encoding()?, self.shape()?);
        Some(Form {
            encoding,
            shape,
            pretty: false,
        })
    }
}

fn clauses(headers: &HeaderMap) -> Vec<Clause<'_>> {
    let values = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|v| v.to_str().ok());
    let mut all: Vec<_> = values
        .flat_map(|v| v.split(','))
        .map(|text| Clause::parse(text.trim()))
        .collect();
    all.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    all
}

/// The supported form that the client prefers; `None` if it accepts no supported form.
#[must_use]
pub(crate) fn accepted(headers: &HeaderMap) -> Option<Form> {
    if !headers.contains_key(header::ACCEPT) {
        return Some(Form::default());
    }
    clauses(headers).iter().find_map(Clause::form)
}

/// The status of a request that accepts no supported form (406).
#[must_use]
pub(crate) fn not_acceptable() -> Box<Status> {
    Status::failure(
        406,
        "NotAcceptable",
        "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf",
    )
    .with_details(Details::default())
}

/// The version of aggregated discovery that the client prefers over the plain documents.
#[must_use]
pub(crate) fn aggregated_discovery(headers: &HeaderMap) -> Option<&'static str> {
    for clause in clauses(headers) {
        match (
            clause.media,
            clause.param("as"),
            clause.param("g"),
            clause.param("v"),
        ) {
            (
                "application/json",
                Some("APIGroupDiscoveryList"),
                Some("apidiscovery.k8s.io"),
                Some(v),
            ) => match v {
                "v2" => return Some("v2"),
                "v2beta1" => return Some("v2beta1"),
                _ => {}
            },
            ("application/json" | "*/*", None, _, _) => return None,
            _ => {}
        }
    }
    None
}

/// The media type of a request body.
///
/// # Errors
/// 415 for an unsupported type.
pub(crate) fn body_media(headers: &HeaderMap) -> Result<MediaType> {
    let text = content_type(headers);
    match text {
        "" | "application/json" => Ok(MediaType::Json),
        "application/yaml" => Ok(MediaType::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(MediaType::Protobuf),
        other => Err(unsupported(
            other,
            "application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

/// The `Content-Type` without parameters.
#[must_use]
pub(crate) fn content_type(headers: &HeaderMap) -> &str {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// The status of a body with an unsupported media type (415).
#[must_use]
pub(crate) fn unsupported(found: &str, accepted: &str) -> Box<Status> {
    let got = if found.is_empty() {
        String::new()
    } else {
        format!(" (got {found:?})")
    };
    let text = format!(
        "the body of the request was in an unknown format - accepted media types include: {accepted}{got}"
    );
    Status::failure(415, "UnsupportedMediaType", text).with_details(Details::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(accept: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        match accepted(&headers) {
            Some(form) => format!("{:?} {:?}", form.encoding, form.shape),
            None => not_acceptable().code.to_string(),
        }
    }

    #[test]
    fn the_preferred_supported_form_is_chosen() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let table = [
            ("application/json", "Json Plain"),
            ("*/*", "Json Plain"),
            ("application/yaml", "Yaml Plain"),
            ("application/vnd.kubernetes.protobuf", "Json Plain"),
            (
                "application/vnd.kubernetes.protobuf,application/json",
                "Json Plain",
            ),
            (kubectl, "Json Table(\"v1\")"),
            (
                "application/json;as=Tableau;v=v1;g=meta.k8s.io,application/json",
                "Json Plain",
            ),
            (
                "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
                "Json Metadata(\"v1\")",
            ),
            ("text/html;q=0.9,application/yaml;q=0.8", "Yaml Plain"),
            ("application/json;q=0.1,application/yaml", "Yaml Plain"),
            ("text/plain", "406"),
        ];
        for (accept, expected) in table {
            assert_eq!(form(accept), expected, "{accept}");
        }
    }
}
