//! Versions and cipher suites of TLS.

use pandaemon_testkit::client_hello::CLIENT_HELLOS;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{harness::Server, wire::tls};

#[tokio::test]
async fn old_versions_and_weak_cipher_suites_are_refused() {
    let server = Server::start().await;
    for hello in &CLIENT_HELLOS {
        let mut stream = TcpStream::connect(server.running().address())
            .await
            .unwrap();
        stream.write_all(&hello.bytes()).await.unwrap();
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).await.unwrap();
        assert!(hello.is_answered_by(&answer), "{}: {answer:?}", hello.name);
    }
    let stream = tls(&server, None).await;
    let version = stream.get_ref().1.protocol_version();
    assert_eq!(version, Some(rustls::ProtocolVersion::TLSv1_3));
}
