//! Circles between the files of a crate: a file that uses names of a file that uses its names,
//! directly or by way of others.
//!
//! An edge goes from a file to the file that defines what a path names: re-exports are followed.
//! `mod` lines are no edges, and a file may use what the file above its folder defines (`super::`):
//! the two are read together. Code under
//! `#[cfg(test)]` does not count, nor do the arguments of macros.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use syn::{
    Attribute, Ident, Item, ItemMod, UseTree,
    visit::{Visit, visit_item, visit_path},
};

/// A module's path below the crate's root; the root's is empty.
type Module = Vec<String>;

/// Which files each file of a crate uses.
type Edges = BTreeMap<PathBuf, BTreeSet<PathBuf>>;

/// The circles of the crate whose root file is given, each as the sorted list of its files.
///
/// # Errors
/// When a file cannot be read or is no Rust.
pub(crate) fn find(root: &Path) -> Result<Vec<Vec<PathBuf>>> {
    let mut files = BTreeMap::new();
    collect(root, &Vec::new(), &mut files)?;
    Ok(circles(&edges(&files)))
}

/// A module's file and what is in it.
struct Source {
    path: PathBuf,
    syntax: syn::File,
    /// What its `use` lines bring into the module, and the path behind each name.
    uses: BTreeMap<String, Vec<String>>,
}

/// Reads a module's file and those of its children.
fn collect(path: &Path, module: &Module, files: &mut BTreeMap<Module, Source>) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let syntax = syn::parse_file(&text).with_context(|| format!("parse {}", path.display()))?;
    let folder = if module.is_empty() {
        path.parent().unwrap_or(path).to_owned()
    } else {
        path.with_extension("")
    };
    for item in &syntax.items {
        let Item::Mod(child) = item else { continue };
        let file = folder.join(format!("{}.rs", child.ident));
        if child.content.is_none() && !is_test(&child.attrs) && file.is_file() {
            let mut below = module.clone();
            below.push(child.ident.to_string());
            collect(&file, &below, files)?;
        }
    }
    let mut uses = Vec::new();
    for item in &syntax.items {
        if let Item::Use(item) = item {
            leaves(&item.tree, &mut Vec::new(), &mut uses);
        }
    }
    let source = Source {
        path: path.to_owned(),
        uses: uses.into_iter().collect(),
        syntax,
    };
    files.insert(module.clone(), source);
    Ok(())
}

/// The names that a `use` brings in, each with the path that it stands for.
fn leaves(tree: &UseTree, words: &mut Vec<String>, found: &mut Vec<(String, Vec<String>)>) {
    let mut leaf = |ident: &Ident, name: &Ident| {
        let mut path = words.clone();
        if ident != "self" {
            path.push(ident.to_string());
        }
        found.push((name.to_string(), path));
    };
    match tree {
        UseTree::Path(path) => {
            words.push(path.ident.to_string());
            leaves(&path.tree, words, found);
            words.pop();
        }
        UseTree::Name(name) => leaf(&name.ident, &name.ident),
        UseTree::Rename(rename) => leaf(&rename.ident, &rename.rename),
        UseTree::Group(group) => {
            for tree in &group.items {
                leaves(tree, words, found);
            }
        }
        _ => found.push(("*".to_owned(), words.clone())),
    }
}

/// Whether an item exists in tests only.
pub(super) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute
                    .parse_args::<Ident>()
                    .is_ok_and(|word| word == "test")
    })
}

fn edges(files: &BTreeMap<Module, Source>) -> Edges {
    let mut edges = Edges::new();
    for (module, source) in files {
        let mut reader = Reader {
            files,
            module: module.clone(),
            found: BTreeSet::new(),
        };
        reader.visit_file(&source.syntax);
        reader.found.remove(&source.path);
        edges.insert(source.path.clone(), reader.found);
    }
    edges
}

/// Gathers the files that the paths in one file lead to.
struct Reader<'a> {
    files: &'a BTreeMap<Module, Source>,
    /// The module that is being read: the file's, or one that stands in the file.
    module: Module,
    found: BTreeSet<PathBuf>,
}

impl Reader<'_> {
    fn note(&mut self, words: &[String]) {
        let Some(module) = resolve(self.files, &self.module, words, FOLLOWED) else {
            return;
        };
        if !self.module.starts_with(&module) {
            self.found.insert(self.files[&module].path.clone());
        }
    }
}

/// How many re-exports are followed to where a name is defined.
const FOLLOWED: usize = 8;

