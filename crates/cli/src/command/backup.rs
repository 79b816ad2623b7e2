//! `pandaemon backup`: asks the running control plane, or reads its files if none runs. What comes
//! is checked as it comes, and gets its name when it is whole and on the disk.

mod contents;
mod draft;

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use pandaemon_client::{
    connect,
    rest::{Parts, Rest},
};
use pandaemon_server::backup::begin;
use pandaemon_store::{
    BackupReader, BackupStream, Contents, Error as StoreError, OfflineStore,
    encryption::{Snapshot, key_file_text},
};

pub(super) use self::contents::{Inside, megabytes, objects};
use self::draft::Draft;
use super::{control_plane::ADMIN_KUBECONFIG, store::key_file};
use crate::{
    args::BackupArgs,
    progress::{Step, print_result, print_status},
};

/// The path of the API.
const PATH: &str = "/pandaemon/v1/backup";
/// How long the server may take for a part.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How much of a file is read at once.
const READ_BYTES: usize = 256 << 10;

/// Takes a backup, or prints what is in one.
pub(crate) async fn run(args: BackupArgs) -> anyhow::Result<()> {
    if args.verify {
        let contents = read(&args.file, BackupReader::checking())?;
        for line in Inside::of(contents)?.table() {
            print_result(&line);
        }
        return Ok(());
    }
    let mut output = Output::create(&args.file, args.force)?;
    let mut source = Source::open(&args).await?;
    let step = Step::start("Back up the control plane");
    let mut reader = BackupReader::checking();
    let mut bytes = 0;
    while let Some(part) = source.next().await? {
        reader.read(&part).context("check what was received")?;
        output.write(&part)?;
        bytes += part.len() as u64;
        step.progress(&format!(
            "{}, {}",
            objects(reader.count()),
            megabytes(bytes)
        ));
    }
    let contents = reader.finish().context("check what was received")?;
    output.finish()?;
    step.finish();
    let inside = Inside::of(contents)?;
    let place = match is_standard(&args.file) {
        true => "standard output".into(),
        false => args.file.to_string_lossy(),
    };
    for line in inside.summary(&place) {
        print_status(&line);
    }
    Ok(())
}

/// Reads a whole backup.
///
/// # Errors
/// If the file cannot be read, or is no whole backup.
pub(super) fn read(path: &Path, mut reader: BackupReader) -> anyhow::Result<Contents> {
    let shown = || path.display().to_string();
    let mut input: Box<dyn io::Read> = match is_standard(path) {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path).with_context(shown)?),
    };
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return reader.finish().with_context(shown),
            Ok(length) => reader
                .read(buffer.get(..length).unwrap_or_default())
                .with_context(shown)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).with_context(shown),
        }
    }
}

/// Whether a file stands for standard input or output.
fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// Where the bytes of a backup come from.
enum Source {
    Server(Parts),
    Files {
        stream: Box<BackupStream>,
        /// Locked as long as it is read.
        _store: Box<OfflineStore>,
    },
}

impl Source {
    async fn open(args: &BackupArgs) -> anyhow::Result<Self> {
        if let Some(kubeconfig) = &args.kubeconfig {
            return Self::server(kubeconfig, args.include_keys).await;
        }
        let directory = args.data_dir.join("store");
        ensure!(
            directory.is_dir(),
            "{} is not the data directory of a control plane: there is no {}; name it with --data-dir, or a control \
             plane that runs with --kubeconfig",
            args.data_dir.display(),
            directory.display()
        );
        match OfflineStore::open(&directory) {
            Ok(store) => Self::files(args, store),
            Err(StoreError::Locked(_)) => {
                let own = args.data_dir.join(ADMIN_KUBECONFIG);
                Self::server(&own, args.include_keys).await
            }
            Err(error) => Err(error.into()),
        }
    }

    fn files(args: &BackupArgs, store: OfflineStore) -> anyhow::Result<Self> {
        let key_file = key_file(&args.data_dir, args.encryption_key_file.as_deref());
        let snapshot = Snapshot {
            state: store.snapshot()?,
            key_file: key_file_text(&key_file)?,
        };
        let stream = begin(snapshot, &args.data_dir, args.include_keys)?;
        Ok(Self::Files {
            stream: Box::new(stream),
            _store: Box::new(store),
        })
    }

    async fn server(kubeconfig: &Path, has_keys: bool) -> anyhow::Result<Self> {
        let config = connect::config(Some(kubeconfig), None).await?;
        let rest = Rest::new(connect::direct(config)?).timeout(TIMEOUT);
        let path = format!("{PATH}?includeKeys={has_keys}");
        let parts = rest.post_for_parts(&path).await;
        let parts = parts.context("ask the running control plane for a backup")?;
        Ok(Self::Server(parts))
    }

    async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        match self {
            Self::Server(parts) => parts.next().await.context("read from the control plane"),
            Self::Files { stream, .. } => stream.next_part().context("read the store"),
        }
    }
}

/// Where a backup is written.
enum Output {
    Standard,
    File(Draft),
}

impl Output {
    fn create(path: &Path, replaces: bool) -> anyhow::Result<Self> {
        match is_standard(path) {
            true => Ok(Self::Standard),
            false => Draft::create(path, replaces).map(Self::File),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Standard => io::stdout().write_all(bytes).context("write"),
            Self::File(draft) => draft.write(bytes),
        }
    }

    fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Standard => io::stdout().flush().context("write"),
            Self::File(draft) => draft.finish(),
        }
    }
}
