//! The endpoints of the Service `default/kubernetes`.

use pandaemon_testkit::server::ServerOptions;
use serde_json::{Value, json};

use crate::harness::Server;

const SERVICE: &str = "/api/v1/namespaces/default/services/kubernetes";
const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints/kubernetes";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

async fn advertising(ip: [u8; 4]) -> Server {
    let options = ServerOptions {
        advertise_address: Some(ip.into()),
        ..ServerOptions::default()
    };
    Server::start_with(options).await.unwrap()
}

/// Waits until Endpoints, slice and Service lead to this address.
async fn until_they_lead_to(server: &Server, ip: &str, port: u16) {
    let ports = json!([{"name": "https", "port": port, "protocol": "TCP"}]);
    let subsets = json!([{"addresses": [{"ip": ip}], "ports": ports}]);
    let labels = json!({"endpointslice.kubernetes.io/skip-mirror": "true"});
    server
        .until(ENDPOINTS, |found| {
            found["subsets"] == subsets && found["metadata"]["labels"] == labels
        })
        .await;
    let endpoints = json!([{"addresses": [ip], "conditions": {"ready": true}}]);
    let labels = json!({"kubernetes.io/service-name": "kubernetes"});
    server
        .until(&format!("{SLICES}/kubernetes"), |found| {
            found["endpoints"] == endpoints
                && found["ports"] == ports
                && found["addressType"] == "IPv4"
                && found["metadata"]["labels"] == labels
        })
        .await;
    let (_, service) = server.get(SERVICE).await;
    assert_eq!(service["spec"]["ports"][0]["targetPort"], port, "{service}");
    assert_eq!(service["spec"]["clusterIP"], "10.96.0.1");
}

async fn version(server: &Server, path: &str) -> Value {
    server.get(path).await.1["metadata"]["resourceVersion"].take()
}

#[tokio::test]
async fn the_kubernetes_service_leads_to_the_advertised_address() {
    let server = advertising([192, 0, 2, 7]).await;
    let own = server.running().address();
    until_they_lead_to(&server, "192.0.2.7", own.port()).await;
    // An additional listener, as `up` has one for its nodes, has another address and port.
    let other = ([198, 51, 100, 9], 16443).into();
    assert!(server.running().advertise(other));
    until_they_lead_to(&server, "198.51.100.9", 16443).await;
}

#[tokio::test]
async fn endpoints_of_the_kubernetes_service_that_were_changed_are_restored() {
    let server = advertising([192, 0, 2, 7]).await;
    let own = server.running().address();
    let again = || {
        server
            .running()
            .advertise(([192, 0, 2, 7], own.port()).into())
    };
    until_they_lead_to(&server, "192.0.2.7", own.port()).await;
    let foreign = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv6",
        "metadata": {"name": "k6", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "endpoints": [{"addresses": ["fd00::1"]}],
    });
    let unrelated = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": [{"addresses": ["192.0.2.80"]}],
    });
    server.create(SLICES, unrelated).await;
    server.create(SLICES, foreign).await;
    server.delete(ENDPOINTS, json!({})).await;
    server
        .delete(&format!("{SLICES}/kubernetes"), json!({}))
        .await;
    server.delete(SERVICE, json!({})).await;
    assert!(again());
    until_they_lead_to(&server, "192.0.2.7", own.port()).await;
    let slices = server.items(SLICES).await;
    let names: Vec<&Value> = slices.iter().map(|one| &one["metadata"]["name"]).collect();
    assert_eq!(names, ["kubernetes", "web-1"]);

    let path = format!("{SLICES}/kubernetes");
    let endpoints = version(&server, ENDPOINTS).await;
    let slice = version(&server, &path).await;
    // The second restoration ends a round that has looked at Endpoints and slice.
    for _ in 0..2 {
        server.delete(SERVICE, json!({})).await;
        assert!(again());
        server
            .until(SERVICE, |found| {
                found["spec"]["ports"][0]["targetPort"] == own.port()
            })
            .await;
    }
    assert_eq!(endpoints, version(&server, ENDPOINTS).await);
    assert_eq!(slice, version(&server, &path).await);
}

#[tokio::test]
async fn an_address_that_no_other_machine_reaches_is_not_advertised() {
    let server = Server::start().await;
    assert!(!server.running().advertise(([127, 0, 0, 1], 6443).into()));
    assert!(
        !server
            .running()
            .advertise("[fd00::1]:6443".parse().unwrap())
    );
    assert!(server.running().advertise(([192, 0, 2, 1], 6443).into()));
    assert!(!server.running().advertise(([169, 254, 0, 1], 1).into()));
    until_they_lead_to(&server, "192.0.2.1", 6443).await;

    for ip in [[127, 0, 0, 1], [0, 0, 0, 0], [169, 254, 1, 1]] {
        let options = ServerOptions {
            advertise_address: Some(ip.into()),
            ..ServerOptions::default()
        };
        let refused = Server::start_with(options).await.map(drop);
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("other machines cannot reach"), "{said}");
    }
}
