//! Tests of the bounds, with a clock that stands still.

use std::{collections::VecDeque, convert::Infallible, net::Ipv4Addr, pin::Pin, task::Poll};

use http_body::{Body as _, Frame};

use super::*;

const BOUNDS: Bounds = Bounds {
    all: 100,
    unauthenticated: 40,
    unauthenticated_of_address: 30,
    of_user: 20,
    requests_of_user: 10,
    unauthenticated_idle: Duration::from_secs(10),
    idle: Duration::from_secs(90),
    unread: Duration::from_secs(60),
};

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

fn open(connections: &Connections, from: u8, count: usize) -> Vec<Arc<Connection>> {
    let open = || connections.admit(address(from)).unwrap();
    (0..count).map(|_| open()).collect()
}

fn ended(connections: &[Arc<Connection>]) -> usize {
    let ended = connections
        .iter()
        .filter(|connection| connection.closing.why.get().is_some());
    ended.count()
}

#[tokio::test]
async fn an_attacker_takes_no_connection_from_another_address() {
    let connections = Connections::new(Bounds {
        all: 2000,
        ..BOUNDS
    });
    let one = open(&connections, 1, 5);
    let attack = open(&connections, 2, 1000);
    assert_eq!(connections.count().1, 35);
    assert_eq!((ended(&one), ended(&attack)), (0, 1000 - 30));
    let others: Vec<_> = (3..13).map(|from| open(&connections, from, 1)).collect();
    // Those of the attacker give way, and the oldest first.
    assert_eq!((ended(&one), ended(&others.concat())), (0, 0));
    assert_eq!(ended(&attack), 1000 - 25);
    assert_eq!(ended(&attack[1000 - 25..]), 0);
    let why = attack[0].end().await;
    assert_eq!(why, End::TooMany);
    drop((one, attack, others));
    assert_eq!(connections.count(), (0, 0));
    assert!(connections.0.table.lock().unauthenticated.is_empty());
}

#[tokio::test]
async fn connections_of_users_are_counted_by_user_and_not_by_address() {
    let connections = Connections::new(BOUNDS);
    let nodes = open(&connections, 1, 20);
    for (at, node) in nodes.iter().enumerate() {
        node.authenticated(&format!("system:node:n{at}")).unwrap();
    }
    assert_eq!(connections.count(), (20, 0));
    // An attacker behind the same address takes none from them.
    let attack = open(&connections, 1, 1000);
    assert_eq!((ended(&nodes), ended(&attack)), (0, 1000 - 30));
    drop(attack);
    let one = open(&connections, 1, 21);
    for connection in &one[..20] {
        connection.authenticated("jane").unwrap();
    }
    assert_eq!(one[20].authenticated("jane"), Err(TooMany::Connections));
    assert_eq!(one[20].authenticated("john"), Ok(()));
    drop(one);
    assert_eq!(connections.0.table.lock().users.len(), 20);
}

#[tokio::test]
async fn a_server_full_of_users_refuses_connections() {
    let connections = Connections::new(BOUNDS);
    let mut all = Vec::new();
    for at in 0..BOUNDS.all {
        let connection = connections.admit(address(1)).unwrap();
        connection.authenticated(&format!("u{at}")).unwrap();
        all.push(connection);
    }
    assert!(connections.admit(address(2)).is_none());
    all.pop();
    let last = connections.admit(address(2)).unwrap();
    // The last place is for all who have no user yet.
    let newer = connections.admit(address(3)).unwrap();
    assert_eq!((ended(&[last]), ended(&[newer])), (1, 0));
}

#[test]
fn a_network_of_ipv6_counts_as_one_address() {
    let counted = |text: &str| counted_address(text.parse().unwrap()).to_string();
    assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    assert_eq!(counted("::ffff:10.0.0.1"), "10.0.0.1");
}

