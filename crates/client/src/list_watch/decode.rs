//! Lines of watches and pages of lists to objects. An object that cannot be decoded costs only
//! itself.

use bytes::Bytes;
use kube::core::Status;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{event::ObjectIdentity, versions::Change};

/// What marks the end of a streamed list.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// One line of a watch.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE")]
pub(super) enum Line<T> {
    Added(T),
    Modified(T),
    Deleted(T),
    Bookmark(Bookmark),
    Error(Box<Status>),
}

/// A version without an object.
#[derive(Debug, Deserialize)]
pub(super) struct Bookmark {
    metadata: BookmarkMeta,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMeta {
    resource_version: String,
    #[serde(default)]
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

impl Bookmark {
    pub(super) fn version(&self) -> u64 {
        number(&self.metadata.resource_version)
    }

    pub(super) fn ends_list(&self) -> bool {
        let annotations = self.metadata.annotations.as_ref();
        annotations.is_some_and(|all| all.contains_key(INITIAL_EVENTS_END))
    }
}

/// What names an object whose other fields could not be decoded. Upstream: `PartialObjectMetadata`.
#[derive(Debug, Deserialize)]
pub(super) struct Skipped {
    metadata: SkippedMeta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SkippedMeta {
    namespace: String,
    name: String,
    uid: String,
    resource_version: String,
}

impl Skipped {
    pub(super) fn version(&self) -> u64 {
        number(&self.metadata.resource_version)
    }

    pub(super) fn identity(&self) -> ObjectIdentity {
        let SkippedMeta {
            namespace,
            name,
            uid,
            ..
        } = &self.metadata;
        ObjectIdentity {
            namespace: namespace.as_str().into(),
            name: name.as_str().into(),
            uid: uid.as_str().into(),
            version: self.version(),
        }
    }
}

/// A decoded line, or what is known of one whose object could not be decoded.
#[derive(Debug)]
pub(super) enum Decoded<T> {
    Whole(Line<T>),
    Skipped(Change, Skipped, serde_json::Error),
}

/// Decodes a line.
///
/// # Errors
/// When not even the object's metadata can be decoded.
pub(super) fn line<T: DeserializeOwned>(line: &[u8]) -> Result<Decoded<T>, serde_json::Error> {
    let error = match serde_json::from_slice(line) {
        Ok(decoded) => return Ok(Decoded::Whole(decoded)),
        Err(error) => error,
    };
    match skipped(line)? {
        Some((change, skipped)) => Ok(Decoded::Skipped(change, skipped, error)),
        None => Err(error),
    }
}

/// Decodes only the metadata of a line's object; `None` for bookmarks and errors.
///
/// # Errors
/// When that cannot be decoded either.
pub(super) fn skipped(line: &[u8]) -> Result<Option<(Change, Skipped)>, serde_json::Error> {
    let decoded: Line<Skipped> = serde_json::from_slice(line)?;
    Ok(match decoded {
        Line::Added(object) | Line::Modified(object) => Some((Change::Applied, object)),
        Line::Deleted(object) => Some((Change::Deleted, object)),
        Line::Bookmark(_) | Line::Error(_) => None,
    })
}

/// Whether a line is a bookmark or an error, which have to be decoded whatever objects are of
/// interest.
pub(super) fn is_special(line: &[u8]) -> bool {
    let start = line.get(..24).unwrap_or(line);
    [b"BOOKMARK".as_slice(), b"ERROR"]
        .iter()
        .any(|word| start.windows(word.len()).any(|part| part == *word))
}

/// A page of a list.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) skipped: Vec<(Skipped, serde_json::Error)>,
    pub(super) version: u64,
    /// The token of the next page.
    pub(super) more: Option<String>,
}

#[derive(Deserialize)]
struct RawPage<T> {
    #[serde(default)]
    metadata: PageMeta,
    items: Option<Vec<T>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMeta {
    resource_version: String,
    r#continue: Option<String>,
}

/// Decodes a page; objects that cannot be decoded are left out.
///
/// # Errors
/// When the reply is no list, or not even the metadata of an object can be decoded.
pub(super) fn page<T: DeserializeOwned>(reply: &Bytes) -> Result<Page<T>, serde_json::Error> {
    let (metadata, items, skipped) = match serde_json::from_slice::<RawPage<T>>(reply) {
        Ok(page) => (page.metadata, page.items.unwrap_or_default(), Vec::new()),
        // One at a time, to find the one that is wrong.
        Err(_) => {
            let page: RawPage<&RawValue> = serde_json::from_slice(reply)?;
            let (mut items, mut skipped) = (Vec::new(), Vec::new());
            for item in page.items.unwrap_or_default() {
                match serde_json::from_str(item.get()) {
                    Ok(item) => items.push(item),
                    Err(error) => skipped.push((serde_json::from_str(item.get())?, error)),
                }
            }
            (page.metadata, items, skipped)
        }
    };
    Ok(Page {
        items,
        skipped,
        version: number(&metadata.resource_version),
        more: metadata.r#continue.filter(|token| !token.is_empty()),
    })
}

/// A resource version as a number; 0 for one that is none, from which nothing can be resumed.
pub(super) fn number(version: &str) -> u64 {
    version.parse().unwrap_or(0)
}
