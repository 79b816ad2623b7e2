//! A panic ends nothing for good: each controller starts again.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::{Method, Request};
use kube::{Client, client::Body};
use pandaemon_controllers::{CONTROLLER_NAMES, Options, run};
use pandaemon_testkit::Server;
use parking_lot::Mutex;

use super::whole::work;

/// A client that panics in its first read and in its first write.
fn panicking(inner: Client, name: &'static str, panicked: Arc<Mutex<BTreeSet<String>>>) -> Client {
    let (read, written) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let service = tower::service_fn(move |request: Request<Body>| {
        let (inner, panicked) = (inner.clone(), Arc::clone(&panicked));
        let (read, written) = (Arc::clone(&read), Arc::clone(&written));
        async move {
            let (what, done) = if request.method() == Method::GET {
                ("read", read)
            } else {
                ("write", written)
            };
            if !done.swap(true, Ordering::SeqCst) {
                panicked.lock().insert(format!("{name} {what}"));
                panic!("the first {what} of {name}: {}", request.uri());
            }
            inner.send(request).await
        }
    });
    Client::new(service, "default")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_controller_starts_again_after_a_panic() {
    let server = Server::start().await;
    let panicked = Arc::new(Mutex::new(BTreeSet::new()));
    for name in CONTROLLER_NAMES {
        let client = panicking(server.client(), name, Arc::clone(&panicked));
        let options = Options {
            controllers: name.parse().unwrap(),
            ca_pem: "PEM".to_owned(),
            signer: Some(server.running().signer()),
            embedded: true,
        };
        let loops = run(client, options, server.shutdown().clone());
        pandaemon_runtime::spawn("controllers", loops);
    }
    work(&server).await;
    for name in CONTROLLER_NAMES {
        for what in ["read", "write"] {
            // It deletes what is an hour old.
            if (name, what) == ("csrcleaner", "write") {
                continue;
            }
            let event = format!("{name} {what}");
            assert!(panicked.lock().contains(&event), "no panic: {event}");
        }
    }
}
