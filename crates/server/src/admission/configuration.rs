//! The file that configures admission plugins (`--admission-control-config-file`). Upstream:
//! `AdmissionConfiguration` of `apiserver.config.k8s.io`.

use std::{
    io,
    path::{Path, PathBuf},
};

use pandaemon_machinery::pod_security;
use serde::Deserialize;
use serde_json::Value;

use super::pod_security::POD_SECURITY;

/// Group and version of the file; the second is upstream's older one.
const VERSIONS: [&str; 2] = ["apiserver.config.k8s.io/v1", "apiserver.k8s.io/v1alpha1"];
const KIND: &str = "AdmissionConfiguration";

/// The configuration of the plugins that have one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdmissionConfiguration {
    /// Of `PodSecurity`.
    pub pod_security: pod_security::Configuration,
}

/// Why a file with the configuration of plugins cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the admission configuration in {file}: {why}", file = .file.display())]
pub struct AdmissionConfigurationError {
    file: PathBuf,
    why: Fault,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("is not YAML or JSON of the expected form: {0}")]
    Malformed(String),
    #[error("expected kind {KIND} of {}, found kind {kind:?} of {api_version:?}", VERSIONS[0])]
    OtherKind { api_version: String, kind: String },
    #[error(
        "plugin {0:?} has no configuration in this server, only {POD_SECURITY} has; remove its entry"
    )]
    UnknownPlugin(String),
    #[error("there are two entries for plugin {0}; remove one")]
    Twice(String),
    #[error("plugin {POD_SECURITY}: {0}")]
    PodSecurity(#[from] pod_security::ConfigurationError),
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    plugins: Vec<Entry>,
}

/// The configuration of a plugin, in this file or in another one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    path: PathBuf,
    #[serde(default)]
    configuration: Value,
}

impl AdmissionConfiguration {
    /// Reads a file, and those that it names.
    ///
    /// # Errors
    /// [`AdmissionConfigurationError`] has the file and what is wrong with it.
    pub fn read(file: &Path) -> Result<Self, AdmissionConfigurationError> {
        let at = |file: &Path, why| AdmissionConfigurationError {
            file: file.to_owned(),
            why,
        };
        let in_file = |why| at(file, why);
        let written: Written = parse(file).map_err(in_file)?;
        let Written {
            api_version,
            kind,
            plugins,
        } = written;
        if kind != KIND || !VERSIONS.contains(&api_version.as_str()) {
            return Err(in_file(Fault::OtherKind { api_version, kind }));
        }
        let mut found: Option<pod_security::Configuration> = None;
        for Entry {
            name,
            path,
            configuration,
        } in plugins
        {
            if name != POD_SECURITY {
                return Err(in_file(Fault::UnknownPlugin(name)));
            }
            if found.is_some() {
                return Err(in_file(Fault::Twice(name)));
            }
            // A relative path starts at the directory of this file.
            let other = file.parent().unwrap_or(Path::new("")).join(&path);
            let (place, configuration) = if configuration.is_null() && !path.as_os_str().is_empty()
            {
                let read = parse(&other).map_err(|why| at(&other, why))?;
                (&*other, read)
            } else {
                (file, configuration)
            };
            let read = pod_security::Configuration::read(configuration);
            found = Some(read.map_err(|why| at(place, why.into()))?);
        }
        Ok(Self {
            pod_security: found.unwrap_or_default(),
        })
    }
}

