//! Pages of a list and their continue tokens.

use std::{sync::Arc, time::Instant};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use pandaemon_machinery::{Status, status::Result};
use pandaemon_store::Revision;
use serde::{Deserialize, Serialize};

use super::{ListOptions, Match};
use crate::{
    cache::{
        object::Object,
        watch_cache::{KindCache, range_from},
    },
    registry::{Registry, list_meta::ListMeta},
};

/// Base64 that is as lenient as Go's decoder.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The contents of a continue token. Upstream: `storage.continueToken`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Token {
    v: String,
    rv: i64,
    start: String,
}

/// Parses a continue token.
///
/// # Errors
/// 400, with upstream's text.
pub(super) fn token(text: &str) -> Result<Token> {
    let refuse = |why: String| Status::bad_request(format!("invalid continue token: {why}"));
    let bytes = BASE64
        .decode(text)
        .map_err(|e| refuse(format!("continue key is not valid: {e}")))?;
    let token: Token = serde_json::from_slice(&bytes).map_err(|error| match bytes.first() {
        Some(first) if *first != b'{' => refuse(format!(
            "continue key is not valid: invalid character '{}' looking for beginning of value",
            quoted(*first)
        )),
        _ => refuse(format!("continue key is not valid: {error}")),
    })?;
    let fault = match &token {
        token if token.v != "meta.k8s.io/v1" => {
            let version = &token.v;
            format!("server does not recognize this encoded version {version}")
        }
        token if token.rv == 0 => {
            "incorrect encoded start resourceVersion (version meta.k8s.io/v1)".to_owned()
        }
        token if token.start.is_empty() => {
            "encoded start key empty (version meta.k8s.io/v1)".to_owned()
        }
        // A key outside of the listed ones.
        token if !is_clean(&token.start) => token.start.clone(),
        _ => return Ok(token),
    };
    Err(refuse(format!("continue key is not valid: {fault}")))
}

/// Whether a key has no empty segments, and none that are dots. That of a kind without namespaces
/// begins with a slash.
fn is_clean(key: &str) -> bool {
    let key = key.strip_prefix('/').unwrap_or(key);
    key.split('/')
        .all(|segment| !matches!(segment, "" | "." | ".."))
}

fn quoted(byte: u8) -> String {
    if byte.is_ascii_graphic() || byte == b' ' {
        char::from(byte).to_string()
    } else {
        format!("\\u{byte:04x}")
    }
}

impl Registry {
    /// A page of a list, at the revision of the first page.
    pub(super) fn page(
        &self,
        kind: &KindCache,
        options: &ListOptions,
    ) -> Result<(ListMeta, Vec<Arc<Object>>)> {
        let (prefix, now) = (options.prefix(), Instant::now());
        let storage = options.filter.kind.storage.as_str();
        let lists = &self.cache.paged_lists;
        let requested = options.exact_revision();
        let state = requested
            .and_then(|revision| lists.resume(storage, revision, now))
            .or_else(|| kind.as_of(self.cache.revision(), requested));
        let (revision, objects) = state.ok_or_else(|| too_old(options))?;
        let token = options.token.as_ref();
        let start = token.map_or_else(|| prefix.clone(), |t| format!("{prefix}{}", t.start));
        let mut selected = range_from(&objects, &prefix, &start)
            .map(|(_, object)| object)
            .filter(|object| options.filter.matches(object));
        let limit = match options.limit {
            0 => usize::MAX,
            limit => limit,
        };
        let page: Vec<_> = selected.by_ref().take(limit).cloned().collect();
        let mut meta = ListMeta::at(revision);
        let Some(last) = page.last().filter(|_| selected.next().is_some()) else {
            return Ok((meta, page));
        };
        if options.filter.selects_all() {
            let all = lists
                .remaining(storage, revision, &start)
                .unwrap_or_else(|| range_from(&objects, &prefix, &start).count() as u64);
            meta.remaining = Some(all.saturating_sub(page.len() as u64));
        }
        meta.next = Some(next_token(revision, &last.key[prefix.len()..]));
        let next = (format!("{}\0", last.key), meta.remaining);
        drop(selected);
        lists.keep(storage, (revision, objects), next, now);
        Ok((meta, page))
    }
}

impl ListOptions {
    /// The revision of the page; `None` for the latest.
    pub(super) fn exact_revision(&self) -> Option<Revision> {
        match &self.token {
            Some(token) => Revision::try_from(token.rv).ok(),
            None => self
                .revision
                .filter(|_| self.matching == Some(Match::Exact)),
        }
    }
}

fn next_token(revision: Revision, last: &str) -> String {
    let token = Token {
        v: "meta.k8s.io/v1".into(),
        rv: i64::try_from(revision).unwrap_or(-1),
        start: format!("{last}\0"),
    };
    BASE64.encode(serde_json::to_vec(&token).unwrap_or_default())
}

fn too_old(options: &ListOptions) -> Box<Status> {
    let Some(token) = &options.token else {
        return Status::expired("The resourceVersion for the provided list is too old.");
    };
    let mut status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    let token = Token {
        rv: -1,
        ..token.clone()
    };
    let token = BASE64.encode(serde_json::to_vec(&token).unwrap_or_default());
    status.metadata.insert("continue".into(), token.into());
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continue_tokens_survive_encoding_and_decoding() {
        let read = token(&next_token(7, "ns/a")).unwrap();
        assert_eq!((read.rv, read.start.as_str()), (7, "ns/a\0"));
    }

    #[test]
    fn invalid_continue_tokens_are_refused_with_upstreams_text() {
        let status = token("garbage").unwrap_err();
        assert_eq!(status.code, 400);
        assert_eq!(
            status.message,
            "invalid continue token: continue key is not valid: invalid character '\\u0081' looking for beginning of value"
        );
        let made = |version: &str, rv: i64, start: &str| {
            let fields = serde_json::json!({"v": version, "rv": rv, "start": start});
            token(&BASE64.encode(fields.to_string())).map_err(|status| status.message)
        };
        let refused =
            |why: &str| format!("invalid continue token: continue key is not valid: {why}");
        let v1 = "meta.k8s.io/v1";
        for start in ["a", "/a", "ns/a\0", "ns/a.b"] {
            assert!(made(v1, 7, start).is_ok(), "{start}");
        }
        for start in ["..", "../a", "a/../b", "a/", "a//b", "./a"] {
            assert_eq!(made(v1, 7, start).unwrap_err(), refused(start));
        }
        for (version, rv, start, why) in [
            (
                "v2",
                7,
                "a",
                "server does not recognize this encoded version v2",
            ),
            (
                v1,
                0,
                "a",
                "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
            ),
            (
                v1,
                7,
                "",
                "encoded start key empty (version meta.k8s.io/v1)",
            ),
        ] {
            assert_eq!(made(version, rv, start).unwrap_err(), refused(why));
        }
    }
}
