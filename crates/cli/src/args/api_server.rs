//! The arguments of an API server, of `pandaemon server` and `pandaemon up`. Where kube-apiserver
//! has the flag, it has its name.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{ArgAction, Args};
use pandaemon_server::{
    AuditConfig, AuditMode, AuthenticationOptions, Seats, ServiceAccountOptions,
    admission::{AdmissionConfiguration, AdmissionConfigurationError},
};

/// Who may log in, what is admitted, what is written down, what is encrypted.
#[derive(Debug, Args)]
pub(crate) struct ApiServerArgs {
    #[command(flatten)]
    pub(crate) encryption: EncryptionArgs,
    #[command(flatten)]
    authentication: AuthenticationArgs,
    #[command(flatten)]
    service_accounts: ServiceAccountArgs,
    #[command(flatten)]
    admission: AdmissionArgs,
    #[command(flatten)]
    audit: AuditArgs,
    #[command(flatten)]
    flow_control: FlowControlArgs,
    /// Let nodes have loopback addresses: agents on this machine. Without it no node can make this
    /// server connect to what listens on them
    #[arg(long)]
    allow_loopback_nodes: bool,
}

/// What [`ApiServerArgs`] say.
#[derive(Debug, Clone, Default)]
pub(crate) struct ApiServerOptions {
    pub(crate) authentication: AuthenticationOptions,
    pub(crate) service_accounts: ServiceAccountOptions,
    /// The configuration of admission plugins.
    pub(crate) admission: AdmissionConfiguration,
    pub(crate) audit: AuditConfig,
    /// How many seats priority and fairness gives out.
    pub(crate) seats: Seats,
    /// Whether agents may have loopback addresses.
    pub(crate) allow_loopback_nodes: bool,
}

impl ApiServerArgs {
    /// The options of a control plane with this data directory.
    ///
    /// # Errors
    /// If the configuration of admission cannot be read.
    pub(crate) fn options(
        &self,
        data_dir: &Path,
    ) -> Result<ApiServerOptions, AdmissionConfigurationError> {
        Ok(ApiServerOptions {
            authentication: self.authentication.options(),
            service_accounts: self.service_accounts.options(),
            admission: self.admission.read()?,
            audit: self.audit.config(data_dir),
            seats: self.flow_control.seats(),
            allow_loopback_nodes: self.allow_loopback_nodes,
        })
    }
}

/// Priority and fairness. The names are those of kube-apiserver, which adds them up too.
#[derive(Debug, Args)]
struct FlowControlArgs {
    /// With --max-mutating-requests-inflight: how many requests are worked on at once, which
    /// FlowSchemas and PriorityLevelConfigurations divide
    #[arg(long, default_value_t = 400, value_name = "N")]
    max_requests_inflight: u32,
    /// See --max-requests-inflight
    #[arg(long, default_value_t = 200, value_name = "N")]
    max_mutating_requests_inflight: u32,
}

impl FlowControlArgs {
    fn seats(&self) -> Seats {
        let all = [
            self.max_requests_inflight,
            self.max_mutating_requests_inflight,
        ];
        Seats(all.map(u64::from).iter().sum())
    }
}

/// Encryption at rest.
#[derive(Debug, Args)]
pub(crate) struct EncryptionArgs {
    /// The file with the keys of encryption at rest, which is made if it is missing; without this
    /// option, encryption-keys in the data directory
    #[arg(long, env = "PANDAEMON_ENCRYPTION_KEY_FILE", value_name = "FILE")]
    pub(crate) encryption_key_file: Option<PathBuf>,
    /// The resources whose objects are encrypted at rest, such as secrets,configmaps
    #[arg(
        long,
        env = "PANDAEMON_ENCRYPT_RESOURCES",
        default_value = "secrets",
        value_name = "LIST",
        value_delimiter = ','
    )]
    pub(crate) encrypt_resources: Vec<String>,
}

/// The audit log of a control plane. The names are those of kube-apiserver.
#[derive(Debug, Args)]
struct AuditArgs {
    /// The audit log, a JSON line for each event; `none` for no log [default: DATA/audit/audit.log]
    #[arg(long, value_name = "FILE")]
    audit_log_path: Option<PathBuf>,
    /// The audit policy (audit.k8s.io/v1); without it: what people change, and what they read of
    /// Secrets and in containers
    #[arg(long, value_name = "FILE")]
    audit_policy_file: Option<PathBuf>,
    /// When the buffer is full: `batch` drops events and counts them, `blocking` lets requests
    /// wait, `blocking-strict` also refuses requests whose event cannot be written
    #[arg(long, value_enum, default_value_t = AuditLogMode::Batch, value_name = "MODE")]
    audit_log_mode: AuditLogMode,
    /// Size in megabytes from which the log is replaced
    #[arg(long, default_value_t = 100, value_name = "MB")]
    audit_log_maxsize: u32,
    /// How many days an old log is kept; 0: for ever
    #[arg(long, default_value_t = 30, value_name = "DAYS")]
    audit_log_maxage: u32,
    /// How many old logs are kept; 0: all
    #[arg(long, default_value_t = 10, value_name = "N")]
    audit_log_maxbackup: u32,
}

