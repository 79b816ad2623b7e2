//! The log of a test, and the texts that must be in no log and no message: tokens, keys, the values
//! of Secrets.

use std::{
    io::{Result, Write},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use tracing_subscriber::filter::LevelFilter;

/// The log of this process.
#[derive(Debug, Clone, Default)]
pub struct CapturedLog(Arc<Mutex<Vec<u8>>>);

impl Write for CapturedLog {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl CapturedLog {
    /// Records everything from now on, at all levels.
    ///
    /// # Panics
    /// If the log of this process goes elsewhere.
    #[must_use]
    pub fn start() -> Self {
        let log = Self::default();
        let writer = log.clone();
        let started = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .try_init();
        #[expect(clippy::panic, reason = "only tests call this")]
        if let Err(error) = started {
            panic!("the log of this process goes elsewhere: {error}");
        }
        log
    }

    /// What was logged so far.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock()).into_owned()
    }
}

/// Texts that must not be seen, each with its name.
#[derive(Debug, Default)]
pub struct Hidden(Vec<(String, String)>);

impl Hidden {
    /// Adds a text, and its form in Base64.
    ///
    /// # Panics
    /// If it is so short that it may be in a log by chance.
    pub fn add(&mut self, name: &str, text: &str) {
        assert!(text.len() >= 8, "{name} may be in a log by chance");
        self.add_word(name, text);
        self.add_word(&format!("{name} (Base64)"), &STANDARD.encode(text));
    }

    /// Adds a text alone.
    pub fn add_word(&mut self, name: &str, word: &str) {
        self.0.push((name.to_owned(), word.to_owned()));
    }

    /// Checks that none of them is in the text of this place.
    ///
    /// # Panics
    /// If one is, with its line.
    pub fn check(&self, place: &str, text: &str) {
        for (name, hidden) in &self.0 {
            let Some(at) = text.find(hidden) else {
                continue;
            };
            let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
            let line: String = text[start..].chars().take(500).collect();
            #[expect(clippy::panic, reason = "only tests call this")]
            {
                panic!("{name} is in {place}:\n{line}");
            }
        }
    }
}
