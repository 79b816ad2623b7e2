//! What a request to the kubelet server is, in the terms of authorization. Upstream:
//! `NodeRequestAttributesGetter`, `pkg/kubelet/server/auth.go`.

use http::Method;

/// A request as an access to subresources of the Node.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    /// The verb; empty for methods that have none, as upstream.
    pub verb: &'static str,
    /// Subresources of the Node, each of which is enough, asked in this order.
    pub subresources: &'static [&'static str],
}

/// The subresources of paths and of what is below them. All else takes `proxy`.
const PATHS: &[(&str, &[&str])] = &[
    ("/stats", &["stats"]),
    ("/metrics", &["metrics"]),
    ("/logs", &["log"]),
    ("/checkpoint", &["checkpoint"]),
    ("/statusz", &["statusz"]),
    ("/flagz", &["configz"]),
    ("/pods", &["pods", "proxy"]),
    ("/runningpods", &["pods", "proxy"]),
    ("/healthz", &["healthz", "proxy"]),
    ("/configz", &["configz", "proxy"]),
];

impl Attributes {
    pub(super) fn of(method: &Method, path: &str) -> Self {
        let verb = match *method {
            Method::POST => "create",
            Method::GET => "get",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "",
        };
        let is_below = |of: &str| {
            let rest = path.strip_prefix(of);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let mut found = PATHS.iter().filter(|(of, _)| is_below(of));
        let subresources = found.next().map_or(&["proxy"][..], |(_, needed)| needed);
        Self { verb, subresources }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_attributes_of_upstream() {
        for (request, expected) in [
            ("GET /stats/summary", "get stats"),
            ("GET /stats", "get stats"),
            ("GET /metrics", "get metrics"),
            ("GET /metrics/cadvisor", "get metrics"),
            ("GET /metricsx", "get proxy"),
            ("GET /logs/syslog", "get log"),
            ("POST /checkpoint/a/b/c", "create checkpoint"),
            ("GET /pods", "get pods proxy"),
            ("GET /runningpods/", "get pods proxy"),
            ("GET /healthz", "get healthz proxy"),
            ("GET /healthz/ping", "get healthz proxy"),
            ("GET /configz", "get configz proxy"),
            ("GET /flagz", "get configz"),
            ("GET /statusz", "get statusz"),
            ("GET /containerLogs/a/b/c", "get proxy"),
            ("GET /exec/a/b/c", "get proxy"),
            ("POST /exec/a/b/c", "create proxy"),
            ("POST /attach/a/b/c", "create proxy"),
            ("POST /portForward/a/b", "create proxy"),
            ("PUT /run/a/b/c", "update proxy"),
            ("HEAD /", " proxy"),
            ("GET /exec/../metrics", "get proxy"),
        ] {
            let (method, path) = request.split_once(' ').unwrap();
            let found = Attributes::of(&method.parse().unwrap(), path);
            let text = format!("{} {}", found.verb, found.subresources.join(" "));
            assert_eq!(text, expected, "{request}");
        }
    }
}
