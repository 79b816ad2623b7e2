//! Formats of names, keys and addresses (upstream's `k8s.io/apimachinery/pkg/util/validation`).
//!
//! The functions without `check_` return a text for each rule that is broken.

use std::net::IpAddr;

use pandaemon_types::names::{dns_subdomain, qualified_name};

pub(crate) use pandaemon_types::names::{
    dns_subdomain as subdomain, label_value, qualified_name as qualified,
};

use super::error_list::{ErrorList, Path};

const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', \
     start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or \
     'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' \
     (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is \
     '[-._a-zA-Z0-9]+')";
const ENV_NAME: &str = "a valid environment variable name must consist only of printable ASCII \
     characters other than '='";
const HEADER: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. \
     'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. \
     '1%',  or '93%', regex used for validation is '[0-9]+%')";

/// Checks a DNS label (upstream's `ValidateDNS1123Label`); for a name that only has dots too many,
/// the text says so.
pub(crate) fn label(text: &str) -> Vec<String> {
    let mut errors = pandaemon_types::names::dns_label(text);
    if text.len() <= 253 && text.contains('.') && dns_subdomain(text).is_empty() {
        errors.pop();
        errors.push("must not contain dots".to_owned());
    }
    errors
}

/// Checks a DNS label that starts with a letter, such as the name of a service.
pub(crate) fn label_1035(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 63 {
        errors.push(max_length(63));
    }
    let bytes = text.as_bytes();
    let alnum = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let good = bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.last().is_some_and(alnum)
        && bytes.iter().all(|b| alnum(b) || *b == b'-');
    if !good {
        errors.push(LABEL_1035.to_owned());
    }
    errors
}

/// Checks a DNS search path, whose labels may have underscores (`_srv`).
pub(super) fn search_path(text: &str) -> Vec<String> {
    dns_subdomain(
        &text
            .replace("._", ".")
            .trim_start_matches('_')
            .replace('_', "-"),
    )
}

/// Checks a key of a `ConfigMap` or `Secret`.
pub(super) fn config_key(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 253 {
        errors.push(max_length(253));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if text.is_empty() || !text.bytes().all(allowed) {
        errors.push(CONFIG_KEY.to_owned());
    }
    match text {
        "." => errors.push("must not be '.'".to_owned()),
        ".." => errors.push("must not be '..'".to_owned()),
        _ if text.starts_with("..") => errors.push("must not start with '..'".to_owned()),
        _ => {}
    }
    errors
}

/// Checks the name of an environment variable (relaxed since Kubernetes 1.32).
pub(super) fn env_name(text: &str) -> Vec<String> {
    let allowed = |c: char| matches!(c, ' '..='~') && c != '=';
    if text.is_empty() {
        vec!["environment variable name must be non-empty".to_owned()]
    } else if text.chars().all(allowed) {
        Vec::new()
    } else {
        vec![ENV_NAME.to_owned()]
    }
}

/// Checks the name of a port.
pub(super) fn port_name(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if text.len() > 15 {
        errors.push(max_length(15));
    }
    if text.is_empty() || !text.bytes().all(allowed) {
        errors.push(
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned(),
        );
    }
    if !text.bytes().any(|b| b.is_ascii_lowercase()) {
        errors.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        errors.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        errors.push("must not begin or end with a hyphen".to_owned());
    }
    errors
}

/// Checks the name of an HTTP header; `None` if it is valid.
pub(super) fn header_name(text: &str) -> Option<&'static str> {
    let good = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (!good).then_some(HEADER)
}

/// Checks a percentage such as `10%`; `None` if it is valid.
pub(super) fn percent(text: &str) -> Option<&'static str> {
    let digits = text.strip_suffix('%').unwrap_or_default();
    let good = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    (!good).then_some(PERCENT)
}

/// Checks a name that becomes a path segment.
pub(crate) fn path_segment(text: &str) -> Vec<String> {
    match text {
        "." | ".." => vec![format!("may not be '{text}'")],
        _ => ["/", "%"]
            .iter()
            .filter(|part| text.contains(**part))
            .map(|part| format!("may not contain '{part}'"))
            .collect(),
    }
}

/// The text for a number out of range, such as `must be between 1 and 65535, inclusive`.
pub(super) fn range(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

fn max_length(limit: usize) -> String {
    format!("must be no more than {limit} characters")
}

/// Adds an error unless the number is a valid port.
pub(super) fn check_port(path: &Path<'_>, number: i64, errors: &mut ErrorList) {
    if !(1..=65_535).contains(&number) {
        errors.invalid(path, number, &range(1, 65_535));
    }
}

/// Adds the errors of a DNS label.
pub(super) fn check_label(path: &Path<'_>, text: &str, errors: &mut ErrorList) {
    errors.invalid_all(path, text, &label(text));
}

/// Adds the errors of a DNS subdomain.
pub(super) fn check_subdomain(path: &Path<'_>, text: &str, errors: &mut ErrorList) {
    errors.invalid_all(path, text, &dns_subdomain(text));
}

/// Adds the errors of a qualified name, such as the key of a label.
pub(super) fn check_qualified(path: &Path<'_>, text: &str, errors: &mut ErrorList) {
    errors.invalid_all(path, text, &qualified_name(text));
}

/// Adds an error unless the text is an IP address.
pub(super) fn check_ip(path: &Path<'_>, text: &str, errors: &mut ErrorList) {
    if text.parse::<IpAddr>().is_err() {
        errors.invalid(
            path,
            text,
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        );
    }
}

/// Adds the errors of an IP address of an endpoint: no loopback, link-local or unspecified one.
pub(super) fn check_ordinary_ip(path: &Path<'_>, text: &str, errors: &mut ErrorList) {
    let Ok(ip) = text.parse::<IpAddr>() else {
        errors.invalid(path, text, "must be a valid IP address");
        return;
    };
    let (link_local, link_local_multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => {
            let first = ip.segments()[0];
            (first & 0xffc0 == 0xfe80, first & 0xff0f == 0xff02)
        }
    };
    if ip.is_unspecified() {
        errors.invalid(path, text, &format!("may not be unspecified ({text})"));
    }
    if ip.is_loopback() {
        errors.invalid(
            path,
            text,
            "may not be in the loopback range (127.0.0.0/8, ::1/128)",
        );
    }
    if link_local {
        let why = "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
        errors.invalid(path, text, why);
    }
    if link_local_multicast {
        let why = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)";
        errors.invalid(path, text, why);
    }
}

/// Adds an error unless the text is a network such as `10.0.0.0/24`.
pub(super) fn check_cidr(path: &Path<'_>, text: &str, errors: &mut ErrorList) {
    let good = text.split_once('/').is_some_and(|(ip, bits)| {
        let limit = match ip.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        bits.parse::<u8>().is_ok_and(|bits| bits <= limit)
    });
    if !good {
        let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        errors.invalid(path, text, why);
    }
}
