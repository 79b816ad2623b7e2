//! Decodes Kubernetes protobuf bodies: the envelope (`runtime.Unknown`), and the message in it by
//! the field numbers of the field tables.
//!
//! kubectl sends some bodies as protobuf whatever the server offers (`auth can-i`, `debug`).
//! Objects are never written as protobuf.

mod wire;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value};

use self::wire::{Payload, Reader, WireError};
use super::parse::{self, Parsed};
use crate::{
    Kind, Scheme,
    bounds::{Room, Texts},
    schema::{Field, Shape, Type},
};

/// The first bytes of every protobuf body.
const MAGIC: &[u8] = b"k8s\0";
/// Most levels of nested messages.
const MAX_DEPTH: usize = 64;

/// How much more a message may hold.
struct Limits {
    /// Levels of nested messages.
    depth: usize,
    room: Room,
}

/// Decodes a body. The envelope names the kind of the message; without a name it is `expected`.
///
/// # Errors
/// Upstream's text for malformed bytes.
pub(super) fn read(scheme: &Scheme, expected: &Kind, body: &[u8]) -> Result<Parsed, String> {
    let unknown = body.strip_prefix(MAGIC).ok_or(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]",
    )?;
    let envelope = Envelope::read(unknown).map_err(|wrong| wrong.to_string())?;
    if envelope.content_type == "application/json" {
        return parse::from_json(envelope.raw);
    }
    let (group, version) = envelope
        .api_version
        .split_once('/')
        .unwrap_or(("", &envelope.api_version));
    let known = scheme.find_kind(group, version, &envelope.kind);
    let kind = known.map_or(expected, |kind| kind);
    let table = kind
        .object_type()
        .ok_or_else(|| format!("{} has no field table", kind.type_name))?;
    let mut map = Map::new();
    let limits = &mut Limits {
        depth: MAX_DEPTH,
        room: Room::default(),
    };
    message(table, 0, envelope.raw, &mut map, limits).map_err(|wrong| wrong.to_string())?;
    if !envelope.api_version.is_empty() {
        map.insert("apiVersion".into(), envelope.api_version.into());
        map.insert("kind".into(), envelope.kind.into());
    }
    Ok(Parsed {
        value: Value::Object(map),
        duplicates: Texts::default(),
    })
}

/// The fields of `runtime.Unknown`.
#[derive(Default)]
struct Envelope<'a> {
    api_version: String,
    kind: String,
    raw: &'a [u8],
    content_type: String,
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut envelope = Self::default();
        let mut reader = Reader::new(bytes);
        while let Some((number, payload)) = reader.next()? {
            match number {
                1 => {
                    let mut meta = Reader::new(payload.bytes()?);
                    while let Some((number, payload)) = meta.next()? {
                        match number {
                            1 => envelope.api_version = payload.text()?,
                            2 => envelope.kind = payload.text()?,
                            _ => {}
                        }
                    }
                }
                2 => envelope.raw = payload.bytes()?,
                4 => envelope.content_type = payload.text()?,
                _ => {}
            }
        }
        Ok(envelope)
    }
}

/// Decodes a message of type `table` into `map`. `embedded` is the field number of the embedded
/// message that `bytes` hold, 0 for the message itself.
fn message(
    table: Type<'_>,
    embedded: u16,
    bytes: &[u8],
    map: &mut Map<String, Value>,
    limits: &mut Limits,
) -> Result<(), WireError> {
    limits.depth = limits.depth.checked_sub(1).ok_or(WireError::Deep)?;
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        let Ok(number) = u8::try_from(number) else {
            continue;
        };
        let number = embedded * 256 + u16::from(number);
        if let Some(field) = table.fields().find(|field| field.number == number) {
            add(field, payload, map, limits)?;
        } else if embedded == 0 && table.fields().any(|field| field.number / 256 == number) {
            message(table, number, payload.bytes()?, map, limits)?;
        }
    }
    limits.depth += 1;
    Ok(())
}

