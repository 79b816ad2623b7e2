//! A role and a binding as JSON, one a line: what they allow is allowed by the rules that are
//! listed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pandaemon_machinery::rbac::{Identity, Policy, Request};
use serde_json::Value;

fuzz_target!(|data: &str| {
    let (role, binding) = data.split_once('\n').unwrap_or((data, ""));
    let read = |text| serde_json::from_str::<Value>(text).ok();
    let mut policy = Policy::default();
    policy.set_role("", "r", read(role).as_ref());
    policy.set_binding("", "b", read(binding).as_ref());
    let groups = ["g".to_owned()];
    let who = Identity {
        name: "u",
        groups: &groups,
    };
    let rules = policy.rules_for(who, "d").rules;
    for request in [
        Request::for_resource("get", "", ("pods", "log"), "n"),
        Request::for_path("get", "/healthz/x"),
    ] {
        let allowed = policy.decide(who, "d", &request).is_ok();
        assert_eq!(allowed, rules.iter().any(|rule| rule.allows(&request)));
    }
});
