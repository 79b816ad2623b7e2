//! Cuts the body of a watch into lines.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use kube::client::Body;

/// A body of lines.
pub(super) struct Lines {
    body: Body,
    /// The beginning of a line whose end has not come yet.
    begun: BytesMut,
}

impl Lines {
    pub(super) fn new(body: Body) -> Self {
        let begun = BytesMut::new();
        Self { body, begun }
    }

    /// One or more whole lines; `None` at the end of the body. A last line without an end was cut
    /// off and does not count. Safe to cancel.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(super) async fn next(&mut self) -> kube::Result<Option<Bytes>> {
        while let Some(frame) = self.body.frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            if let Some(lines) = self.push(data) {
                return Ok(Some(lines));
            }
        }
        Ok(None)
    }

    fn push(&mut self, mut data: Bytes) -> Option<Bytes> {
        let Some(end) = data.iter().rposition(|byte| *byte == b'\n') else {
            self.begun.extend_from_slice(&data);
            return None;
        };
        let rest = data.split_off(end + 1);
        let lines = if self.begun.is_empty() {
            data
        } else {
            self.begun.extend_from_slice(&data);
            self.begun.split().freeze()
        };
        self.begun.extend_from_slice(&rest);
        Some(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_cut_into_lines() {
        let mut lines = Lines::new(Body::empty());
        let mut push = |text: &'static str| {
            let lines = lines.push(Bytes::from_static(text.as_bytes()));
            lines.map(|lines| String::from_utf8(lines.to_vec()).unwrap())
        };
        assert_eq!(push("a\n").as_deref(), Some("a\n"));
        assert_eq!(push("b"), None);
        assert_eq!(push("c"), None);
        assert_eq!(push("d\ne\nf").as_deref(), Some("bcd\ne\n"));
        assert_eq!(push("\n").as_deref(), Some("f\n"));
    }
}
