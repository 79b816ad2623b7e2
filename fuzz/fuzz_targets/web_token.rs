//! Tokens of service accounts: none that nobody has signed is accepted.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use pandaemon_server::fuzzing::WebTokens;
use tempfile::TempDir;

static TOKENS: OnceLock<(TempDir, WebTokens)> = OnceLock::new();

fuzz_target!(|token: &str| {
    let (_, tokens) = TOKENS.get_or_init(|| {
        let data = tempfile::tempdir().expect("a directory for keys");
        let tokens = WebTokens::open(data.path()).expect("new keys");
        (data, tokens)
    });
    assert!(!tokens.accepts(token));
});
