//! Encryption at rest: values of some collections are encrypted before a store gets them.
//!
//! | file | what |
//! | --- | --- |
//! | `key.rs` | a key; the form of encrypted values |
//! | `key_file.rs` | the file with the keys |
//! | `transformer.rs` | which values are encrypted, with which key |
//! | `store.rs` | opening a store with its keys; values that change their form; rotation |
//!
//! `docs/design/store.md` has the guarantees.

mod error;
mod key;
mod key_file;
mod store;
mod transformer;

pub(crate) use self::key::key_id;
pub use self::{
    error::Error,
    key::KeyId,
    key_file::{add_keys, key_file_text, keys_of, keys_of_text},
    store::{EncryptedStore, Encryption, Rotation, Settings, Snapshot},
};
