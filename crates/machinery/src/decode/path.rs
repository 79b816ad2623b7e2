//! The path from the root of an object to a value, as a chain of borrowed steps: a walk allocates
//! nothing.

use std::fmt;

/// One step of a path.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    /// A field of a struct.
    Field(&'a str),
    /// A key of a map.
    Key(&'a str),
    /// The index of a list item, from 0.
    Index(usize),
}

/// A path that is not empty.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'a> {
    /// The path of the enclosing value; `None` for the root.
    pub(super) parent: Option<&'a Self>,
    /// The last step.
    pub(super) step: Step<'a>,
}

impl Path<'_> {
    /// Whether it is `metadata.managedFields` of the object. An empty list there is not the same as
    /// none: it resets them.
    pub(super) fn is_managed_fields(&self) -> bool {
        let parent = self.parent.filter(|parent| parent.parent.is_none());
        matches!(self.step, Step::Field("managedFields"))
            && parent.is_some_and(|parent| matches!(parent.step, Step::Field("metadata")))
    }

    /// How many values enclose the value.
    pub(super) fn depth(&self) -> usize {
        std::iter::successors(Some(self), |path| path.parent).count()
    }

    /// The fields without keys and indices, as in Go's type errors:
    /// `spec.template.spec.containers.image`.
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

/// All steps, as in errors of strict decoding: `spec.containers[0].image`.
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