/// The module whose file defines what a path names, if it is of this crate.
fn resolve(
    files: &BTreeMap<Module, Source>,
    module: &[String],
    words: &[String],
    followed: usize,
) -> Option<Module> {
    let (first, rest) = words.split_first()?;
    let mut rest = rest;
    let mut target = match first.as_str() {
        "crate" => Vec::new(),
        "self" => module.to_vec(),
        "super" => module.split_last()?.1.to_vec(),
        child => {
            let mut target = module.to_vec();
            target.push(child.to_owned());
            files.contains_key(&target).then_some(target)?
        }
    };
    while let Some((word, after)) = rest.split_first() {
        if word == "super" {
            target.pop()?;
        } else {
            target.push(word.clone());
            if !files.contains_key(&target) {
                target.pop();
                break;
            }
        }
        rest = after;
    }
    // A module that stands in a file belongs to the file.
    while !files.contains_key(&target) {
        target.pop()?;
    }
    let passed_on = rest.first().and_then(|name| files[&target].uses.get(name));
    match passed_on.filter(|_| followed > 0) {
        Some(path) => resolve(files, &target, path, followed - 1),
        None => Some(target),
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if !is_test(attributes) {
            visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if let Some((_, items)) = item.content.as_ref().filter(|_| !is_test(&item.attrs)) {
            self.module.push(item.ident.to_string());
            items.iter().for_each(|item| self.visit_item(item));
            self.module.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut found = Vec::new();
        leaves(&item.tree, &mut Vec::new(), &mut found);
        found.iter().for_each(|(_, words)| self.note(words));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let words: Vec<String> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        if words.len() > 1 {
            self.note(&words);
        }
        visit_path(self, path);
    }
}

/// The groups of files that reach each other: two files are in a circle when each can be reached
/// from the other.
fn circles(edges: &Edges) -> Vec<Vec<PathBuf>> {
    let reach: BTreeMap<&PathBuf, BTreeSet<&PathBuf>> = edges
        .keys()
        .map(|file| (file, reachable(edges, file)))
        .collect();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (file, there) in &reach {
        let circle: Vec<PathBuf> = there
            .iter()
            .filter(|other| reach[**other].contains(*file))
            .map(|other| (*other).clone())
            .collect();
        if there.contains(*file) && seen.insert(circle.clone()) {
            found.push(circle);
        }
    }
    found
}

/// The files that one leads to; itself only by way of others.
fn reachable<'a>(edges: &'a Edges, from: &PathBuf) -> BTreeSet<&'a PathBuf> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&PathBuf> = edges[from].iter().collect();
    while let Some(file) = open.pop() {
        if found.insert(file) {
            open.extend(&edges[file]);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles_of(sources: &[(&str, &str)]) -> Vec<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in sources {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let name = |path: &PathBuf| {
            let name = path.strip_prefix(folder.path()).unwrap();
            name.display().to_string()
        };
        let found = find(&folder.path().join("lib.rs")).unwrap();
        found
            .iter()
            .map(|circle| circle.iter().map(name).collect())
            .collect()
    }

    #[test]
    fn files_that_use_each_other_are_a_circle() {
        let sources = [
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            ("a.rs", "use crate::{b::B, d::D}; pub struct A;"),
            ("b.rs", "pub struct B; fn b() { crate::c::c() }"),
            ("c.rs", "pub fn c() -> super::a::A { todo!() }"),
            ("d.rs", "pub struct D;"),
        ];
        assert_eq!(circles_of(&sources), [["a.rs", "b.rs", "c.rs"]]);
    }

    #[test]
    fn a_child_may_use_its_parent_and_re_exports_are_followed() {
        let sources = [
            ("lib.rs", "mod a; mod c; pub use a::A;"),
            (
                "a.rs",
                "mod b; pub use b::B; pub struct A; fn f() { b::g(); crate::c::c() }",
            ),
            ("a/b.rs", "use super::A; pub struct B; pub fn g() {}"),
            ("c.rs", "use crate::a::B; pub fn c() {}"),
        ];
        assert!(circles_of(&sources).is_empty());
        let circle = [
            ("lib.rs", "mod a; mod c; pub use a::A;"),
            ("a.rs", "pub struct A; fn f() { crate::c::c() }"),
            ("c.rs", "use crate::A; pub fn c() {}"),
        ];
        assert_eq!(circles_of(&circle), [["a.rs", "c.rs"]]);
    }

    #[test]
    fn tests_and_mod_lines_are_no_edges() {
        let sources = [
            ("lib.rs", "mod a; mod b; pub use a::A;"),
            (
                "a.rs",
                "use crate::b::B; pub struct A; #[cfg(test)] mod t { use crate::A; }",
            ),
            (
                "b.rs",
                "pub struct B; #[cfg(test)] use crate::a::A; #[test] fn t() { crate::a::x() }",
            ),
        ];
        assert!(circles_of(&sources).is_empty());
    }
}
