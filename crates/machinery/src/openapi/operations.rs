//! The paths of a kind and the operations on them.

use serde_json::{Map, Value, json};

use super::{
    body::Body,
    parameters::{in_path, parameter},
    version::{Version, place},
};
use crate::{Kind, Scheme, kind::Subresource};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Methods by the verbs of discovery: verb, method, `x-kubernetes-action`, first word of the
/// operation's name.
const METHODS: &[(&str, &str, &str, &str)] = &[
    ("get", "get", "get", "read"),
    ("update", "put", "put", "replace"),
    ("patch", "patch", "patch", "patch"),
    ("delete", "delete", "delete", "delete"),
];

/// The paths of a kind, each with its operations.
pub(super) fn of_kind(scheme: &Scheme, kind: &Kind, version: Version) -> Vec<(String, Value)> {
    let base = format!("/{}", place(&kind.group, &kind.version));
    let namespace = if kind.is_namespaced() {
        "/namespaces/{namespace}"
    } else {
        ""
    };
    let collection = format!("{base}{namespace}/{}", kind.plural);
    let item = format!("{collection}/{{name}}");
    let mut paths = vec![(
        collection,
        path_item(kind, version, false, collection_operations(kind, version)),
    )];
    let operations = item_operations(kind, version);
    if !operations.is_empty() {
        paths.push((item.clone(), path_item(kind, version, true, operations)));
    }
    for sub in &kind.subresources {
        let operations = subresource_operations(scheme, kind, sub, version);
        paths.push((
            format!("{item}/{}", sub.name),
            path_item(kind, version, true, operations),
        ));
    }
    if kind.is_namespaced() && kind.has_verb("list") {
        let mut list = Operation::new(
            kind,
            version,
            "list",
            "get",
            "list or watch objects of kind",
        );
        list.name_suffix = "ForAllNamespaces";
        let operations = Map::from_iter([(
            "get".to_owned(),
            list.render(&Body::None, &kind.list_type_name()),
        )]);
        let mut all = path_item(kind, version, false, operations);
        all["parameters"] = json!([parameter(version, "pretty", "string")]);
        paths.push((format!("{base}/{}", kind.plural), all));
    }
    paths
}

fn path_item(kind: &Kind, version: Version, named: bool, operations: Map<String, Value>) -> Value {
    let mut parameters = Vec::new();
    for (name, wanted) in [("name", named), ("namespace", kind.is_namespaced())] {
        if wanted {
            parameters.push(in_path(version, name, kind));
        }
    }
    parameters.push(parameter(version, "pretty", "string"));
    let mut item = operations;
    item.insert("parameters".into(), parameters.into());
    Value::Object(item)
}

fn collection_operations(kind: &Kind, version: Version) -> Map<String, Value> {
    let mut operations = Map::new();
    if kind.has_verb("list") {
        let list = Operation::new(
            kind,
            version,
            "list",
            "list",
            "list or watch objects of kind",
        );
        operations.insert(
            "get".into(),
            list.render(&Body::None, &kind.list_type_name()),
        );
    }
    if kind.has_verb("create") {
        let create = Operation::new(kind, version, "post", "create", "create a");
        operations.insert(
            "post".into(),
            create.render(&Body::Object(&kind.type_name), &kind.type_name),
        );
    }
    if kind.has_verb("deletecollection") {
        let mut delete = Operation::new(
            kind,
            version,
            "deletecollection",
            "delete",
            "delete collection of",
        );
        delete.collection = true;
        let options = format!("{META}.DeleteOptions");
        operations.insert(
            "delete".into(),
            delete.render(&Body::Object(&options), &format!("{META}.Status")),
        );
    }
    operations
}

fn item_operations(kind: &Kind, version: Version) -> Map<String, Value> {
    let operation = |(_, method, action, word): &(&str, &str, &str, &str)| {
        let operation = Operation::new(kind, version, action, word, describe(action));
        (
            (*method).to_owned(),
            operation.render(&Body::of(action, &kind.type_name), result_of(action, kind)),
        )
    };
    METHODS
        .iter()
        .filter(|(verb, ..)| kind.has_verb(verb))
        .map(operation)
        .collect()
}

fn subresource_operations(
    scheme: &Scheme,
    kind: &Kind,
    sub: &Subresource,
    version: Version,
) -> Map<String, Value> {
    let body = scheme.find_kind(&sub.group, &sub.version, &sub.kind);
    let mut methods: Vec<_> = METHODS.to_vec();
    methods.push((
        "create",
        "post",
        if body.is_some() { "post" } else { "connect" },
        "create",
    ));
    let operation = |(_, method, action, word): (&str, &str, &str, &str)| {
        let mut operation = Operation::new(kind, version, action, word, describe(action));
        operation.subresource = Some(sub);
        let type_name = body.map_or("", |body| body.type_name.as_str());
        (
            method.to_owned(),
            operation.render(&Body::of(action, type_name), type_name),
        )
    };
    methods
        .into_iter()
        .filter(|(verb, ..)| sub.has_verb(verb))
        .map(operation)
        .collect()
}

fn describe(action: &str) -> &'static str {
    match action {
        "get" => "read the specified",
        "put" => "replace the specified",
        "patch" => "partially update the specified",
        "delete" => "delete a",
        "connect" => "connect requests to",
        _ => "create",
    }
}

fn result_of<'k>(action: &str, kind: &'k Kind) -> &'k str {
    match action {
        "delete" if !kind.strategy.returns_deleted_object() => {
            "io.k8s.apimachinery.pkg.apis.meta.v1.Status"
        }
        _ => &kind.type_name,
    }
}