/// What happens when the buffer of the audit log is full.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum AuditLogMode {
    Batch,
    Blocking,
    BlockingStrict,
}

impl AuditArgs {
    /// The configuration of a control plane with this data directory.
    fn config(&self, data_dir: &Path) -> AuditConfig {
        let path = match &self.audit_log_path {
            None => Some(data_dir.join("audit/audit.log")),
            Some(path) if path.as_os_str() == "none" => None,
            Some(path) => Some(path.clone()),
        };
        AuditConfig {
            path,
            policy: self.audit_policy_file.clone(),
            mode: match self.audit_log_mode {
                AuditLogMode::Batch => AuditMode::Batch,
                AuditLogMode::Blocking => AuditMode::Blocking,
                AuditLogMode::BlockingStrict => AuditMode::BlockingStrict,
            },
            max_size_megabytes: self.audit_log_maxsize,
            max_age_days: self.audit_log_maxage,
            max_backups: self.audit_log_maxbackup,
        }
    }
}

/// Who may log in, beside certificates and service accounts. The names are those of kube-apiserver.
#[derive(Debug, Args)]
struct AuthenticationArgs {
    /// Issuers of OIDC ID tokens, and what anonymous users may reach
    /// (apiserver.config.k8s.io/v1 AuthenticationConfiguration)
    #[arg(long, value_name = "FILE")]
    authentication_config: Option<PathBuf>,
    /// A CSV file of bearer tokens: token,user,uid,"group1,group2"
    #[arg(long, value_name = "FILE")]
    token_auth_file: Option<PathBuf>,
    /// Serial numbers of client certificates that count no more: one in hexadecimal on a line. It
    /// is read again when it changes
    #[arg(long, value_name = "FILE")]
    client_revoked_serials_file: Option<PathBuf>,
}

impl AuthenticationArgs {
    /// The options of a control plane.
    fn options(&self) -> AuthenticationOptions {
        AuthenticationOptions {
            config_file: self.authentication_config.clone(),
            token_file: self.token_auth_file.clone(),
            revoked_serials_file: self.client_revoked_serials_file.clone(),
        }
    }
}

/// The admission of a control plane.
#[derive(Debug, Args)]
struct AdmissionArgs {
    /// A file with an AdmissionConfiguration of Kubernetes: what PodSecurity checks in namespaces
    /// without labels, and what it exempts
    #[arg(long, value_name = "FILE")]
    admission_control_config_file: Option<PathBuf>,
}

impl AdmissionArgs {
    /// The configuration of the file, or that of a control plane without one.
    ///
    /// # Errors
    /// If the file cannot be read, or says something else than a configuration.
    fn read(&self) -> Result<AdmissionConfiguration, AdmissionConfigurationError> {
        let file = self.admission_control_config_file.as_deref();
        file.map_or_else(
            || Ok(AdmissionConfiguration::default()),
            AdmissionConfiguration::read,
        )
    }
}

/// The flags of `kube-apiserver` for tokens of service accounts.
#[derive(Debug, Args)]
struct ServiceAccountArgs {
    /// The URL that names this cluster in tokens of service accounts; given again, others whose
    /// tokens are accepted, too
    #[arg(
        long,
        default_value = "https://kubernetes.default.svc.cluster.local",
        value_name = "URL"
    )]
    service_account_issuer: Vec<String>,
    /// The audiences of tokens for this server [default: the issuers]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    api_audiences: Vec<String>,
    /// Where others get the keys that verify tokens [default: /openid/v1/jwks of this server]
    #[arg(long, value_name = "URL")]
    service_account_jwks_uri: Option<String>,
    /// Whether a pod's token for this server is valid for a year, for clients that read it only
    /// once
    #[arg(long, default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    service_account_extend_token_expiration: bool,
    /// The longest lifetime of a token that may be requested, in seconds [default: no limit]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(3600..=1 << 32))]
    service_account_max_token_expiration: Option<u64>,
}

impl ServiceAccountArgs {
    fn options(&self) -> ServiceAccountOptions {
        ServiceAccountOptions {
            issuers: self.service_account_issuer.clone(),
            api_audiences: self.api_audiences.clone(),
            jwks_uri: self.service_account_jwks_uri.clone(),
            extend_token_expiration: self.service_account_extend_token_expiration,
            max_token_expiration: self
                .service_account_max_token_expiration
                .map(Duration::from_secs),
        }
    }
}
