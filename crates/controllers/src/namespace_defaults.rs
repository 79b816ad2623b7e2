//! The objects that every namespace has: the ServiceAccount `default` and the ConfigMap
//! `kube-root-ca.crt`.

pub mod root_ca_publisher;
pub mod service_account;

mod per_namespace;
