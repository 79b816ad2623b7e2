//! The field tables: every type that a served kind reaches, generated from the published schema of Kubernetes 1.33.
