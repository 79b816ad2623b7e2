//! The standard gRPC health check (`grpc.health.v1`), for gRPC probes.

use std::{net::SocketAddr, time::Duration};

use http::uri::PathAndQuery;
use tonic::{client::Grpc, transport::Endpoint};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, prost::Message)]
struct Request {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Response {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: i32 = 1;

/// Asks a server for the health of a service; an empty name means the server as a whole.
///
/// # Errors
/// If it is not serving, with the message of the kubelet's gRPC probe.
pub async fn check(address: SocketAddr, service: String, limit: Duration) -> Result<(), String> {
    let check = async {
        let endpoint =
            Endpoint::try_from(format!("http://{address}")).map_err(|error| error.to_string())?;
        let channel = endpoint.connect().await.map_err(|_| {
            format!("timeout: failed to connect service {address:?} within {limit:?}")
        })?;
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.map_err(|error| error.to_string())?;
        let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
        let codec: ProstCodec<Request, Response> = ProstCodec::default();
        let response = grpc
            .unary(tonic::Request::new(Request { service }), path, codec)
            .await;
        response
            .map(|response| response.into_inner().status)
            .map_err(|status| format!("error: health rpc probe failed: {}", status.message()))
    };
    match tokio::time::timeout(limit, check).await {
        Ok(Ok(SERVING)) => Ok(()),
        Ok(Ok(status)) => {
            let names = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
            let index = usize::try_from(status).unwrap_or(0);
            let name = names.get(index).copied().unwrap_or("UNKNOWN");
            Err(format!("service unhealthy (responded with {name:?})"))
        }
        Ok(Err(error)) => Err(error),
        Err(_elapsed) => Err(format!(
            "timeout: health rpc did not complete within {limit:?}"
        )),
    }
}