struct Operation<'a> {
    kind: &'a Kind,
    version: Version,
    action: &'a str,
    word: &'a str,
    description: &'a str,
    subresource: Option<&'a Subresource>,
    collection: bool,
    name_suffix: &'a str,
}

impl<'a> Operation<'a> {
    fn new(
        kind: &'a Kind,
        version: Version,
        action: &'a str,
        word: &'a str,
        description: &'a str,
    ) -> Self {
        let word = if action == "list" { "list" } else { word };
        Self {
            kind,
            version,
            action,
            word,
            description,
            subresource: None,
            collection: false,
            name_suffix: "",
        }
    }

    fn render(&self, body: &Body<'_>, result: &str) -> Value {
        let (group, version, kind) = match self.subresource {
            Some(sub) => (&sub.group, &sub.version, &sub.kind),
            None => (&self.kind.group, &self.kind.version, &self.kind.kind),
        };
        let mut parameters: Vec<Value> = self
            .query()
            .iter()
            .map(|(name, kind)| parameter(self.version, name, kind))
            .collect();
        let mut operation = json!({
            "description": format!("{} {}", self.description, self.kind.kind),
            "operationId": self.operation_id(),
            "tags": [format!("{}_{}", lower_first(&self.group_name()), self.kind.version)],
            "x-kubernetes-action": self.action,
            "x-kubernetes-group-version-kind": {"group": group, "kind": kind, "version": version},
        });
        if self.version == Version::V2 {
            operation["consumes"] = body.media_types(self.kind).into();
            operation["produces"] = json!(["application/json", "application/yaml"]);
            if let Some(name) = body.type_name() {
                parameters.push(json!({
                    "name": "body", "in": "body", "required": self.action != "delete",
                    "schema": self.version.reference(name),
                }));
            }
        } else if let Some(name) = body.type_name() {
            let schema = self.version.reference(name);
            let content: Map<String, Value> = body
                .media_types(self.kind)
                .iter()
                .map(|media| ((*media).to_owned(), json!({"schema": schema})))
                .collect();
            operation["requestBody"] = json!({"content": content});
            if self.action != "delete" {
                operation["requestBody"]["required"] = true.into();
            }
        }
        operation["parameters"] = parameters.into();
        operation["responses"] = self.responses(result);
        operation
    }

    fn responses(&self, result: &str) -> Value {
        let answer = |text: &str| match (result, self.version) {
            ("", _) => json!({"description": text}),
            (_, Version::V2) => {
                json!({"description": text, "schema": self.version.reference(result)})
            }
            (_, Version::V3) => {
                let content = json!({"schema": self.version.reference(result)});
                json!({"description": text, "content": {"application/json": content, "application/yaml": content}})
            }
        };
        let mut responses = json!({"200": answer("OK"), "401": {"description": "Unauthorized"}});
        if matches!(self.action, "post" | "put" | "patch") {
            responses["201"] = answer("Created");
        }
        responses
    }

    /// Query parameters: name, type.
    fn query(&self) -> Vec<(&'static str, &'static str)> {
        const WRITE: &[(&str, &str)] = &[
            ("dryRun", "string"),
            ("fieldManager", "string"),
            ("fieldValidation", "string"),
        ];
        const SELECT: &[(&str, &str)] = &[
            ("allowWatchBookmarks", "boolean"),
            ("continue", "string"),
            ("fieldSelector", "string"),
            ("labelSelector", "string"),
            ("limit", "integer"),
            ("resourceVersion", "string"),
            ("resourceVersionMatch", "string"),
            ("sendInitialEvents", "boolean"),
            ("timeoutSeconds", "integer"),
            ("watch", "boolean"),
        ];
        const DELETE: &[(&str, &str)] = &[
            ("dryRun", "string"),
            ("gracePeriodSeconds", "integer"),
            ("orphanDependents", "boolean"),
            ("propagationPolicy", "string"),
        ];
        match self.action {
            "post" | "put" => WRITE.to_vec(),
            "patch" => [WRITE, &[("force", "boolean")]].concat(),
            "delete" => DELETE.to_vec(),
            "list" => SELECT.to_vec(),
            "deletecollection" => {
                let select = SELECT
                    .iter()
                    .filter(|(name, _)| !matches!(*name, "allowWatchBookmarks" | "watch"));
                DELETE.iter().chain(select).copied().collect()
            }
            _ => Vec::new(),
        }
    }

    /// The group as operations name it: `Apps`, `Events`, `ExampleCom` (upstream's
    /// `ToValidOperationID`).
    fn group_name(&self) -> String {
        let group = self.kind.group.as_str();
        let group = group.strip_suffix(".k8s.io").unwrap_or(group);
        let group = if group.is_empty() { "core" } else { group };
        let words = group.split(|c: char| !c.is_ascii_alphanumeric());
        words.map(capital).collect()
    }

    /// The `operationId`, such as `readAppsV1NamespacedDaemonSetStatus`.
    fn operation_id(&self) -> String {
        let mut id = self.word.to_owned() + &self.group_name() + &capital(&self.kind.version);
        if self.collection {
            id.push_str("Collection");
        }
        if self.kind.is_namespaced() && self.name_suffix.is_empty() {
            id.push_str("Namespaced");
        }
        id.push_str(&self.kind.kind);
        if let Some(sub) = self.subresource {
            id.push_str(&capital(&sub.name));
        }
        id + self.name_suffix
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}
