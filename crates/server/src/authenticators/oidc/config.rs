//! The file of issuers: `apiserver.config.k8s.io` AuthenticationConfiguration.

use std::collections::HashSet;

use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde::Deserialize;

use crate::auth::Anonymous;

/// What the file says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AuthenticationConfiguration {
    api_version: String,
    kind: String,
    /// Whose ID tokens are accepted.
    #[serde(default)]
    pub(crate) jwt: Vec<JwtAuthenticator>,
    /// Who may send requests without credentials.
    #[serde(default)]
    pub(crate) anonymous: Option<AnonymousAuthConfig>,
}

/// Requests without credentials.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AnonymousAuthConfig {
    /// Whether they are let in at all.
    #[serde(default)]
    pub(crate) enabled: bool,
    /// The paths to which they are let in; empty: all.
    #[serde(default)]
    pub(crate) conditions: Vec<AnonymousAuthCondition>,
}

impl From<AnonymousAuthConfig> for Anonymous {
    fn from(config: AnonymousAuthConfig) -> Self {
        let paths: Vec<_> = config.conditions.into_iter().map(|it| it.path).collect();
        match (config.enabled, paths.is_empty()) {
            (false, _) => Self::Nowhere,
            (true, true) => Self::Everywhere,
            (true, false) => Self::Paths(paths),
        }
    }
}

/// A path of [`AnonymousAuthConfig`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnonymousAuthCondition {
    /// The whole path, such as `/livez`.
    pub(crate) path: String,
}

