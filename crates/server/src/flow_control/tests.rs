//! Waiting, seats, costs.

use serde_json::json;

use super::*;
use crate::{auth::User, cache::fixture, http::request::Query};

/// Flow control with one seat of the level `small`, for the user `eve`.
fn with_one_seat(cache: &WatchCache) -> Arc<FlowControl> {
    let kind = |resource: &str| {
        scheme::built_in()
            .find_resource(defaults::GROUP, "v1", resource)
            .unwrap()
    };
    let queuing = json!({"queues": 1, "handSize": 1, "queueLengthLimit": 5});
    let response = json!({"type": "Queue", "queuing": queuing});
    let limited = json!({"nominalConcurrencyShares": 1, "borrowingLimitPercent": 0,
        "limitResponse": response});
    let level =
        json!({"metadata": {"name": "small"}, "spec": {"type": "Limited", "limited": limited}});
    fixture::put(cache, kind("prioritylevelconfigurations"), &level);
    let rule = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"],
        "namespaces": ["*"], "clusterScope": true});
    let subject = json!({"kind": "User", "user": {"name": "eve"}});
    let schema = json!({"metadata": {"name": "small"}, "spec": {
        "priorityLevelConfiguration": {"name": "small"}, "matchingPrecedence": 300,
        "rules": [{"subjects": [subject], "resourceRules": [rule]}]}});
    fixture::put(cache, kind("flowschemas"), &schema);
    FlowControl::new(cache, Seats(6), &Metrics::default())
}

/// A request of eve. Returns its seat.
async fn enter(control: &Arc<FlowControl>, cache: &WatchCache) -> Result<Option<Seat>> {
    let user = User::known("eve", &[]);
    let attributes = Attributes {
        resource: "pods",
        ..Attributes::new(&user, "get")
    };
    let cost = Cost {
        cache,
        attributes: &attributes,
        kind: None,
        query: &Query::default(),
        body: 0,
    };
    let mut admitted = Admitted::default();
    control.enter(&attributes, cost, &mut admitted).await?;
    Ok(admitted.seat)
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_refused_and_leaves_no_place() {
    let cache = WatchCache::new(1);
    let control = with_one_seat(&cache);
    let first = enter(&control, &cache).await.unwrap();
    let began = tokio::time::Instant::now();
    let refused = enter(&control, &cache).await.unwrap_err();
    assert_eq!((refused.code, began.elapsed()), (429, MAX_WAIT));
    let details = refused.details.as_ref().unwrap();
    assert_eq!(details.retry_after_seconds, 1);
    drop(first);
    let next = tokio::time::timeout(Duration::from_millis(1), enter(&control, &cache));
    assert!(next.await.unwrap().unwrap().is_some());
    assert_eq!(control.seats.lock().waiting.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_seat_goes_to_the_next_that_still_waits() {
    let cache = WatchCache::new(1);
    let control = with_one_seat(&cache);
    let first = enter(&control, &cache).await.unwrap();
    let mut gone = Box::pin(enter(&control, &cache));
    assert!(futures::poll!(gone.as_mut()).is_pending());
    let mut last = Box::pin(enter(&control, &cache));
    assert!(futures::poll!(last.as_mut()).is_pending());
    // The turn of the second comes, and its client goes away before it hears of it.
    drop(first);
    drop(gone);
    assert!(last.await.unwrap().is_some());
    assert_eq!(
        control
            .seats
            .lock()
            .dispatcher
            .usage("small")
            .unwrap()
            .seats,
        0
    );
}

#[test]
fn the_seats_of_a_request_are_by_what_it_reads() {
    let cache = WatchCache::new(1);
    let pods = scheme::built_in().find_resource("", "v1", "pods").unwrap();
    for number in 0..950 {
        let pod = json!({"metadata": {"namespace": "d", "name": format!("p{number}")}});
        fixture::put(&cache, pods, &pod);
    }
    let seats = |verb: &'static str, query: &str, fields: &str, body: u64| {
        let user = User::known("eve", &[]);
        let selector = pandaemon_types::FieldSelector::parse(fields).unwrap();
        let attributes = Attributes {
            resource: "pods",
            api_version: "v1",
            field_selector: Some(&selector),
            ..Attributes::new(&user, verb)
        };
        let query = Query::parse(Some(query));
        let cost = Cost {
            cache: &cache,
            attributes: &attributes,
            kind: Some(pods),
            query: &query,
            body,
        };
        (cost.seats(100), cost.seats(3))
    };
    assert_eq!(seats("list", "", "", 0), (10, 3));
    assert_eq!(seats("list", "limit=250", "", 0), (3, 3));
    assert_eq!(seats("list", "limit=0", "", 0), (10, 3));
    assert_eq!(seats("list", "", "spec.nodeName=n", 0), (1, 1));
    assert_eq!(seats("watch", "", "", 0), (10, 3));
    assert_eq!(seats("watch", "resourceVersion=7", "", 0), (1, 1));
    assert_eq!(
        seats("watch", "resourceVersion=7&sendInitialEvents=true", "", 0),
        (10, 3)
    );
    assert_eq!(seats("get", "", "", 0), (1, 1));
    assert_eq!(seats("create", "", "", 3 << 20), (6, 3));
}
