//! A request to a served kind, and what its handlers derive from it.

use http::Response;
use jiff::Timestamp;
use pandaemon_machinery::{Kind, KindRef, decode, status::Result, table::IncludeObject};

use crate::{
    admission::Counted,
    api::{Api, Incoming},
    handlers::{render::View, response},
    http::{
        body::Body,
        negotiate,
        request::{ResourcePath, Verb},
    },
    registry::{Call, WriteOptions, Written},
};

/// A request to a served kind.
#[derive(Debug)]
pub(crate) struct ResourceRequest<'a> {
    /// The parts of the server.
    pub api: &'a Api,
    /// The kind of the path.
    pub kind: KindRef,
    /// The parsed path of the URL.
    pub path: &'a ResourcePath,
    /// The verb, which the kind or subresource supports.
    pub verb: Verb,
    /// The request itself.
    pub incoming: Incoming,
}

impl ResourceRequest<'_> {
    /// The negotiated form of objects in the response.
    ///
    /// # Errors
    /// 406 if the `Accept` header names no supported media type.
    pub(crate) fn view(&self) -> Result<View> {
        let include = match self.incoming.query.get("includeObject") {
            Some("None") => IncludeObject::None,
            Some("Object") => IncludeObject::Object,
            _ => IncludeObject::Metadata,
        };
        let form = self.incoming.form()?;
        Ok(View {
            form,
            include,
            now_seconds: Timestamp::now().as_second(),
        })
    }

    /// The parameters of the registry operation.
    ///
    /// # Errors
    /// 422 for invalid options.
    pub(crate) fn call(&self) -> Result<Call> {
        self.call_with(false)
    }

    /// As [`ResourceRequest::call`], for server-side apply if `is_apply`.
    ///
    /// # Errors
    /// As [`ResourceRequest::call`].
    pub(crate) fn call_with(&self, is_apply: bool) -> Result<Call> {
        let options = WriteOptions::parse(self.verb, is_apply, &self.incoming.query)?;
        Ok(Call {
            kind: KindRef::clone(&self.kind),
            scheme: self.incoming.scheme.clone(),
            namespace: self.path.namespace.clone().unwrap_or_default(),
            name: self.path.name.clone().unwrap_or_default(),
            subresource: self.path.subresource.clone().unwrap_or_default(),
            user: self.incoming.user.clone(),
            annotations: self.incoming.annotations.clone(),
            counted: Counted::default(),
            authorizers: Some(self.api.authorizers.clone()),
            manager: options.manager(self.incoming.headers()),
            options,
            is_admitted: false,
            now: Timestamp::now(),
        })
    }

    /// Decodes the body as `kind`, which may differ from the kind of the path.
    ///
    /// # Errors
    /// 400 if it cannot be decoded, 415 for an unsupported media type.
    pub(crate) fn decoded(&self, kind: &Kind, call: &Call) -> Result<decode::Decoded> {
        let media = negotiate::body_media(self.incoming.headers())?;
        call.decoded(kind, media, &self.incoming.body)
    }

    /// The response to a write: 201 for a created object, else 200.
    #[must_use]
    pub(crate) fn written(&self, view: &View, written: &Written) -> Response<Body> {
        let code = if written.created { 201 } else { 200 };
        let body = response::object_body(&self.kind, view, &written.object);
        let mut response = response::respond(code, &view.form, body);
        response::add_warnings(&mut response, &written.warnings);
        response
    }
}
