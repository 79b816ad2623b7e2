//! Roles, reviews and certificate requests.

use super::{Call, Plan, USER, list, named};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/hostile/roles";
const ROLE: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/hostile/roles/hostile";

fn role(rules: &str) -> Plan {
    Plan::of(Call::post(ROLES, named(&format!(r#""rules":[{rules}]"#))))
        .creates(ROLE)
        .by_user()
}

fn rule(at: usize) -> String {
    format!(r#"{{"verbs":["get"],"apiGroups":[""],"resources":["r{at}"]}}"#)
}

pub(super) fn rules() -> Plan {
    role(&list(45_000, rule))
}

pub(super) fn combinations() -> Plan {
    let texts = |letter: char| list(21, |at| format!(r#""{letter}{at}""#));
    let rule = format!(
        r#"{{"verbs":[{}],"apiGroups":[{}],"resources":[{}]}}"#,
        texts('v'),
        texts('g'),
        texts('r')
    );
    role(&list(60, |_| rule.clone()))
}

pub(super) fn aggregation() -> Plan {
    let one = |at| format!(r#"{{"matchLabels":{{"k":"v{at}"}}}}"#);
    let selectors = list(20_000, one);
    let body = format!(
        r#"{{"metadata":{{"name":"hostile-sum"}},"aggregationRule":{{"clusterRoleSelectors":[{selectors}]}},"rules":[]}}"#
    );
    Plan::of(Call::post(format!("{RBAC}/clusterroles?dryRun=All"), body))
}

pub(super) fn subjects() -> Plan {
    let one = |at| format!(r#"{{"kind":"User","apiGroup":"x","name":"u{at}"}}"#);
    let members = format!(
        r#""roleRef":{{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"view"}},"subjects":[{}]"#,
        list(30_000, one)
    );
    let path = format!("{RBAC}/namespaces/hostile/rolebindings");
    Plan::of(Call::post(path, named(&members)))
}

pub(super) fn access_review() -> Plan {
    let groups = list(100_000, |at| format!(r#""g{at}""#));
    let body = format!(
        r#"{{"spec":{{"user":"u","groups":[{groups}],"resourceAttributes":{{"verb":"get","resource":"pods"}}}}}}"#
    );
    Plan::of(Call::post(
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        body,
    ))
}

pub(super) fn rules_review() -> Plan {
    let members = format!(r#""rules":[{}]"#, list(12_000, rule));
    let binding = format!(
        r#""roleRef":{{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"hostile"}},"subjects":[{{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"{USER}"}}]"#
    );
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    Plan::of(Call::post(path, r#"{"spec":{"namespace":"hostile"}}"#))
        .after(Call::post(ROLES, named(&members)))
        .after(Call::post(
            format!("{RBAC}/namespaces/hostile/rolebindings"),
            named(&binding),
        ))
        .creates("/apis/rbac.authorization.k8s.io/v1/namespaces/hostile/rolebindings/hostile")
        .creates(ROLE)
        .by_user()
}

pub(super) fn token_review() -> Plan {
    let body = format!(r#"{{"spec":{{"token":"{}"}}}}"#, "a.".repeat(1_500_000));
    Plan::of(Call::post(
        "/apis/authentication.k8s.io/v1/tokenreviews",
        body,
    ))
}

pub(super) fn certificate() -> Plan {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let pem = format!(
        "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
        STANDARD.encode(vec![0x30; 1_400_000])
    );
    let members = format!(
        r#""spec":{{"request":"{}","signerName":"kubernetes.io/kube-apiserver-client","usages":[{}]}}"#,
        STANDARD.encode(pem),
        list(5_000, |_| r#""client auth""#.to_owned())
    );
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    Plan::of(Call::post(path, named(&members)))
}
