//! Image names: `nginx:1.25` means `docker.io/library/nginx:1.25`.

/// The full form of an image name: with a registry, and with a tag or digest.
#[must_use]
pub(crate) fn normalize(image: &str) -> String {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    let (path, tag) = split_tag(name);
    let (domain, rest) = match path.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
            (first, rest.to_owned())
        }
        Some(_) => ("docker.io", path.to_owned()),
        None => ("docker.io", format!("library/{path}")),
    };
    let rest = match (domain, rest.contains('/')) {
        ("docker.io", false) => format!("library/{rest}"),
        _ => rest,
    };
    match (tag, digest) {
        (_, Some(digest)) => format!("{domain}/{rest}@{digest}"),
        (Some(tag), None) => format!("{domain}/{rest}:{tag}"),
        (None, None) => format!("{domain}/{rest}:latest"),
    }
}

/// Whether the tag is `latest`, also by default.
#[must_use]
pub(crate) fn is_latest(image: &str) -> bool {
    !image.contains('@') && matches!(split_tag(image).1, None | Some("latest"))
}

/// Whether this is a valid image name, by the rule of the Docker reference grammar without its
/// length limits.
#[must_use]
pub(crate) fn is_valid(image: &str) -> bool {
    let path = split_tag(image.split('@').next().unwrap_or_default()).0;
    let after_domain = match path.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => rest,
        _ => path,
    };
    let part = |part: &str| {
        !part.is_empty()
            && part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part.chars().all(|c| {
                c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-')
            })
    };
    after_domain.split('/').all(part)
}

/// Splits off the tag: a colon after the last slash begins a tag, one before it a port.
fn split_tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (name, None),
    }
}

#[cfg(test)]
mod tests {
    use super::{is_latest, is_valid, normalize};

    #[test]
    fn short_names_mean_docker_hub() {
        let cases = [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.25", "docker.io/library/nginx:1.25"),
            ("fluent/fluentd:v1.14", "docker.io/fluent/fluentd:v1.14"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            (
                "quay.io/prometheus/node-exporter:v1.6.1",
                "quay.io/prometheus/node-exporter:v1.6.1",
            ),
            ("localhost:5000/a", "localhost:5000/a:latest"),
            ("a.b/c@sha256:12", "a.b/c@sha256:12"),
            ("a.b/c:1@sha256:12", "a.b/c@sha256:12"),
        ];
        for (short, full) in cases {
            assert_eq!(normalize(short), full);
        }
    }

    #[test]
    fn no_tag_is_latest_but_a_digest_is_not() {
        assert!(is_latest("a") && is_latest("localhost:5000/a") && is_latest("a:latest"));
        assert!(!is_latest("a:1") && !is_latest("a@sha256:12"));
    }

    #[test]
    fn paths_are_lower_case() {
        assert!(is_valid("a/b:X") && is_valid("r.io:5000/a_b/c.d@sha256:1"));
        assert!(!is_valid("Nginx") && !is_valid("a//b") && !is_valid("<image>"));
    }
}
