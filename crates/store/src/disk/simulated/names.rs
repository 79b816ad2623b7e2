//! The names of a simulated directory, and changes of them.

use std::collections::BTreeMap;

/// A change of names that is not durable yet.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Name(String, usize),
    Rename(String, String, usize),
    Remove(String),
    Directory(String),
}

impl Change {
    /// The directory whose sync makes it durable.
    pub(super) fn directory(&self) -> &str {
        match self {
            Self::Name(name, _) | Self::Rename(name, ..) | Self::Remove(name) => {
                name.split_once('/').map_or("", |(directory, _)| directory)
            }
            Self::Directory(_) => "",
        }
    }

    pub(super) fn apply(self, names: &mut Names) {
        match self {
            Self::Name(name, inode) => {
                names.files.insert(name, inode);
            }
            Self::Rename(from, to, inode) => {
                if names.files.get(&from) == Some(&inode) {
                    names.files.remove(&from);
                }
                names.files.insert(to, inode);
            }
            Self::Remove(name) => {
                names.files.remove(&name);
            }
            Self::Directory(name) => names.directories.push(name),
        }
    }
}

/// The names in a directory and in those below it.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// Whether the directory exists.
    pub(super) exists: bool,
    /// The numbers of the files, by their names.
    pub(super) files: BTreeMap<String, usize>,
    pub(super) directories: Vec<String>,
}

impl Names {
    /// What cannot be reached is not there.
    pub(super) fn clean(&mut self) {
        if !self.exists {
            *self = Self::default();
        }
        let directories = &self.directories;
        self.files.retain(|name, _| {
            let below = name.split_once('/');
            below.is_none_or(|(directory, _)| directories.iter().any(|known| known == directory))
        });
    }
}
