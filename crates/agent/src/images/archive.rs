//! Writes tar archives and OCI images of one layer in memory, for the pause image.

use pandaemon_types::hash::hex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const BLOCK: usize = 512;

/// A tar archive under construction.
#[derive(Default)]
pub struct Tar(Vec<u8>);

impl Tar {
    /// Adds a file.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.0.extend_from_slice(&header(path, mode, content.len()));
        self.0.extend_from_slice(content);
        let padding = (BLOCK - content.len() % BLOCK) % BLOCK;
        self.0.resize(self.0.len() + padding, 0);
    }

    /// The archive, with the two empty blocks at its end.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }
}

/// A header in the `ustar` format: names and octal numbers at fixed places.
fn header(path: &str, mode: u32, size: usize) -> [u8; BLOCK] {
    let mut block = [0_u8; BLOCK];
    let mut put = |at: usize, text: &str| {
        let bytes = text.as_bytes();
        block[at..at + bytes.len()].copy_from_slice(bytes);
    };
    put(0, path.get(..100).unwrap_or(path));
    put(100, &format!("{mode:07o}"));
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar");
    put(263, "00");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// `sha256:` and the digest in hexadecimal.
#[must_use]
pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// Writes an image of one layer as an OCI archive, as `ctr images import` reads it.
#[must_use]
pub fn oci_image(name: &str, architecture: &str, config: &Value, layer: &[u8]) -> Vec<u8> {
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": [digest(layer)] },
        "history": [{ "created_by": "pandaemon" }],
    })
    .to_string();
    let oci = |kind: &str| format!("application/vnd.oci.image.{kind}");
    let part = |kind: &str, bytes: &[u8]| json!({ "mediaType": oci(kind), "digest": digest(bytes), "size": bytes.len() });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": oci("manifest.v1+json"),
        "config": part("config.v1+json", config.as_bytes()),
        "layers": [part("layer.v1.tar", layer)],
    })
    .to_string();
    let mut described = part("manifest.v1+json", manifest.as_bytes());
    described["platform"] = json!({ "architecture": architecture, "os": "linux" });
    described["annotations"] = json!({
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name.rsplit(':').next().unwrap_or("latest"),
    });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": oci("index.v1+json"),
        "manifests": [described],
    })
    .to_string();
    let mut tar = Tar::default();
    tar.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#);
    tar.file("index.json", 0o644, index.as_bytes());
    for blob in [layer, config.as_bytes(), manifest.as_bytes()] {
        let path = format!("blobs/{}", digest(blob).replace(':', "/"));
        tar.file(&path, 0o644, blob);
    }
    tar.finish()
}

#[cfg(test)]
mod tests {
    use super::Tar;

    #[test]
    fn tar_lists_the_archive() {
        let mut tar = Tar::default();
        tar.file("dir/hello", 0o755, b"hi");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        std::fs::write(&path, tar.finish()).unwrap();
        let listing = std::process::Command::new("tar")
            .arg("tvf")
            .arg(&path)
            .output()
            .unwrap();
        let text = String::from_utf8(listing.stdout).unwrap();
        assert!(
            text.contains("-rwxr-xr-x 0/0") && text.contains("dir/hello"),
            "{text}"
        );
    }
}
