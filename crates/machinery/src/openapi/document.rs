//! A document as it is kept: compressed with gzip, with the hash that names its content.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    sync::OnceLock,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A document, compressed.
#[derive(Debug)]
pub struct Document {
    gzip: Cow<'static, [u8]>,
    hash: String,
}

impl Document {
    /// A document that is compressed already.
    pub(super) fn packed(gzip: impl Into<Cow<'static, [u8]>>) -> Self {
        let gzip = gzip.into();
        let digest = Sha256::digest(&gzip);
        let hash = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        Self { gzip, hash }
    }

    /// Compresses a document.
    pub(super) fn pack(content: &[u8]) -> Self {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        let packed = packer.write_all(content).and_then(|()| packer.finish());
        // Writing to memory does not fail.
        Self::packed(packed.unwrap_or_default())
    }

    /// The compressed document.
    #[must_use]
    pub fn gzip(&self) -> &[u8] {
        &self.gzip
    }

    /// SHA-256 of the compressed document in upper-case hexadecimal, for `ETag` and the query
    /// parameter `hash`.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The document, for a client that does not accept gzip.
    ///
    /// # Errors
    /// If the bytes are no gzip.
    pub fn unpack(&self) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        GzDecoder::new(self.gzip()).read_to_end(&mut content)?;
        Ok(content)
    }

    /// The value of a document in JSON.
    pub(super) fn parse(&self) -> Value {
        let content = self.unpack().unwrap_or_default();
        serde_json::from_slice(&content).unwrap_or_default()
    }
}

/// The documents of one scheme that show kinds which came at run time. Each is made when it is
/// first asked for, and dropped with the scheme.
#[derive(Debug, Default)]
pub(crate) struct RunTimeDocuments {
    /// Version 2 as JSON.
    pub(super) v2_json: OnceLock<Document>,
    /// Version 2 as protobuf.
    pub(super) v2_protobuf: OnceLock<Document>,
    /// Version 3, by path below `/openapi/v3/`.
    pub(super) v3: OnceLock<BTreeMap<String, Document>>,
}