/// Adds one occurrence of a field; every item of a list or map is one.
fn add(
    field: Field<'_>,
    payload: Payload<'_>,
    map: &mut Map<String, Value>,
    limits: &mut Limits,
) -> Result<(), WireError> {
    match field.shape {
        Shape::List(item) => {
            let list = map
                .entry(field.name)
                .or_insert_with(|| Value::Array(Vec::new()));
            if let (Value::Array(list), read) = (list, value(item.shape(), payload, limits)?) {
                list.push(read);
            }
        }
        Shape::Map(item) => {
            let entries = map
                .entry(field.name)
                .or_insert_with(|| Value::Object(Map::new()));
            if let (Value::Object(entries), (key, read)) =
                (entries, entry(item.shape(), payload, limits)?)
            {
                entries.insert(key, read);
            }
        }
        shape => {
            let read = value(shape, payload, limits)?;
            map.insert(field.name.into(), read);
        }
    }
    Ok(())
}

/// Decodes an entry of a map: a message with the key as field 1 and the value as field 2.
fn entry(
    shape: Shape<'_>,
    payload: Payload<'_>,
    limits: &mut Limits,
) -> Result<(String, Value), WireError> {
    limits.room.value()?;
    let mut key = String::new();
    let mut read = Value::Null;
    let mut reader = Reader::new(payload.bytes()?);
    while let Some((number, payload)) = reader.next()? {
        match number {
            1 => key = payload.text()?,
            2 => read = value(shape, payload, limits)?,
            _ => {}
        }
    }
    Ok((key, read))
}

fn value(shape: Shape<'_>, payload: Payload<'_>, limits: &mut Limits) -> Result<Value, WireError> {
    limits.room.value()?;
    Ok(match shape {
        Shape::String => payload.text()?.into(),
        Shape::Bool => (payload.integer()? != 0).into(),
        Shape::Int32 | Shape::Int64 => payload.integer()?.into(),
        Shape::Float => payload.float()?.into(),
        Shape::Bytes => STANDARD.encode(payload.bytes()?).into(),
        Shape::Quantity => member(payload.bytes()?, 1)?
            .map_or_else(|| Ok("0".into()), |p| p.text())?
            .into(),
        Shape::IntOrString => int_or_string(payload.bytes()?)?,
        Shape::Time | Shape::MicroTime => time(payload.bytes()?)?,
        Shape::Any => match member(payload.bytes()?, 1)? {
            Some(raw) => {
                let parsed = parse::json(raw.bytes()?, &mut limits.room);
                parsed.map_err(|_| WireError::Json)?.value
            }
            None => Value::Null,
        },
        Shape::Object(table) => {
            limits.room.object()?;
            let mut map = Map::new();
            message(table, 0, payload.bytes()?, &mut map, limits)?;
            Value::Object(map)
        }
        Shape::List(item) => {
            let mut list = Vec::new();
            let mut reader = Reader::new(payload.bytes()?);
            while let Some((_, payload)) = reader.next()? {
                list.push(value(item.shape(), payload, limits)?);
            }
            Value::Array(list)
        }
        Shape::Map(_) => Value::Null,
    })
}

fn int_or_string(bytes: &[u8]) -> Result<Value, WireError> {
    let is_text = member(bytes, 1)?.map_or(Ok(0), |p| p.integer())? != 0;
    let number = if is_text { 3 } else { 2 };
    match member(bytes, number)? {
        Some(payload) if is_text => Ok(payload.text()?.into()),
        Some(payload) => Ok(payload.integer()?.into()),
        None if is_text => Ok("".into()),
        None => Ok(0.into()),
    }
}

/// Decodes `metav1.Time` or `MicroTime`; an empty message is the zero time, which is null in JSON.
fn time(bytes: &[u8]) -> Result<Value, WireError> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let part = |number| member(bytes, number)?.map_or(Ok(0), |p| p.integer());
    let nanos = i32::try_from(part(2)?).map_err(|_| WireError::Time)?;
    let time = Timestamp::new(part(1)?, nanos).map_err(|_| WireError::Time)?;
    Ok(time.to_string().into())
}

/// The last occurrence of the field with this number.
fn member(bytes: &[u8], wanted: u64) -> Result<Option<Payload<'_>>, WireError> {
    let mut reader = Reader::new(bytes);
    let mut found = None;
    while let Some((number, payload)) = reader.next()? {
        if number == wanted {
            found = Some(payload);
        }
    }
    Ok(found)
}
