//! What each party may do. Every cell of `rights/table.txt` is a request over TLS with real
//! credentials.

#[path = "rights/objects.rs"]
mod objects;
#[path = "rights/requests.rs"]
mod requests;

use pandaemon_testkit::{parties::Parties, rights_table};

const TABLE: &str = include_str!("rights/table.txt");

#[tokio::test]
async fn every_party_may_do_what_the_table_says() {
    let parties = Parties::new().await;
    objects::create(&parties).await;
    let config = parties.server.tls_config().await.unwrap();
    let request = async |verb: &str, path: &str| requests::of(&parties.server, verb, path).await;
    let rows = rights_table::check(TABLE, &parties.all, &config, request).await;
    assert!(rows > 100, "only {rows} requests");
}