#[tokio::test]
async fn the_requests_of_a_user_are_counted_over_all_its_connections() {
    let connections = Connections::new(BOUNDS);
    let open = open(&connections, 1, 2);
    let begin = |connection: &Arc<Connection>| {
        let request = connection.begin();
        request.authenticated("jane").map(|()| request)
    };
    let mut requests: Vec<_> = (0..10).map(|at| begin(&open[at % 2]).unwrap()).collect();
    assert_eq!(begin(&open[0]).unwrap_err(), TooMany::Requests);
    assert_eq!(begin(&open[1]).unwrap_err(), TooMany::Requests);
    requests.pop();
    requests.push(begin(&open[0]).unwrap());
    drop(requests);
    let state = open[0].state.lock();
    let (_, in_progress) = state.user.as_ref().unwrap();
    assert_eq!(in_progress.load(Ordering::Relaxed), 0);
    assert_eq!((state.open, state.unread.len()), (0, 0));
}

/// Why a connection is ended, and after how many seconds.
async fn end(connection: &Connection) -> (End, u64) {
    let since = Instant::now();
    let why = connection.end().await;
    (why, since.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_ended_and_sooner_those_of_no_user() {
    let connections = Connections::new(BOUNDS);
    let open = open(&connections, 1, 2);
    assert_eq!(end(&open[0]).await, (End::Idle, 10));
    open[1].authenticated("jane").unwrap();
    let request = open[1].begin();
    // A request in progress has no deadline here: what it waits for has one.
    let waited = tokio::time::timeout(Duration::from_secs(3600), open[1].end()).await;
    assert!(waited.is_err());
    drop(request);
    assert_eq!(end(&open[1]).await, (End::Idle, 90));
    let request = open[1].begin();
    request.refuse_others();
    assert_eq!(end(&open[1]).await, (End::Refused, 0));
}

/// A body of these parts; between them it waits.
struct Parts(VecDeque<Poll<&'static [u8]>>);

impl http_body::Body for Parts {
    type Data = &'static [u8];
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<&'static [u8]>, Infallible>>> {
        match self.0.pop_front() {
            None => Poll::Ready(None),
            Some(part) => part.map(|bytes| Some(Ok(Frame::data(bytes)))),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_not_read_ends_the_connection() {
    let connections = Connections::new(BOUNDS);
    let connection = connections.admit(address(1)).unwrap();
    let body = |pace| {
        let parts = [Poll::Ready(&b"a"[..]), Poll::Pending, Poll::Ready(b"b")];
        let request = Arc::new(connection.begin());
        TrackedBody::new(Parts(parts.into()), request, pace)
    };
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut poll = |body: &mut TrackedBody<Parts>| {
        let _part = Pin::new(body).poll_frame(&mut context);
    };
    for pace in [Pace::Bounded, Pace::BoundedAtFirst] {
        let mut unread = body(pace);
        assert_eq!(
            end(&connection).await,
            (End::Unread, 60),
            "{pace:?}: the head"
        );
        poll(&mut unread);
        let waited = tokio::time::timeout(Duration::from_secs(59), connection.end()).await;
        assert!(waited.is_err(), "each part has its own time");
        assert_eq!(end(&connection).await, (End::Unread, 1), "{pace:?}: a part");
    }
    for (pace, is_ended) in [(Pace::Bounded, true), (Pace::BoundedAtFirst, false)] {
        let mut waits = body(pace);
        poll(&mut waits);
        poll(&mut waits);
        let waited = tokio::time::timeout(Duration::from_secs(3600), connection.end()).await;
        assert!(
            waited.is_err(),
            "{pace:?}: it is the server that has nothing to send"
        );
        poll(&mut waits);
        let waited = tokio::time::timeout(Duration::from_secs(3600), connection.end()).await;
        assert_eq!(waited.is_ok(), is_ended, "{pace:?}: a later part");
    }
    let mut page_by_page = body(Pace::Unbounded);
    poll(&mut page_by_page);
    let waited = tokio::time::timeout(Duration::from_secs(3600), connection.end()).await;
    assert!(waited.is_err());
}

#[tokio::test]
async fn an_upgraded_connection_counts_until_its_stream_is_closed() {
    let connections = Connections::new(BOUNDS);
    let connection = connections.admit(address(1)).unwrap();
    let (_client, server) = tokio::io::duplex(64);
    let stream = CountedStream::new(server, Arc::clone(&connection));
    drop(connection);
    assert_eq!(connections.count(), (1, 1));
    drop(stream);
    assert_eq!(connections.count(), (0, 0));
}
