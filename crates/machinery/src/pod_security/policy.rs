//! Levels, versions and policies, and the labels of a namespace that choose them. Upstream:
//! `pod-security-admission/api`.

use std::fmt;

use crate::{
    go_text::quote,
    validation::{ErrorType, FieldError},
};

/// How much pods may do: a stricter level is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Pods may do everything.
    Privileged,
    /// No known privilege escalation.
    Baseline,
    /// Hardened pods only.
    Restricted,
}

impl Level {
    /// Reads the name of a level.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "privileged" => Ok(Self::Privileged),
            "baseline" => Ok(Self::Baseline),
            "restricted" => Ok(Self::Restricted),
            _ => Err("must be one of privileged, baseline, restricted"),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        })
    }
}

/// The version of Kubernetes whose checks apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// `v1.N`, with this N.
    Minor(i64),
    /// `latest`: all checks in their newest form.
    Latest,
}

impl Version {
    /// N of the newest `v1.N` that has a check of its own.
    pub(super) const NEWEST: i64 = 37;

    /// Whether it is later than the newest version that has a check here.
    #[must_use]
    pub fn is_future(self) -> bool {
        matches!(self, Self::Minor(minor) if minor > Self::NEWEST)
    }

    /// Reads `latest` or `v1.N`.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        let minor = text.strip_prefix("v1.").filter(|minor| {
            let has_leading_zero = minor.len() > 1 && minor.starts_with('0');
            !has_leading_zero && minor.bytes().all(|byte| byte.is_ascii_digit())
        });
        let number = minor.and_then(|minor| minor.parse().ok());
        number
            .map(Self::Minor)
            .ok_or("must be \"latest\" or \"v1.x\"")
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Minor(minor) => write!(f, "v1.{minor}"),
            Self::Latest => f.write_str("latest"),
        }
    }
}

/// A level as it is defined in a version, such as `restricted:v1.33`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelVersion {
    /// How much pods may do.
    pub level: Level,
    /// The version of the checks.
    pub version: Version,
}

impl LevelVersion {
    /// Everything is allowed.
    pub const PRIVILEGED: Self = Self {
        level: Level::Privileged,
        version: Version::Latest,
    };

    /// Whether this allows the same as another one (upstream's `Equivalent`).
    fn is_equivalent(&self, other: &Self) -> bool {
        self == other || (self.level == Level::Privileged && other.level == Level::Privileged)
    }

    /// Whether pods that an older policy allows may violate this one, so that existing pods are
    /// worth a look.
    #[must_use]
    pub fn may_forbid_more_than(&self, old: &Self) -> bool {
        self != old
            && self.level != Level::Privileged
            && (self.version != old.version || self.level > old.level)
    }
}

impl fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level, self.version)
    }
}

/// The labels of one mode.
struct Labels {
    level: &'static str,
    version: &'static str,
}

const ENFORCE: Labels = Labels {
    level: "pod-security.kubernetes.io/enforce",
    version: "pod-security.kubernetes.io/enforce-version",
};
const AUDIT: Labels = Labels {
    level: "pod-security.kubernetes.io/audit",
    version: "pod-security.kubernetes.io/audit-version",
};
const WARN: Labels = Labels {
    level: "pod-security.kubernetes.io/warn",
    version: "pod-security.kubernetes.io/warn-version",
};

/// What a namespace asks for in the three modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Pods that violate it are refused.
    pub enforce: LevelVersion,
    /// Violations are recorded in the audit log.
    pub audit: LevelVersion,
    /// The user is warned of violations.
    pub warn: LevelVersion,
}

impl Policy {
    /// Everything is allowed, without a word.
    pub const PRIVILEGED: Self = Self {
        enforce: LevelVersion::PRIVILEGED,
        audit: LevelVersion::PRIVILEGED,
        warn: LevelVersion::PRIVILEGED,
    };

    /// The policy of a namespace with these labels. A mode without a label has that of `defaults`;
    /// a label that cannot be read is an error, and counts as `restricted` to enforce, `privileged`
    /// to audit and to warn, and version `latest` (upstream's `PolicyToEvaluate`).
    pub fn of_labels<'a>(
        label: impl Fn(&str) -> Option<&'a str>,
        defaults: &Self,
    ) -> (Self, Vec<FieldError>) {
        let mut policy = *defaults;
        let mut errors = Vec::new();
        let mut read = |labels: Labels, otherwise, value: &mut LevelVersion| {
            let mut is_valid = true;
            let level = label(labels.level);
            if let Some(text) = level {
                value.level = Level::parse(text).unwrap_or_else(|why| {
                    is_valid = false;
                    errors.push(invalid(labels.level, text, why));
                    otherwise
                });
            }
            let version = label(labels.version);
            if let Some(text) = version {
                value.version = Version::parse(text).unwrap_or_else(|why| {
                    errors.push(invalid(labels.version, text, why));
                    Version::Latest
                });
            }
            (level.is_some(), is_valid, version.is_some())
        };
        let (has_enforce, is_valid, _) = read(ENFORCE, Level::Restricted, &mut policy.enforce);
        read(AUDIT, Level::Privileged, &mut policy.audit);
        let (has_warn, _, has_warn_version) = read(WARN, Level::Privileged, &mut policy.warn);
        // Who enforces a level also warns of it, so that controllers of pods get warnings.
        if !has_warn && has_enforce && is_valid && policy.enforce.level > policy.warn.level {
            policy.warn.level = policy.enforce.level;
            if !has_warn_version {
                policy.warn.version = policy.enforce.version;
            }
        }
        (policy, errors)
    }

    /// Whether all modes are privileged.
    #[must_use]
    pub fn is_privileged(&self) -> bool {
        let modes = [self.enforce, self.audit, self.warn];
        modes.iter().all(|mode| mode.level == Level::Privileged)
    }

    fn is_equivalent(&self, other: &Self) -> bool {
        self.enforce.is_equivalent(&other.enforce)
            && self.audit.is_equivalent(&other.audit)
            && self.warn.is_equivalent(&other.warn)
    }

    /// The warning about an exempt namespace whose labels ask for more than `defaults`; `None` if
    /// they do not (upstream's `exemptNamespaceWarning`).
    pub fn exemption_warning<'a>(
        &self,
        namespace: &str,
        label: impl Fn(&str) -> Option<&'a str>,
        defaults: &Self,
    ) -> Option<String> {
        if self.is_privileged() || self.is_equivalent(defaults) {
            return None;
        }
        let modes = [
            ("enforce", ENFORCE, self.enforce),
            ("audit", AUDIT, self.audit),
            ("warn", WARN, self.warn),
        ];
        let ignored = modes.iter().filter_map(|(mode, labels, value)| {
            let is_set = label(labels.level).is_some() || label(labels.version).is_some();
            (is_set && value.level != Level::Privileged).then(|| format!("{mode}={value}"))
        });
        let ignored: Vec<String> = ignored.collect();
        let ignored = ignored.join(", ");
        Some(format!(
            "namespace {} is exempt from Pod Security, and the policy ({ignored}) will be ignored",
            quote(namespace)
        ))
    }
}

fn invalid(label: &str, value: &str, why: &str) -> FieldError {
    let field = format!("metadata.labels[{label}]");
    FieldError::new(field, ErrorType::Invalid(quote(value)), why)
}

#[cfg(test)]
mod tests;
