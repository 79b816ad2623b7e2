//! `--admission-control-config-file`: the control plane checks pods as its file says.

use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::{Api, api::PostParams};
use pandaemon_testkit::ServerProcess;
use serde_json::json;

use crate::process::{PROGRAM, client};

const FILE: &str = "
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodSecurity
  configuration:
    apiVersion: pod-security.admission.config.k8s.io/v1
    kind: PodSecurityConfiguration
    defaults: {enforce: baseline}
    exemptions: {namespaces: [kube-system]}
";

#[tokio::test]
async fn pods_are_checked_as_the_file_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admission.yaml");
    std::fs::write(&file, FILE).unwrap();
    let file = file.to_str().unwrap();
    let arguments = [
        "--controllers",
        "serviceaccount",
        "--admission-control-config-file",
        file,
    ];
    let server = ServerProcess::start(PROGRAM.as_ref(), folder.path(), &arguments).unwrap();
    let client = client(&server).await;
    let parameters = PostParams::default();
    for (namespace, expected) in [("kube-system", None), ("default", Some(403))] {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
        let account = serde_json::from_value(json!({"metadata": {"name": "default"}}));
        // The controller may have been faster.
        let _exists = accounts.create(&parameters, &account.unwrap()).await;
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let pod = json!({"metadata": {"name": "p"}, "spec": {
            "hostPID": true, "containers": [{"name": "c", "image": "i"}]}});
        let pod = serde_json::from_value(pod).unwrap();
        let refused = match pods.create(&parameters, &pod).await {
            Ok(_) => None,
            Err(kube::Error::Api(status)) => Some(status.code),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(refused, expected, "{namespace}");
    }
}
