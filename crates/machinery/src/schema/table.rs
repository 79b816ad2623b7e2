//! The form of the generated tables: static, and nothing in it is built when the program starts.

/// As [`super::Shape`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    String,
    Bool,
    Int32,
    Int64,
    Bytes,
    Quantity,
    IntOrString,
    Time,
    MicroTime,
    Any,
    Object(&'static Type),
    List(&'static Self),
    Map(&'static Self),
}

/// As [`super::Topology`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topology {
    Default,
    Atomic,
    Set,
    Map(&'static [&'static str]),
}

/// As [`super::Field`].
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) required: bool,
    pub(super) topology: Topology,
    pub(super) patch_merge: bool,
    pub(super) patch_retain_keys: bool,
    pub(super) patch_merge_key: &'static str,
    pub(super) omit_empty: bool,
    pub(super) number: u16,
    pub(super) default: Option<&'static str>,
}

/// As [`super::Type`].
#[derive(Debug)]
pub(super) struct Type {
    pub(super) name: &'static str,
    pub(super) fields: &'static [Field],
}