/// An issuer, and how its tokens name users.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct JwtAuthenticator {
    pub(super) issuer: Issuer,
    #[serde(default)]
    pub(super) claim_validation_rules: Vec<ClaimValidationRule>,
    #[serde(default)]
    pub(super) claim_mappings: ClaimMappings,
    #[serde(default)]
    user_validation_rules: Vec<UserValidationRule>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Issuer {
    pub(super) url: String,
    #[serde(rename = "discoveryURL")]
    pub(super) discovery_url: String,
    pub(super) certificate_authority: String,
    pub(super) audiences: Vec<String>,
    audience_match_policy: String,
    egress_selector_type: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ClaimValidationRule {
    pub(super) claim: String,
    pub(super) required_value: String,
    expression: String,
    message: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ClaimMappings {
    pub(super) username: PrefixedClaim,
    pub(super) groups: PrefixedClaim,
    pub(super) uid: ClaimOrExpression,
    extra: Vec<ExtraMapping>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PrefixedClaim {
    pub(super) claim: String,
    pub(super) prefix: Option<String>,
    expression: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ClaimOrExpression {
    pub(super) claim: String,
    expression: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ExtraMapping {
    #[serde(rename = "key")]
    _key: String,
    #[serde(rename = "valueExpression")]
    _value_expression: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct UserValidationRule {
    #[serde(rename = "expression")]
    _expression: String,
    #[serde(rename = "message")]
    _message: String,
}

/// Where CEL expressions stand, this is said.
const NO_CEL: &str = "Forbidden: CEL expressions are not supported yet; use claim";

impl AuthenticationConfiguration {
    /// Reads a file. Tokens of these issuers are already others'.
    ///
    /// # Errors
    /// What is wrong with it, a line for each fault.
    pub(crate) fn parse(text: &str, disallowed_issuers: &[String]) -> Result<Self, String> {
        let file: Self = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let group = file.api_version.split('/').next();
        if group != Some("apiserver.config.k8s.io") || file.kind != "AuthenticationConfiguration" {
            return Err(format!(
                "it must have apiVersion: apiserver.config.k8s.io/v1 and kind: \
                 AuthenticationConfiguration, but has {:?} and {:?}",
                file.api_version, file.kind
            ));
        }
        let mut faults = Faults::default();
        file.check(disallowed_issuers, &mut faults);
        match faults.0.is_empty() {
            true => Ok(file),
            false => Err(faults.0.join("\n")),
        }
    }

    /// Upstream: `ValidateAuthenticationConfiguration`.
    fn check(&self, disallowed_issuers: &[String], faults: &mut Faults) {
        if self.jwt.len() > 64 {
            faults.add(
                "jwt",
                &format!("Too many: {}: must have at most 64 items", self.jwt.len()),
            );
            return;
        }
        let (mut urls, mut discovery_urls) = (HashSet::new(), HashSet::new());
        for (index, jwt) in self.jwt.iter().enumerate() {
            let path = format!("jwt[{index}]");
            jwt.check(&path, disallowed_issuers, faults);
            let Issuer {
                url, discovery_url, ..
            } = &jwt.issuer;
            if !urls.insert(url) {
                faults.add(
                    &format!("{path}.issuer.url"),
                    &format!("Duplicate value: {url:?}"),
                );
            }
            if !discovery_url.is_empty() && !discovery_urls.insert(discovery_url) {
                let why = format!("Duplicate value: {discovery_url:?}");
                faults.add(&format!("{path}.issuer.discoveryURL"), &why);
            }
        }
        let anonymous = self.anonymous.as_ref();
        if anonymous.is_some_and(|it| !it.enabled && !it.conditions.is_empty()) {
            let why = "Invalid value: enabled should be set to true when conditions are defined";
            faults.add("anonymous.conditions", why);
        }
    }
}

/// The faults that were found so far.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, path: &str, why: &str) {
        self.0.push(format!("{path}: {why}"));
    }

    fn invalid(&mut self, path: &str, value: &str, why: &str) {
        self.add(path, &format!("Invalid value: {value:?}: {why}"));
    }

    /// Refuses an expression of CEL. Upstream compiles it.
    fn expression(&mut self, path: &str, expression: &str) {
        if !expression.is_empty() {
            self.add(path, NO_CEL);
        }
    }
}

impl JwtAuthenticator {
    fn check(&self, path: &str, disallowed_issuers: &[String], faults: &mut Faults) {
        self.issuer
            .check(&format!("{path}.issuer"), disallowed_issuers, faults);
        let mut seen = HashSet::new();
        for (index, rule) in self.claim_validation_rules.iter().enumerate() {
            let path = format!("{path}.claimValidationRules[{index}]");
            faults.expression(&format!("{path}.expression"), &rule.expression);
            if rule.claim.is_empty() && rule.expression.is_empty() {
                faults.add(&path, "Required value: claim or expression is required");
            }
            if !rule.claim.is_empty() && !rule.message.is_empty() {
                let why = "may not be specified when claim is set";
                faults.invalid(&format!("{path}.message"), &rule.message, why);
            }
            if !rule.claim.is_empty() && !seen.insert(&rule.claim) {
                let why = format!("Duplicate value: {:?}", rule.claim);
                faults.add(&format!("{path}.claim"), &why);
            }
        }
        let ClaimMappings {
            username,
            groups,
            uid,
            extra,
        } = &self.claim_mappings;
        let path_of = |field: &str| format!("{path}.claimMappings.{field}");
        username.check(&path_of("username"), true, faults);
        groups.check(&path_of("groups"), false, faults);
        faults.expression(&path_of("uid.expression"), &uid.expression);
        for index in 0..extra.len() {
            faults.add(&path_of(&format!("extra[{index}].valueExpression")), NO_CEL);
        }
        for index in 0..self.user_validation_rules.len() {
            faults.add(
                &format!("{path}.userValidationRules[{index}].expression"),
                NO_CEL,
            );
        }
    }
}

impl PrefixedClaim {
    /// Upstream: `validatePrefixClaimOrExpression`.
    fn check(&self, path: &str, required: bool, faults: &mut Faults) {
        faults.expression(&format!("{path}.expression"), &self.expression);
        if self.claim.is_empty() && self.expression.is_empty() && required {
            faults.add(path, "Required value: claim or expression is required");
        }
        if !self.claim.is_empty() && self.prefix.is_none() {
            let why = "Required value: prefix is required when claim is set. It can be set to an empty \
                       string to disable prefixing";
            faults.add(&format!("{path}.prefix"), why);
        }
    }
}

impl Issuer {
    fn check(&self, path: &str, disallowed: &[String], faults: &mut Faults) {
        let url_path = format!("{path}.url");
        if self.url.is_empty() {
            faults.add(&url_path, "Required value");
        } else {
            if disallowed.contains(&self.url) {
                let why = format!("URL must not overlap with disallowed issuers: {disallowed:?}");
                faults.invalid(&url_path, &self.url, &why);
            }
            check_url(&url_path, &self.url, faults);
        }
        let discovery_path = format!("{path}.discoveryURL");
        if !self.discovery_url.is_empty() {
            let same = self.url.trim_end_matches('/') == self.discovery_url.trim_end_matches('/');
            if same {
                let why = "discoveryURL must be different from URL";
                faults.invalid(&discovery_path, &self.discovery_url, why);
            }
            check_url(&discovery_path, &self.discovery_url, faults);
        }
        self.check_audiences(path, faults);
        let ca = &self.certificate_authority;
        if !ca.is_empty() {
            let mut certificates = CertificateDer::pem_slice_iter(ca.as_bytes());
            if !matches!(certificates.next(), Some(Ok(_))) {
                let why = "data does not contain any valid RSA or ECDSA certificates";
                faults.invalid(&format!("{path}.certificateAuthority"), "<omitted>", why);
            }
        }
        if !self.egress_selector_type.is_empty() {
            let why = "egress selector is not supported";
            faults.invalid(
                &format!("{path}.egressSelectorType"),
                &self.egress_selector_type,
                why,
            );
        }
    }

    fn check_audiences(&self, path: &str, faults: &mut Faults) {
        let audiences = format!("{path}.audiences");
        if self.audiences.is_empty() {
            let why = format!("Required value: at least one {audiences} is required");
            faults.add(&audiences, &why);
        }
        let mut seen = HashSet::new();
        for (index, audience) in self.audiences.iter().enumerate() {
            let path = format!("{audiences}[{index}]");
            if audience.is_empty() {
                faults.add(&path, "Required value");
            }
            if !seen.insert(audience) {
                faults.add(&path, &format!("Duplicate value: {audience:?}"));
            }
        }
        let policy = &self.audience_match_policy;
        let path = format!("{path}.audienceMatchPolicy");
        match (self.audiences.len(), policy.as_str()) {
            (0, _) | (1, "") | (_, "MatchAny") => {}
            (1, _) => {
                let why = "audienceMatchPolicy must be empty or MatchAny for single audience";
                faults.invalid(&path, policy, why);
            }
            _ => {
                let why = "audienceMatchPolicy must be MatchAny for multiple audiences";
                faults.invalid(&path, policy, why);
            }
        }
    }
}

/// Upstream: `validateURL`.
fn check_url(path: &str, url: &str, faults: &mut Faults) {
    let Ok(uri) = url.parse::<http::Uri>() else {
        return faults.invalid(path, url, "it is not a URL");
    };
    if uri.scheme_str() != Some("https") {
        faults.invalid(path, url, "URL scheme must be https");
    }
    if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
        faults.invalid(path, url, "URL must not contain a username or password");
    }
    if uri.query().is_some() {
        faults.invalid(path, url, "URL must not contain a query");
    }
    if url.contains('#') {
        faults.invalid(path, url, "URL must not contain a fragment");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The faults of a file with this list of issuers.
    fn faults(jwt: &str) -> Vec<String> {
        let text = format!(
            "{{apiVersion: apiserver.config.k8s.io/v1, kind: AuthenticationConfiguration, jwt: {jwt}}}"
        );
        let own = ["https://own.example".to_owned()];
        let parsed = AuthenticationConfiguration::parse(&text, &own);
        let faults = parsed.err().unwrap_or_default();
        faults.lines().map(str::to_owned).collect()
    }

    fn issuer(fields: &str) -> String {
        format!(
            "[{{issuer: {{{fields}}}, claimMappings: {{username: {{claim: sub, prefix: ''}}}}}}]"
        )
    }

    #[test]
    fn each_fault_of_an_issuer_has_the_text_of_upstream() {
        let table = [
            ("url: 'https://a.example', audiences: [x]", vec![]),
            ("audiences: [x]", vec!["jwt[0].issuer.url: Required value"]),
            (
                "url: 'http://u@a.example?q#f', audiences: [x]",
                vec![
                    "jwt[0].issuer.url: Invalid value: \"http://u@a.example?q#f\": URL scheme must be https",
                    "jwt[0].issuer.url: Invalid value: \"http://u@a.example?q#f\": URL must not contain a username or password",
                    "jwt[0].issuer.url: Invalid value: \"http://u@a.example?q#f\": URL must not contain a query",
                    "jwt[0].issuer.url: Invalid value: \"http://u@a.example?q#f\": URL must not contain a fragment",
                ],
            ),
            (
                "url: 'https://own.example', audiences: [x, x]",
                vec![
                    "jwt[0].issuer.url: Invalid value: \"https://own.example\": URL must not overlap with disallowed issuers: [\"https://own.example\"]",
                    "jwt[0].issuer.audiences[1]: Duplicate value: \"x\"",
                    "jwt[0].issuer.audienceMatchPolicy: Invalid value: \"\": audienceMatchPolicy must be MatchAny for multiple audiences",
                ],
            ),
            (
                "url: 'https://a.example', discoveryURL: 'https://a.example/', audiences: [x], certificateAuthority: none",
                vec![
                    "jwt[0].issuer.discoveryURL: Invalid value: \"https://a.example/\": discoveryURL must be different from URL",
                    "jwt[0].issuer.certificateAuthority: Invalid value: \"<omitted>\": data does not contain any valid RSA or ECDSA certificates",
                ],
            ),
        ];
        for (fields, expected) in table {
            assert_eq!(faults(&issuer(fields)), expected, "{fields}");
        }
    }

    #[test]
    fn mappings_need_claims_with_prefixes_and_have_no_expressions() {
        let good = "issuer: {url: 'https://a.example', audiences: [x]}";
        let table = [
            (
                "",
                vec![
                    "jwt[0].claimMappings.username: Required value: claim or expression is required",
                ],
            ),
            (
                ", claimMappings: {username: {claim: sub}}",
                vec![
                    "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing",
                ],
            ),
            (
                ", claimMappings: {username: {expression: claims.sub}, uid: {expression: a}, extra: [{key: a/b, valueExpression: c}]}, userValidationRules: [{expression: d}]",
                vec![
                    "jwt[0].claimMappings.username.expression: Forbidden: CEL expressions are not supported yet; use claim",
                    "jwt[0].claimMappings.uid.expression: Forbidden: CEL expressions are not supported yet; use claim",
                    "jwt[0].claimMappings.extra[0].valueExpression: Forbidden: CEL expressions are not supported yet; use claim",
                    "jwt[0].userValidationRules[0].expression: Forbidden: CEL expressions are not supported yet; use claim",
                ],
            ),
            (
                ", claimMappings: {username: {claim: sub, prefix: ''}}, claimValidationRules: [{}, {claim: a, message: m}, {claim: a}]",
                vec![
                    "jwt[0].claimValidationRules[0]: Required value: claim or expression is required",
                    "jwt[0].claimValidationRules[1].message: Invalid value: \"m\": may not be specified when claim is set",
                    "jwt[0].claimValidationRules[2].claim: Duplicate value: \"a\"",
                ],
            ),
        ];
        for (rest, expected) in table {
            assert_eq!(faults(&format!("[{{{good}{rest}}}]")), expected, "{rest}");
        }
        let unknown = faults("[{issuer: {}, mappings: {}}]").join("\n");
        assert!(unknown.contains("unknown field `mappings`"), "{unknown}");
    }
}
