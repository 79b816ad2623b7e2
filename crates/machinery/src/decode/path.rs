//! Where in an object a reader stands: a chain of borrowed steps, so that walking costs no allocation.

use std::fmt;

/// One step down from the parent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    /// Into a field of a struct.
    Field(&'a str),
    /// Into a value of a map.
    Key(&'a str),
    /// Into an item of a list.
    Index(usize),
}

/// A position; `None` is the root.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'a> {
    /// The enclosing position.
    pub(super) parent: Option<&'a Self>,
    /// The step from there.
    pub(super) step: Step<'a>,
}

impl Path<'_> {
    /// The fields only, as Go names a position in type errors: `spec.template.spec.containers.image`.
    pub(super) fn fields(&self) -> String {
        let mut names = Vec::new();
        let mut at = Some(self);
        while let Some(path) = at {
            if let Step::Field(name) = path.step {
                names.push(name);
            }
            at = path.parent;
        }
        names.reverse();
        names.join(".")
    }
}

/// All steps, as strict decoding names a position: `spec.containers[0].image`.
impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}")?;
        }
        match self.step {
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Field(name) | Step::Key(name) if self.parent.is_some() => write!(f, ".{name}"),
            Step::Field(name) | Step::Key(name) => f.write_str(name),
        }
    }
}
