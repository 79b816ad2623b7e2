//! The body of a list, in every form: its items are written one by one, in chunks, so that no list
//! is built as a whole.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
    vec,
};

use bytes::Bytes;
use pandaemon_machinery::KindRef;
use serde_json::{Value, json};

use crate::{
    cache::object::Object,
    flow_control::Seat,
    handlers::render::{self, View},
    http::negotiate::Encoding,
    registry::{convert, list_meta::ListMeta},
};

/// Approximate size of a chunk, in bytes.
const CHUNK_BYTES: usize = 128 << 10;
/// Bytes of stored objects that are parsed for one chunk: some milliseconds of work, however small
/// the rows of a Table are.
const PARSED_BYTES: usize = 256 << 10;
/// Stands for the items while the text around them is written. No other field contains a dot and a
/// colon.
const PLACEHOLDER: &str = "pandaemon.items:";

/// The text around the items.
#[derive(Debug)]
struct Frame {
    before: Vec<u8>,
    after: Vec<u8>,
    /// The whole text, if there are no items.
    empty: Vec<u8>,
}

impl Frame {
    /// The text around the items of the stored form.
    fn of_stored(kind: &KindRef, meta: &ListMeta) -> Self {
        let before = format!(
            "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{},\"items\":[",
            kind.list_kind,
            kind.api_version(),
            meta.value()
        );
        let after = b"]}\n".to_vec();
        Self {
            empty: [before.as_bytes(), after.as_slice()].concat(),
            before: before.into_bytes(),
            after,
        }
    }

    /// The text around the items of a list, of which this is the value without items.
    fn of(view: &View, list: &mut Value, items: &str) -> Option<Self> {
        let encoded = |list: &Value| render::encode_line(&view.form, list);
        let empty = encoded(list);
        list[items] = json!([PLACEHOLDER]);
        let around = encoded(list);
        let item = item_text(view, &json!(PLACEHOLDER)).ok()?;
        let at = memchr::memmem::find(&around, &item)?;
        Some(Self {
            before: around[..at].to_vec(),
            after: around[at + item.len()..].to_vec(),
            empty,
        })
    }
}

/// What is between two items.
const fn separator(view: &View) -> &'static [u8] {
    match (view.form.encoding, view.form.pretty) {
        (Encoding::Json, false) => b",",
        (Encoding::Json, true) => b",\n    ",
        (Encoding::Yaml, _) => b"",
    }
}

/// An item as it is written in a list.
fn item_text(view: &View, item: &Value) -> io::Result<Vec<u8>> {
    Ok(match (view.form.encoding, view.form.pretty) {
        (Encoding::Json, false) => serde_json::to_vec(item)?,
        // A string contains no line feed, so that each begins a line of the text.
        (Encoding::Json, true) => {
            let text = serde_json::to_string_pretty(item)?;
            text.replace('\n', "\n    ").into_bytes()
        }
        (Encoding::Yaml, _) => {
            let list = serde_saphyr::to_string(&json!({ "i": [item] }));
            let list = list.map_err(io::Error::other)?;
            let text = list.strip_prefix("i:\n");
            let wrong = "the YAML of a list is not as expected";
            text.ok_or_else(|| io::Error::other(wrong))?.into()
        }
    })
}

/// The body of a list.
#[derive(Debug)]
pub(crate) struct ListBody {
    kind: KindRef,
    view: View,
    /// Whether items are the stored bytes.
    uses_stored_bytes: bool,
    /// `None` after an error.
    frame: Option<Frame>,
    objects: vec::IntoIter<Arc<Object>>,
    started: bool,
    ended: bool,
    /// Whether other tasks run before the next chunk.
    yields: bool,
    /// The seats of the request, until the list is sent.
    seat: Option<Seat>,
}

impl ListBody {
    /// A list of these objects.
    #[must_use]
    pub(crate) fn new(
        kind: &KindRef,
        view: &View,
        meta: &ListMeta,
        objects: Vec<Arc<Object>>,
    ) -> Self {
        let uses_stored_bytes = view.is_plain_json() && convert::is_native(kind);
        let frame = match uses_stored_bytes {
            true => Some(Frame::of_stored(kind, meta)),
            false => {
                let (mut list, items) = render::empty_list(kind, view, meta);
                Frame::of(view, &mut list, items)
            }
        };
        Self {
            kind: KindRef::clone(kind),
            view: *view,
            uses_stored_bytes,
            frame,
            objects: objects.into_iter(),
            started: false,
            ended: false,
            yields: false,
            seat: None,
        }
    }

    /// Gives these seats back when the list is sent, or its client is gone.
    pub(crate) fn hold(&mut self, seat: Option<Seat>) {
        self.seat = seat;
    }

