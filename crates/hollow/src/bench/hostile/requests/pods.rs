//! Pods and DaemonSets with lists that are too long.

use super::{Call, POD, PODS, Plan, SET, SETS, list, named};

fn pod(spec: &str) -> Plan {
    Plan::of(Call::post(PODS, named(&format!(r#""spec":{{{spec}}}"#)))).creates(POD)
}

fn container(members: &str) -> Plan {
    pod(&format!(
        r#""containers":[{{"name":"c","image":"i",{members}}}]"#
    ))
}

pub(super) fn containers() -> Plan {
    let one = |at| format!(r#"{{"name":"c{at}","image":"i"}}"#);
    pod(&format!(r#""containers":[{}]"#, list(45_000, one)))
}

pub(super) fn empty_containers() -> Plan {
    pod(&format!(
        r#""containers":[{}]"#,
        list(1_000_000, |_| "{}".to_owned())
    ))
}

pub(super) fn variables() -> Plan {
    let one = |_| r#"{"name":"A","value":"b"}"#.to_owned();
    container(&format!(r#""env":[{}]"#, list(40_000, one)))
}

pub(super) fn volumes() -> Plan {
    let one = |_| r#"{"name":"v","emptyDir":{}}"#.to_owned();
    pod(&format!(
        r#""containers":[{{"name":"c","image":"i"}}],"volumes":[{}]"#,
        list(24_000, one)
    ))
}

pub(super) fn mounts() -> Plan {
    let one = |_| r#"{"name":"v","mountPath":"/a"}"#.to_owned();
    container(&format!(r#""volumeMounts":[{}]"#, list(40_000, one)))
}

pub(super) fn ports() -> Plan {
    let one = |_| r#"{"name":"p","containerPort":1,"hostPort":1}"#.to_owned();
    container(&format!(r#""ports":[{}]"#, list(45_000, one)))
}

pub(super) fn spread() -> Plan {
    let one = |_| r#"{"maxSkew":1,"topologyKey":"z","whenUnsatisfiable":"A"}"#.to_owned();
    pod(&format!(
        r#""containers":[{{"name":"c","image":"i"}}],"topologySpreadConstraints":[{}]"#,
        list(45_000, one)
    ))
}

pub(super) fn quantity() -> Plan {
    let digits = "9".repeat(1_000_000);
    container(&format!(
        r#""resources":{{"limits":{{"cpu":"{digits}","memory":"1e{digits}"}}}}"#
    ))
}

pub(super) fn sysctls() -> Plan {
    let one = |_| r#"{"name":"kernel.a","value":"b"}"#.to_owned();
    pod(&format!(
        r#""containers":[{{"name":"c","image":"i"}}],"securityContext":{{"sysctls":[{}]}}"#,
        list(45_000, one)
    ))
}

/// A DaemonSet with this selector and these members of the pod's spec.
fn set(selector: &str, spec: &str) -> Plan {
    let template = format!(
        r#"{{"metadata":{{"labels":{{"a":"b"}}}},"spec":{{"containers":[{{"name":"c","image":"i"}}]{spec}}}}}"#
    );
    let members = format!(r#""spec":{{"selector":{{{selector}}},"template":{template}}}"#);
    Plan::of(Call::post(SETS, named(&members))).creates(SET)
}

const LABELS: &str = r#""matchLabels":{"a":"b"}"#;

pub(super) fn tolerations() -> Plan {
    let one = |at| format!(r#"{{"key":"k{at}","operator":"Exists","effect":"x"}}"#);
    set(
        LABELS,
        &format!(r#","tolerations":[{}]"#, list(45_000, one)),
    )
}

pub(super) fn selector_terms() -> Plan {
    let one = |_| r#"{"key":"a b","operator":"In","values":["c"]}"#.to_owned();
    set(
        &format!(r#""matchExpressions":[{}]"#, list(45_000, one)),
        "",
    )
}

pub(super) fn selector_labels() -> Plan {
    set(
        &format!(
            r#""matchLabels":{{{}}}"#,
            list(100_000, |at| format!(r#""k{at}":"v""#))
        ),
        "",
    )
}

pub(super) fn affinity() -> Plan {
    let one =
        |_| r#"{"matchExpressions":[{"key":"a b","operator":"In","values":["c"]}]}"#.to_owned();
    let terms = list(24_000, one);
    set(
        LABELS,
        &format!(
            r#","affinity":{{"nodeAffinity":{{"requiredDuringSchedulingIgnoredDuringExecution":{{"nodeSelectorTerms":[{terms}]}}}}}}"#
        ),
    )
}
