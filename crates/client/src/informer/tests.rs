//! Tests of the informer.

use super::*;
use crate::object_meta::{ObjectMeta, PartialObjectMetadata};

fn object(name: &str) -> PartialObjectMetadata {
    PartialObjectMetadata {
        metadata: ObjectMeta {
            name: name.to_owned(),
            ..ObjectMeta::default()
        },
    }
}

#[tokio::test]
async fn a_slow_subscriber_gets_the_list_again() {
    let informer = Informer::detached();
    let mut slow = informer.subscribe();
    informer.feed(Delta::Listed(vec![object("a")]));
    for index in 0..PENDING {
        informer.feed(Delta::Applied(object(&format!("b{index}"))));
    }
    informer.feed(Delta::Deleted(object("a")));
    let mut lists = Vec::new();
    for _ in 0..=PENDING {
        if let Delta::Listed(items) = slow.next().await {
            lists.push(items.len());
        }
    }
    assert_eq!(lists, [1, PENDING]);
}

#[tokio::test]
async fn a_late_subscriber_starts_with_the_list() {
    let informer = Informer::detached();
    informer.feed(Delta::Listed(vec![object("a")]));
    informer.synced().await;
    let mut late = informer.subscribe();
    informer.feed(Delta::Applied(object("b")));
    assert!(matches!(late.next().await, Delta::Listed(items) if items.len() == 1));
    assert!(matches!(late.next().await, Delta::Applied(item) if item.metadata.name == "b"));
    assert!(informer.get(&Key::new("", "b")).is_some());
}

fn with_uid(name: &str, uid: &str) -> PartialObjectMetadata {
    let mut object = object(name);
    object.metadata.uid = uid.to_owned();
    object
}

#[tokio::test]
async fn a_deletion_goes_by_uid_and_not_by_name() {
    let informer = Informer::detached();
    informer.feed(Delta::Listed(vec![with_uid("a", "1")]));
    let mut subscription = informer.subscribe();
    informer.feed(Delta::Applied(with_uid("a", "2")));
    informer.feed(Delta::Deleted(with_uid("a", "1")));
    assert_eq!(informer.list()[0].metadata.uid, "2");
    informer.feed(Delta::Applied(object("end")));
    let mut told = Vec::new();
    while told.last().is_none_or(|last| last != "applied end ") {
        told.push(match subscription.next().await {
            Delta::Listed(all) => format!("listed {}", all.len()),
            Delta::Applied(one) => {
                format!("applied {} {}", one.metadata.name, one.metadata.uid)
            }
            Delta::Deleted(one) => {
                format!("deleted {} {}", one.metadata.name, one.metadata.uid)
            }
        });
    }
    assert_eq!(
        told,
        ["listed 1", "deleted a 1", "applied a 2", "applied end "]
    );
}

#[tokio::test]
async fn a_late_subscriber_learns_the_newest_version_that_the_objects_show() {
    let at = |name: &str, version: u64| {
        let mut object = object(name);
        object.metadata.resource_version = version.to_string();
        object
    };
    let informer = Informer::detached();
    let mut feed = Feed::new(informer.clone());
    let started = |versions_reset| ListWatchEvent::ListStarted { versions_reset };
    let list = vec![
        started(false),
        ListWatchEvent::Page(vec![at("a", 3)]),
        ListWatchEvent::Listed { version: 5 },
        ListWatchEvent::Applied(at("b", 7)),
        ListWatchEvent::Deleted(at("b", 9)),
    ];
    assert!(feed.handle(list).await);
    let mut late = informer.subscribe();
    let batch = late.next_batch(10).await;
    assert_eq!((batch[0].version, batch[0].resets), (9, 0));
    assert!(matches!(&batch[0].delta, Delta::Listed(all) if all.len() == 1));
    let restored = vec![started(true), ListWatchEvent::Listed { version: 2 }];
    assert!(feed.handle(restored).await);
    let batch = late.next_batch(10).await;
    assert_eq!((batch[0].version, batch[0].resets), (2, 1));
}

#[tokio::test]
async fn an_object_that_became_undecodable_keeps_its_last_state_until_it_is_deleted() {
    let informer: Informer<PartialObjectMetadata> = Informer::detached();
    let mut feed = Feed::new(informer.clone());
    let identity = |uid: &str| ObjectIdentity {
        namespace: "".into(),
        name: "a".into(),
        uid: uid.into(),
        version: 7,
    };
    let list = |event| {
        vec![
            ListWatchEvent::ListStarted {
                versions_reset: false,
            },
            event,
            ListWatchEvent::Listed { version: 7 },
        ]
    };
    let uids = || {
        let objects = informer.list().into_iter();
        Vec::from_iter(objects.map(|object| object.metadata.uid.clone()))
    };
    feed.handle(list(ListWatchEvent::Page(vec![with_uid("a", "1")])))
        .await;
    feed.handle(list(ListWatchEvent::Undecodable(identity("1"))))
        .await;
    assert_eq!(uids(), ["1"]);
    let mut subscription = informer.subscribe();
    subscription.next().await;
    feed.handle(vec![ListWatchEvent::DeletedUndecodable(identity("other"))])
        .await;
    assert_eq!(uids(), ["1"]);
    feed.handle(vec![ListWatchEvent::DeletedUndecodable(identity("1"))])
        .await;
    assert_eq!(uids(), [""; 0]);
    let told = subscription.next().await;
    assert!(
        matches!(&told, Delta::Deleted(object) if object.metadata.uid == "1"),
        "{told:?}"
    );
    // Of another object with the name, nothing is known.
    feed.handle(list(ListWatchEvent::Page(vec![with_uid("a", "1")])))
        .await;
    feed.handle(list(ListWatchEvent::Undecodable(identity("2"))))
        .await;
    assert_eq!(uids(), [""; 0]);
}