    /// The next chunk. Between two of them other tasks run.
    pub(crate) fn poll_chunk(&mut self, context: &Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.ended {
            self.seat = None;
            return Poll::Ready(None);
        }
        if std::mem::replace(&mut self.yields, false) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let chunk = self.next_chunk();
        if chunk.as_ref().is_ok_and(Bytes::is_empty) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.yields = true;
        // The rest is not sent after an error, so that no client takes the list for complete.
        self.ended |= chunk.is_err();
        Poll::Ready(Some(chunk))
    }

    /// Writes the next items. There are no bytes if none of them can be parsed, and more follow.
    fn next_chunk(&mut self) -> io::Result<Bytes> {
        let Some(frame) = &mut self.frame else {
            return Err(io::Error::other("the list cannot be encoded"));
        };
        let mut out = std::mem::take(&mut frame.before);
        let next = self.objects.as_slice().iter().take(64);
        let expected: usize = next.map(|object| object.len()).sum();
        out.reserve(expected.min(CHUNK_BYTES) + 64);
        let mut parsed = 0;
        while out.len() < CHUNK_BYTES && parsed < PARSED_BYTES {
            let Some(object) = self.objects.next() else {
                self.ended = true;
                match self.started {
                    true => out.extend_from_slice(&frame.after),
                    false => out = std::mem::take(&mut frame.empty),
                }
                break;
            };
            if self.uses_stored_bytes {
                if std::mem::replace(&mut self.started, true) {
                    out.push(b',');
                }
                object.write_item(&mut out);
                continue;
            }
            parsed += object.len();
            let Some(value) = convert::converted(&self.kind, &object) else {
                continue;
            };
            let item = render::shape_item(&self.kind, &self.view, value);
            let text = item_text(&self.view, &item)?;
            if std::mem::replace(&mut self.started, true) {
                out.extend_from_slice(separator(&self.view));
            }
            out.extend_from_slice(&text);
        }
        // Nothing is sent before it is known whether there are items.
        if !self.started && !self.ended {
            frame.before = std::mem::take(&mut out);
        }
        Ok(out.into())
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use pandaemon_machinery::{scheme, table::IncludeObject};

    use super::*;
    use crate::{
        cache::object,
        handlers::render::{encode_line, shape_item},
        http::negotiate::{Form, Shape},
    };

    fn forms() -> impl Iterator<Item = Form> {
        let encodings = [
            (Encoding::Json, false),
            (Encoding::Json, true),
            (Encoding::Yaml, false),
        ];
        let shapes = [
            Shape::Plain,
            Shape::Metadata("v1"),
            Shape::Metadata("v1beta1"),
            Shape::Table("v1"),
        ];
        encodings.into_iter().flat_map(move |(encoding, pretty)| {
            shapes.into_iter().map(move |shape| Form {
                encoding,
                shape,
                pretty,
            })
        })
    }

    fn view(form: Form) -> View {
        View {
            form,
            include: IncludeObject::Metadata,
            now_seconds: 1_800_000_000,
        }
    }

    fn objects(kind: &KindRef, values: &[Value]) -> Vec<Arc<Object>> {
        let index = kind.strategy.indexed_field();
        let object = |(at, value): (usize, &Value)| {
            let key = format!("/{}/d/{at}", kind.storage).into();
            let encoded = object::encode(value, index).unwrap();
            Arc::new(Object::new(key, encoded, at as u64 + 1))
        };
        values.iter().enumerate().map(object).collect()
    }

    /// All chunks; between two of them the body is pending.
    fn chunks(mut body: ListBody) -> Vec<Bytes> {
        let context = Context::from_waker(Waker::noop());
        let (mut chunks, mut pending) = (Vec::new(), 0);
        loop {
            match body.poll_chunk(&context) {
                Poll::Ready(Some(chunk)) => chunks.push(chunk.unwrap()),
                Poll::Ready(None) => break,
                Poll::Pending => pending += 1,
            }
        }
        assert!(pending + 1 >= chunks.len(), "{pending} of {}", chunks.len());
        chunks
    }

    fn text(body: ListBody) -> String {
        String::from_utf8(chunks(body).concat()).unwrap()
    }

    /// The list as one value.
    fn whole(kind: &KindRef, view: &View, meta: &ListMeta, objects: &[Arc<Object>]) -> String {
        let (mut list, items) = render::empty_list(kind, view, meta);
        let values = objects
            .iter()
            .filter_map(|object| convert::converted(kind, object));
        let shaped = values.map(|value| shape_item(kind, view, value));
        list[items] = Value::Array(shaped.collect());
        String::from_utf8(encode_line(&view.form, &list)).unwrap()
    }

    /// Texts that JSON and YAML quote, fold or indent.
    const TEXTS: [&str; 18] = [
        "",
        " ",
        "plain",
        "two\nlines",
        "two\nlines\n",
        "\n  indented\nmore",
        "trailing  ",
        "- item",
        "a: b",
        "# no comment",
        "\"quoted\" 'twice'",
        "null",
        "1e3",
        "~",
        "\u{7}\t\\",
        "\u{e4}\u{4e2d}\u{1f600}\u{2028}",
        "pandaemon.items:",
        "%",
    ];

    fn config_map(at: usize) -> Value {
        let long = "word ".repeat(at * 40);
        let all = TEXTS.iter().enumerate();
        let data: serde_json::Map<_, _> = all
            .map(|(n, text)| (format!("k{n}"), json!(text.repeat(at % 3 + 1))))
            .collect();
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
                "name": format!("m{at}"), "namespace": "d", "annotations": {"long": long},
                "labels": {}, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "data": data, "empty": [], "nested": [[], [[1, 2.5, null]], {"a": {"b": []}}]})
    }

    #[test]
    fn a_streamed_list_has_the_bytes_of_one_value() {
        let scheme = scheme::built_in();
        let event = json!({"apiVersion": "v1", "kind": "Event",
            "metadata": {"name": "e", "namespace": "d"}, "message": "a\nb", "count": 2,
            "involvedObject": {"kind": "Pod", "name": "p"}});
        let maps: Vec<Value> = (0..30).map(config_map).collect();
        let kinds = [
            ("", "configmaps", maps),
            ("events.k8s.io", "events", vec![event]),
        ];
        let page = ListMeta {
            resource_version: "7".into(),
            next: Some("eyJ2Ijoi".into()),
            remaining: Some(3),
        };
        let complete = ListMeta::at(9);
        for (group, plural, values) in &kinds {
            let kind = scheme.find_resource(group, "v1", plural).unwrap();
            let all = objects(kind, values);
            for (form, meta) in forms().flat_map(|form| [(form, &page), (form, &complete)]) {
                let view = view(form);
                if view.is_plain_json() && convert::is_native(kind) {
                    continue;
                }
                for some in [&all[..], &all[..1], &[]] {
                    let body = ListBody::new(kind, &view, meta, some.to_vec());
                    assert_eq!(text(body), whole(kind, &view, meta, some), "{form:?}");
                }
            }
        }
    }

    #[test]
    fn the_stored_bytes_are_the_items_of_plain_lists() {
        let kind = scheme::built_in()
            .find_resource("", "v1", "configmaps")
            .unwrap();
        let all = objects(kind, &(0..30).map(config_map).collect::<Vec<_>>());
        let (view, meta) = (view(Form::default()), ListMeta::at(9));
        for some in [&all[..], &all[..1], &[]] {
            let text = text(ListBody::new(kind, &view, &meta, some.to_vec()));
            let expected: Value = serde_json::from_str(&whole(kind, &view, &meta, some)).unwrap();
            assert!(text.starts_with("{\"kind\":\"ConfigMapList\",\"apiVersion\":\"v1\","));
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
        }
    }

    #[test]
    fn chunks_are_small_whatever_the_form_and_the_size_of_the_rows() {
        let kind = scheme::built_in()
            .find_resource("", "v1", "configmaps")
            .unwrap();
        let big = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "m", "namespace": "d"}, "data": {"a": "x".repeat(20 << 10)}});
        let all = objects(kind, &vec![big; 100]);
        for form in forms() {
            let view = view(form);
            let chunks = chunks(ListBody::new(kind, &view, &ListMeta::at(9), all.clone()));
            let largest = chunks.iter().map(Bytes::len).max().unwrap();
            assert!(largest < CHUNK_BYTES + (44 << 10), "{form:?}: {largest}");
            // Whatever is sent of it, an object of 2 MB is parsed in many parts.
            assert!(chunks.len() > 7, "{form:?}: {} chunks", chunks.len());
        }
    }

    #[test]
    fn objects_that_cannot_be_parsed_are_left_out() {
        let kind = scheme::built_in()
            .find_resource("", "v1", "configmaps")
            .unwrap();
        let encoded = object::encode(&config_map(1), None).unwrap();
        let mut broken = Object::new("/configmaps/d/b".into(), encoded, 9);
        broken.bytes = Bytes::from_static(b"{\"kind\":");
        for form in forms().skip(1) {
            let view = view(form);
            let only = vec![Arc::new(broken.with_revision(9))];
            let body = ListBody::new(kind, &view, &ListMeta::at(9), only);
            assert_eq!(text(body), whole(kind, &view, &ListMeta::at(9), &[]));
        }
    }
}
