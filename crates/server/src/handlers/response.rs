//! Responses: values, objects, lists, texts and errors in the negotiated form.

use std::collections::HashSet;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use pandaemon_machinery::{Kind, Status};
use serde_json::Value;

use crate::{
    cache::object::Object,
    handlers::render::{self, View},
    http::{
        body::Body,
        negotiate::{self, Form},
    },
    registry::convert,
};

/// A response with a body in the negotiated form.
pub(crate) fn respond(code: u16, form: &Form, body: Body) -> Response<Body> {
    with_type(code, form.content_type(), body)
}

/// A response with this value in the negotiated encoding.
pub(crate) fn value(code: u16, form: &Form, value: &Value) -> Response<Body> {
    respond(code, form, Body::full(render::encode(form, value)))
}

/// The response to a POST that is carried out and creates no object, such as an eviction.
pub(crate) fn success(form: &Form, warnings: &[String]) -> Response<Body> {
    let mut status = Status::success(None);
    status.code = 201;
    let body = serde_json::to_value(&status).unwrap_or_default();
    let mut response = value(201, form, &body);
    add_warnings(&mut response, warnings);
    response
}

/// A response with this content type.
pub(crate) fn with_type(code: u16, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    response
}

/// A plain text response.
pub(crate) fn text(code: u16, text: impl Into<Bytes>) -> Response<Body> {
    with_type(code, "text/plain; charset=utf-8", Body::full(text))
}

/// The response of an error: its `Status` in the negotiated encoding, `Retry-After` where it has
/// one.
#[must_use]
pub(crate) fn error(form: &Form, status: &Status) -> Response<Body> {
    let form = Form {
        shape: negotiate::Shape::Plain,
        ..*form
    };
    let body = serde_json::to_value(status).unwrap_or_default();
    let mut response = value(status.code, &form, &body);
    let headers = response.headers_mut();
    if let Some(seconds) = status
        .details
        .as_ref()
        .map(|d| d.retry_after_seconds)
        .filter(|s| *s > 0)
    {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if status.code == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Number of characters of all warnings from which on each is cut off.
const MAX_WARNINGS: usize = 4096;
/// Number of characters at which warnings are cut off when there are many.
const MAX_WARNING: usize = 256;

/// Most warnings of a response: each is a header, and some clients accept 100 headers and break
/// the connection for more.
const MAX_HEADERS: usize = 64;

/// The warnings that are sent: each once, and not more than fit. Upstream: `WithWarningRecorder`.
fn bounded(warnings: &[String]) -> Vec<String> {
    let mut seen = HashSet::new();
    let distinct = warnings.iter().filter(|text| !text.is_empty());
    let distinct = distinct.filter(|text| seen.insert(*text));
    let mut all: Vec<String> = distinct.take(MAX_HEADERS).cloned().collect();
    let length = |text: &String| text.chars().count();
    if all.iter().map(length).sum::<usize>() <= MAX_WARNINGS {
        return all;
    }
    let mut total = 0;
    all.retain_mut(|text| {
        if let Some((end, _)) = text.char_indices().nth(MAX_WARNING) {
            text.truncate(end);
        }
        let fits = total < MAX_WARNINGS;
        total += length(text);
        fits
    });
    all
}

/// Adds a `Warning: 299` header for each text that is sent.
pub(crate) fn add_warnings(response: &mut Response<Body>, warnings: &[String]) {
    for warning in bounded(warnings) {
        let escaped = warning.replace('\\', "\\\\").replace('"', "\\\"");
        let clean: String = escaped.chars().filter(|c| !c.is_control()).collect();
        if let Ok(value) = HeaderValue::try_from(format!("299 - \"{clean}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

/// The body of a response with one object.
#[must_use]
pub(crate) fn object_body(kind: &Kind, view: &View, object: &Object) -> Body {
    if view.is_plain_json() && convert::is_native(kind) {
        let mut out = Vec::with_capacity(object.len() + 1);
        object.write(&mut out);
        out.push(b'\n');
        return Body::full(out);
    }
    let value = convert::converted(kind, object).unwrap_or_default();
    let shaped = render::shape_one(kind, view, value, true);
    Body::full(render::encode_line(&view.form, &shaped))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(warnings: &[String]) -> Vec<usize> {
        let mut response = Response::new(Body::empty());
        add_warnings(&mut response, warnings);
        let headers = response.headers().get_all(header::WARNING).iter();
        let length = |value: &HeaderValue| value.len() - "299 - \"\"".len();
        headers.map(length).collect()
    }

    #[test]
    fn warnings_are_sent_once_and_cut_off_when_there_are_many() {
        let text = |first: char, length: usize| format!("{first}{}", "x".repeat(length - 1));
        let few = [
            text('a', 3000),
            String::new(),
            text('a', 3000),
            text('b', 1096),
        ];
        assert_eq!(sent(&few), [3000, 1096]);
        let mut many = vec![text('a', 3000), text('b', 1097), text('c', 10)];
        assert_eq!(sent(&many), [256, 256, 10]);
        many.extend(('d'..='z').map(|first| text(first, 300)));
        let cut = sent(&many);
        assert_eq!(cut.iter().sum::<usize>(), 256 * 16 + 10);
        assert_eq!(cut.len(), 17, "the rest is left out");
        let short: Vec<String> = (0..200).map(|at| at.to_string()).collect();
        assert_eq!(sent(&short).len(), MAX_HEADERS);
    }
}
