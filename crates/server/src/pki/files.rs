//! Files with mode 0600 that are replaced atomically.

use std::{
    fs, io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

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

/// Replaces a file atomically. Its mode is 0600.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    let failed = |source| Error::File {
        action: "write",
        path: path.into(),
        source,
    };
    let temporary = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(failed)?;
    io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)
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
