//! The schemas and levels of a server: of which flow a request is.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::{
    level::Level,
    schema::{FlowSchema, Request},
};

/// The FlowSchemas in the order in which they are asked, and the priority levels.
#[derive(Debug, Default)]
pub struct Policy {
    schemas: Vec<(FlowSchema, usize)>,
    levels: Vec<Level>,
}

/// The flow of a request.
#[derive(Debug, Clone, Copy)]
pub struct Flow<'a> {
    /// The schema that the request matches.
    pub schema: &'a FlowSchema,
    /// Its place among [`Policy::schemas`].
    pub place: usize,
    /// Its priority level.
    pub level: &'a Level,
    /// The hash of the flow.
    pub hash: u64,
}

impl Policy {
    /// A policy of these objects. Schemas that name a level which does not exist are left out, as
    /// upstream does; their status says so.
    #[must_use]
    pub fn new(schemas: Vec<FlowSchema>, levels: Vec<Level>) -> Self {
        let level_of = |schema: &FlowSchema| {
            let mut levels = levels.iter();
            levels.position(|level| level.name() == schema.level())
        };
        let mut schemas: Vec<(FlowSchema, usize)> = schemas
            .into_iter()
            .filter_map(|schema| level_of(&schema).map(|level| (schema, level)))
            .collect();
        // Of those with the same precedence the first by name decides (`FlowSchemaSequence`).
        schemas.sort_by(|(a, _), (b, _)| {
            let key = |schema: &FlowSchema| schema.spec.matching_precedence;
            key(a).cmp(&key(b)).then_with(|| a.name().cmp(b.name()))
        });
        Self { schemas, levels }
    }

    /// The schemas that count, with their levels, in the order in which they are asked.
    pub fn schemas(&self) -> impl Iterator<Item = (&FlowSchema, &Level)> {
        let schemas = self.schemas.iter();
        schemas.map(|(schema, level)| (schema, &self.levels[*level]))
    }

    /// The priority levels.
    #[must_use]
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// The flow of a request; `None` if no schema matches it.
    #[must_use]
    pub fn flow_of(&self, request: &Request<'_>) -> Option<Flow<'_>> {
        let mut schemas = self.schemas.iter();
        let place = schemas.position(|(schema, _)| schema.matches(request))?;
        let (schema, level) = &self.schemas[place];
        let mut hasher = DefaultHasher::new();
        (schema.name(), schema.distinguisher(request)).hash(&mut hasher);
        Some(Flow {
            schema,
            place,
            level: &self.levels[*level],
            hash: hasher.finish(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;
    use serde_json::{Value, json};

    use super::*;

    fn schema(name: &str, precedence: i32, level: &str, by: Option<&str>) -> FlowSchema {
        let mut value = json!({"metadata": {"name": name}, "spec": {
            "priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence,
            "rules": [{"subjects": [{"kind": "User", "user": {"name": "*"}}],
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"],
                    "namespaces": ["*"], "clusterScope": true}]}]}});
        if let Some(by) = by {
            value["spec"]["distinguisherMethod"] = json!({"type": by});
        }
        FlowSchema::deserialize(value).unwrap()
    }

    fn level(name: &str) -> Level {
        let value: Value = json!({"metadata": {"name": name}, "spec": {"limited": {}}});
        Level::deserialize(value).unwrap()
    }

    fn request<'a>(user: &'a str, namespace: &'a str) -> Request<'a> {
        Request {
            user,
            groups: &[],
            verb: "get",
            is_resource_request: true,
            api_group: "",
            resource: "pods",
            subresource: "",
            namespace,
            path: "/api/v1/pods",
        }
    }

    #[test]
    fn the_schema_of_the_lowest_precedence_that_has_a_level_decides() {
        let schemas = vec![
            schema("late", 20, "a", None),
            schema("b", 10, "a", None),
            schema("a", 10, "a", None),
            schema("dangling", 5, "gone", None),
        ];
        let policy = Policy::new(schemas, vec![level("other"), level("a")]);
        let flow = policy.flow_of(&request("ann", "d")).unwrap();
        assert_eq!((flow.schema.name(), flow.level.name()), ("a", "a"));
    }

    #[test]
    fn flows_differ_by_what_the_schema_says() {
        let hash = |by: Option<&str>, user: &str, namespace: &str| {
            let policy = Policy::new(vec![schema("s", 1, "a", by)], vec![level("a")]);
            policy.flow_of(&request(user, namespace)).unwrap().hash
        };
        for (by, users_differ, namespaces_differ) in [
            (None, false, false),
            (Some("ByUser"), true, false),
            (Some("ByNamespace"), false, true),
        ] {
            let one = hash(by, "ann", "d");
            assert_eq!(one != hash(by, "bob", "d"), users_differ, "{by:?}");
            assert_eq!(one != hash(by, "ann", "e"), namespaces_differ, "{by:?}");
        }
    }
}
