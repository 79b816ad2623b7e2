//! The files of certificates and tokens: mode 0600, replaced in one step.

use std::{fs, io, path::Path};

use pandaemon_runtime::files::replace_private;

use super::{Error, Pair, Result};

pub(super) fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File {
            action: "read",
            path: path.into(),
            source,
        }),
    }
}

pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    replace_private(path, text.as_bytes()).map_err(|source| Error::File {
        action: "write",
        path: path.into(),
        source,
    })
}

pub(super) fn read_pair(dir: &Path, name: &str) -> Result<Option<Pair>> {
    let certificate = read(&dir.join(format!("{name}.crt")))?;
    let key = read(&dir.join(format!("{name}.key")))?;
    Ok(certificate
        .zip(key)
        .map(|(certificate, key)| Pair { certificate, key }))
}

pub(super) fn write_pair(dir: &Path, name: &str, pair: &Pair) -> Result<()> {
    // The key first: a pair without its certificate is created again.
    write(&dir.join(format!("{name}.key")), &pair.key)?;
    write(&dir.join(format!("{name}.crt")), &pair.certificate)
}
