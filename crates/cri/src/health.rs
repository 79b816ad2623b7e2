//! The standard gRPC health check, for probes. It is here because gRPC is.

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
struct Answer {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// The answer that means "serving".
const SERVING: i32 = 1;

/// Asks a server whether a service of it (an empty name: all of it) is well.
///
/// # Errors
/// The kubelet's words when it is not.
pub async fn check(address: SocketAddr, service: String, limit: Duration) -> Result<(), String> {
    let ask = async {
        let endpoint =
            Endpoint::try_from(format!("http://{address}")).map_err(|error| error.to_string())?;
        let channel = endpoint.connect().await.map_err(|_| {
            format!("timeout: failed to connect service {address:?} within {limit:?}")
        })?;
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.map_err(|error| error.to_string())?;
        let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
        let codec: ProstCodec<Request, Answer> = ProstCodec::default();
        let answer = grpc
            .unary(tonic::Request::new(Request { service }), path, codec)
            .await;
        answer
            .map(|answer| answer.into_inner().status)
            .map_err(|status| format!("error: health rpc probe failed: {}", status.message()))
    };
    match tokio::time::timeout(limit, ask).await {
        Ok(Ok(SERVING)) => Ok(()),
        Ok(Ok(status)) => {
            let word = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
            let index = usize::try_from(status).unwrap_or(0);
            let word = word.get(index).copied().unwrap_or("UNKNOWN");
            Err(format!("service unhealthy (responded with {word:?})"))
        }
        Ok(Err(error)) => Err(error),
        Err(_elapsed) => Err(format!(
            "timeout: health rpc did not complete within {limit:?}"
        )),
    }
}