fn parse<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T, Fault> {
    let text = std::fs::read(file)?;
    serde_saphyr::from_slice(&text).map_err(|error| Fault::Malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use pandaemon_machinery::pod_security::{LevelVersion, Policy};

    use super::*;

    /// Reads a file with this text, beside the file `pod-security.yaml`.
    fn read(text: &str, pod_security: &str) -> Result<AdmissionConfiguration, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("admission.yaml");
        std::fs::write(&file, text).unwrap();
        std::fs::write(folder.path().join("pod-security.yaml"), pod_security).unwrap();
        let read = AdmissionConfiguration::read(&file);
        let folder = format!("{}/", folder.path().display());
        read.map_err(|error| error.to_string().replace(&folder, ""))
    }

    const HEAD: &str = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\n";
    const POD_SECURITY_HEAD: &str =
        "apiVersion: pod-security.admission.config.k8s.io/v1, kind: PodSecurityConfiguration";

    fn enforce(configuration: &AdmissionConfiguration) -> String {
        configuration.pod_security.defaults.enforce.to_string()
    }

    #[test]
    fn the_configuration_is_in_the_file_or_in_one_that_it_names() {
        let inline = format!(
            "{HEAD}plugins: [{{name: PodSecurity, configuration: {{{POD_SECURITY_HEAD}, defaults: {{enforce: baseline, enforce-version: v1.30}}, exemptions: {{namespaces: [kube-system]}}}}}}]"
        );
        let read_inline = read(&inline, "").unwrap();
        assert_eq!(enforce(&read_inline), "baseline:v1.30");
        let exempt = &read_inline.pod_security.exemptions.namespaces;
        assert_eq!(*exempt, ["kube-system"]);
        let named = format!("{HEAD}plugins: [{{name: PodSecurity, path: pod-security.yaml}}]");
        let other = format!("{{{POD_SECURITY_HEAD}, defaults: {{enforce: restricted}}}}");
        assert_eq!(enforce(&read(&named, &other).unwrap()), "restricted:latest");
        for nothing in [
            HEAD.to_owned(),
            HEAD.replace("config.k8s.io/v1", "k8s.io/v1alpha1"),
            format!("{HEAD}plugins: [{{name: PodSecurity}}]"),
        ] {
            assert_eq!(read(&nothing, ""), Ok(AdmissionConfiguration::default()));
        }
        assert_eq!(Policy::PRIVILEGED.enforce, LevelVersion::PRIVILEGED);
    }

    #[test]
    fn an_error_has_the_file_and_what_is_wrong_with_it() {
        let entry = |entry: &str| format!("{HEAD}plugins: [{entry}]");
        let named = "{name: PodSecurity, path: pod-security.yaml}";
        let start = "the admission configuration in admission.yaml: ";
        for (text, other, expected) in [
            (
                "kind: Pod\n".to_owned(),
                "",
                "expected kind AdmissionConfiguration of apiserver.config.k8s.io/v1, found kind \"Pod\" of \"\"",
            ),
            (
                entry("{name: ImagePolicyWebhook, path: x}"),
                "",
                "plugin \"ImagePolicyWebhook\" has no configuration in this server, only PodSecurity has; remove its entry",
            ),
            (
                entry("{name: PodSecurity}, {name: PodSecurity}"),
                "",
                "there are two entries for plugin PodSecurity; remove one",
            ),
            (
                entry("{name: PodSecurity, configuration: {kind: X}}"),
                "",
                "plugin PodSecurity: expected kind PodSecurityConfiguration of pod-security.admission.config.k8s.io (v1, v1beta1 or v1alpha1), found kind \"X\" of apiVersion \"\"",
            ),
            (
                entry("{name: PodSecurity, path: none.yaml}"),
                "",
                "the admission configuration in none.yaml: cannot be read: No such file or directory (os error 2)",
            ),
            (
                entry(named),
                "{apiVersion: pod-security.admission.config.k8s.io/v1, kind: PodSecurityConfiguration, defaults: {warn: all}}",
                "the admission configuration in pod-security.yaml: plugin PodSecurity: the PodSecurityConfiguration is invalid: defaults.warn: Invalid value: \"all\": must be one of privileged, baseline, restricted",
            ),
        ] {
            let expected = match expected.starts_with("the admission") {
                true => expected.to_owned(),
                false => format!("{start}{expected}"),
            };
            assert_eq!(read(&text, other).unwrap_err(), expected);
        }
        for malformed in [
            format!("{HEAD}plugin: []"),
            format!("{HEAD}kind: Pod\n"),
            "a: [".to_owned(),
        ] {
            let why = read(&malformed, "").unwrap_err();
            let expected = format!("{start}is not YAML or JSON of the expected form: ");
            assert!(why.starts_with(&expected), "{why}");
        }
    }
}
