use super::*;
use crate::status::writer::tests::client;
use k8s_openapi::api::core::v1::Service;
use serde_json::json;

fn desk() -> Desk {
    Desk::new(client(), "gw", StatusConfig::default(), Board::default())
}

fn notice(object: &str) -> Notice {
    Notice {
        key: Name::new("default", object).key(Kind::Service),
        kind: NoticeKind::Warning,
        reason: "Test".to_owned(),
        note: "x".to_owned(),
    }
}

#[tokio::test]
async fn events_that_wait_are_limited_wherever_they_come_from() {
    let mut desk = desk();
    for _ in 0..QUEUE_MAX {
        desk.events.push_back((notice("first"), Step::Create("n".to_owned()), None));
    }
    for object in 0..10 {
        desk.board.tell(notice(&object.to_string()));
    }
    let pending = desk.board.take(true);
    desk.take(pending, true);
    assert_eq!(desk.events.len(), QUEUE_MAX);
    assert_eq!(desk.board.metrics().events_suppressed(), 10);
    // They are not taken for told.
    desk.events.clear();
    assert!(desk.tell(notice("1")));
    assert_eq!(desk.events.len(), 1);
}

#[tokio::test]
async fn a_service_that_is_made_anew_is_told_anew() {
    let mut desk = desk();
    let is = |desk: &mut Desk, uid: &str| {
        let service =
            json!({"metadata": {"name": "a", "uid": uid}, "spec": {"type": "LoadBalancer"}});
        let service: Service = serde_json::from_value(service).expect("a Service");
        desk.board.service(&Name::new("default", "a"), Facts::of(&service));
        let pending = desk.board.take(true);
        desk.take(pending, true);
    };
    is(&mut desk, "u1");
    assert!(desk.tell(notice("a")));
    assert!(!desk.tell(notice("a")), "it is told");
    is(&mut desk, "u2");
    assert!(desk.tell(notice("a")));
    let uids: Vec<_> = desk.events.iter().map(|(_, _, uid)| uid.as_deref()).collect();
    assert_eq!(uids, [Some("u1"), Some("u2")]);
}
