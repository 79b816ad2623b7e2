//! Services, their endpoints, Events, queries, and bodies of requests that create nothing.

use super::{Call, MAPS, POD, PODS, Plan, list, named};

const SERVICES: &str = "/api/v1/namespaces/hostile/services";
const SERVICE: &str = "/api/v1/namespaces/hostile/services/hostile";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/hostile/endpointslices";
const SLICE: &str = "/apis/discovery.k8s.io/v1/namespaces/hostile/endpointslices/hostile";

pub(super) fn ports() -> Plan {
    let one = |_| r#"{"name":"p","port":80}"#.to_owned();
    let members = format!(r#""spec":{{"ports":[{}]}}"#, list(40_000, one));
    Plan::of(Call::post(SERVICES, named(&members))).creates(SERVICE)
}

pub(super) fn source_ranges() -> Plan {
    let ranges = list(40_000, |_| r#""10.0.0.0/33""#.to_owned());
    let members = format!(
        r#""spec":{{"type":"LoadBalancer","ports":[{{"port":80}}],"loadBalancerSourceRanges":[{ranges}],"externalIPs":[{ranges}]}}"#
    );
    Plan::of(Call::post(SERVICES, named(&members))).creates(SERVICE)
}

fn slice(members: &str) -> Plan {
    let members = format!(r#""addressType":"IPv4",{members}"#);
    Plan::of(Call::post(SLICES, named(&members))).creates(SLICE)
}

pub(super) fn endpoints() -> Plan {
    let one = |_| r#"{"addresses":["10.0.0.1","10.0.0.300"]}"#.to_owned();
    slice(&format!(r#""endpoints":[{}]"#, list(40_000, one)))
}

pub(super) fn slice_ports() -> Plan {
    let one = |_| r#"{"name":"p","port":1}"#.to_owned();
    slice(&format!(
        r#""endpoints":[],"ports":[{}]"#,
        list(45_000, one)
    ))
}

pub(super) fn event() -> Plan {
    let members = format!(
        r#""involvedObject":{{"namespace":"hostile","name":"x"}},"message":"{}""#,
        "m".repeat(3_000_000)
    );
    Plan::of(Call::post(
        "/api/v1/namespaces/hostile/events",
        named(&members),
    ))
}

pub(super) fn label_selector() -> Plan {
    Plan::of(Call::get(format!(
        "/api/v1/pods?labelSelector={}",
        list(12_000, |at| format!("{at:x}"))
    )))
}

pub(super) fn field_selector() -> Plan {
    let terms = list(2_500, |at| format!("metadata.name!={at:x}"));
    Plan::of(Call::get(format!("/api/v1/pods?fieldSelector={terms}")))
}

pub(super) fn query() -> Plan {
    Plan::of(Call::get(format!("/api/v1/pods?{}", "a=&".repeat(20_000))))
}

pub(super) fn namespace() -> Plan {
    Plan::of(Call::get(format!(
        "/api/v1/namespaces/{}/pods",
        "n".repeat(60_000)
    )))
}

pub(super) fn deletion() -> Plan {
    let body = format!(r#"{{"x":[{}]}}"#, list(250_000, |_| r#"{"":1}"#.to_owned()));
    let path = format!("{MAPS}?labelSelector=none=there");
    Plan::of(Call::new("DELETE", path, "application/json", body))
}

pub(super) fn binding() -> Plan {
    let annotations = list(80_000, |at| format!(r#""a {at}":"b""#));
    let body = format!(
        r#"{{"metadata":{{"name":"hostile","annotations":{{{annotations}}}}},"target":{{"kind":"Node","name":"n"}}}}"#
    );
    let pod = named(r#""spec":{"containers":[{"name":"c","image":"i"}]}"#);
    Plan::of(Call::post(format!("{POD}/binding"), body))
        .after(Call::post(PODS, pod))
        .creates(POD)
}
