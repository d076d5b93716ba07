use super::*;
use crate::status::allocator::{Outcome, Refusal};
use crate::status::facts::Facts;
use k8s_openapi::api::core::v1::Service;
use kube::core::Status;
use serde_json::{Value, json};

/// A client that nobody answers: these tests never wait for an answer.
pub(in crate::status) fn client() -> Client {
    let address = "http://127.0.0.1:1".parse().expect("an address");
    Client::try_from(kube::Config::new(address)).expect("a client")
}

fn name() -> Name {
    Name::new("default", "a")
}

/// A load balancer as the API server has it.
fn service(uid: &str, version: u64, status: Value) -> Service {
    let service = json!({
        "metadata": {"name": "a", "uid": uid, "resourceVersion": version.to_string()},
        "spec": {"type": "LoadBalancer"},
        "status": status,
    });
    serde_json::from_value(service).expect("a Service")
}

/// The Service `u1`, which has no load balancer any more.
fn plain(version: u64) -> Service {
    let mut service = service("u1", version, json!({}));
    service.spec.as_mut().expect("a spec").type_ = Some("ClusterIP".to_owned());
    service
}

fn facts(service: &Service) -> Facts {
    Facts::of(service).expect("a load balancer")
}

/// What is said of a Service that gets an address, and of one that gets none.
fn desired(address: Option<&str>) -> Desired {
    let request = facts(&service("u1", 1, json!({}))).request;
    let outcome = match address {
        Some(address) => {
            let addresses = vec![address.parse().expect("an address")];
            Outcome { addresses, refusals: Vec::new() }
        }
        None => {
            let refusal = Refusal::Invalid { message: "it is in no pool".to_owned() };
            Outcome { addresses: Vec::new(), refusals: vec![refusal] }
        }
    };
    Desired::of(&request, &outcome)
}

/// The status that is written, with another ingress if one is named.
fn status(desired: &Desired, before: &Facts, ingress: Option<Value>) -> Value {
    let mut status = desired.to_apply("default", "a", before)["status"].clone();
    if let Some(ingress) = ingress {
        status["loadBalancer"]["ingress"] = ingress;
    }
    status
}

fn refused(code: u16) -> kube::Error {
    kube::Error::Api(Status::failure("no", "Reason").with_code(code).boxed())
}

/// A writer that knows a Service, and the Service.
fn writer() -> (Writer, Service) {
    let mut writer = Writer::new(client(), StatusMetrics::default());
    let service = service("u1", 1, json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}}));
    assert!(writer.set(&name(), Some(facts(&service))));
    (writer, service)
}

/// Starts the write that is due, which is answered with `answer`.
fn answered(
    writer: &mut Writer,
    desired: &Desired,
    answer: Result<Service, kube::Error>,
    now: Duration,
) -> bool {
    let written = started(writer, desired, answer, now);
    writer.done(&written, now)
}

fn started(
    writer: &mut Writer,
    desired: &Desired,
    result: Result<Service, kube::Error>,
    now: Duration,
) -> Written {
    let before = writer.facts(&name()).expect("it is known").clone();
    writer.start(now);
    assert_eq!(writer.under_way.len(), 1, "it is due");
    writer.under_way.clear();
    Written { name: name(), desired: desired.clone(), before, result }
}

/// Wants it for ten minutes. `answer` makes of a write what the API server answers,
/// and what the watch tells then. Returns how often it is written.
fn writes(desired: &Desired, answer: impl Fn(&Facts, u64) -> [Service; 2]) -> u64 {
    let (mut writer, _) = writer();
    let mut count = 0;
    for step in 0..60_000 {
        let now = Duration::from_millis(step * 10);
        writer.want(&name(), desired.clone(), now);
        if writer.wait(now) != Some(Duration::ZERO) {
            continue;
        }
        count += 1;
        let before = writer.facts(&name()).expect("it is known").clone();
        let [answer, seen] = answer(&before, 2 * count);
        answered(&mut writer, desired, Ok(answer), now);
        writer.set(&name(), Some(facts(&seen)));
    }
    count
}

#[tokio::test]
async fn what_the_api_server_does_not_keep_is_tried_ever_more_seldom() {
    let none = desired(None);
    let count = writes(&none, |before, version| {
        let foreign = json!([{"ip": "203.0.113.9", "ipMode": "VIP"}]);
        let service = service("u1", version, status(&none, before, Some(foreign)));
        [service.clone(), service]
    });
    assert!((5..=25).contains(&count), "{count} writes");
}

#[tokio::test]
async fn who_undoes_each_write_is_not_answered_at_once_each_time() {
    let none = desired(None);
    let count = writes(&none, |before, version| {
        let foreign = json!([{"ip": "203.0.113.9"}]);
        [
            service("u1", version, status(&none, before, None)),
            service("u1", version + 1, status(&none, before, Some(foreign))),
        ]
    });
    assert!((60..=71).contains(&count), "{count} writes");
}

#[tokio::test]
async fn an_api_server_without_the_mode_of_addresses_is_written_to_once() {
    let one = desired(Some("192.0.2.1"));
    let count = writes(&one, |before, version| {
        let stripped = json!([{"ip": "192.0.2.1"}]);
        let service = service("u1", version, status(&one, before, Some(stripped)));
        [service.clone(), service]
    });
    assert_eq!(count, 1);
    // Another mode is not the same.
    let proxy = status(
        &one,
        &facts(&service("u1", 1, json!({}))),
        Some(json!([{"ip": "192.0.2.1", "ipMode": "Proxy"}])),
    );
    assert!(!one.is_said_by(Some(&facts(&service("u1", 1, proxy)))));
}

#[tokio::test]
async fn no_address_is_said_and_not_left_out() {
    let (_, service) = writer();
    let object = desired(None).to_apply("default", "a", &facts(&service));
    assert_eq!(object["status"]["loadBalancer"], json!({"ingress": []}));
    // Of who is not ours nothing is said: what Sluice has written goes.
    let object = Desired::default().to_apply("default", "a", &facts(&service));
    assert_eq!(object["status"], json!({}));
}

/// A write of the Service `u1` that is answered when there is `u2` by that name.
#[tokio::test]
async fn a_late_answer_says_nothing_of_a_newer_service() {
    let gone = || Err(refused(404));
    let changed = || Err(refused(409));
    let told = || Ok(plain(2));
    let one = desired(Some("192.0.2.1"));
    let said = || Ok(service("u1", 2, status(&one, &facts(&service("u1", 1, json!({}))), None)));
    let answers =
        [("gone", gone()), ("changed", changed()), ("no balancer", told()), ("written", said())];
    for (what, answer) in answers {
        let (mut writer, _) = writer();
        let now = Duration::ZERO;
        writer.want(&name(), one.clone(), now);
        let written = started(&mut writer, &one, answer, now);
        let newer = facts(&service("u2", 3, json!({})));
        assert!(writer.set(&name(), Some(newer.clone())));
        assert!(!writer.done(&written, now), "{what}");
        assert_eq!(writer.facts(&name()), Some(&newer), "{what}");
        writer.want(&name(), one.clone(), now);
        assert_eq!(writer.wait(now), Some(Duration::ZERO), "{what}: it is written at once");
    }
}

/// The same, but it is the Service that has become a load balancer again.
#[tokio::test]
async fn an_older_answer_does_not_end_a_load_balancer() {
    let (mut writer, before) = writer();
    let (nothing, now) = (Desired::default(), Duration::ZERO);
    let said = service("u1", 2, status(&desired(None), &facts(&before), None));
    writer.set(&name(), Some(facts(&said)));
    writer.want(&name(), nothing.clone(), now);
    let written = started(&mut writer, &nothing, Ok(plain(3)), now);
    let newer = facts(&service("u1", 4, json!({})));
    writer.set(&name(), Some(newer.clone()));
    assert!(writer.done(&written, now));
    assert_eq!(writer.facts(&name()), Some(&newer));
    // One that is not older does.
    writer.want(&name(), desired(None), now);
    answered(&mut writer, &nothing, Ok(plain(5)), now);
    assert_eq!(writer.facts(&name()), None);
}

#[tokio::test]
async fn conflicts_are_soon_tried_again_and_failures_ever_more_seldom() {
    let one = desired(Some("192.0.2.1"));
    for (code, least, most) in [(409, 0, 1), (500, 60, 120)] {
        let (mut writer, service) = writer();
        let mut now = Duration::ZERO;
        writer.want(&name(), one.clone(), now);
        let mut wait = Duration::ZERO;
        for _ in 0..20 {
            answered(&mut writer, &one, Err(refused(code)), now);
            // What changes meanwhile does not make it sooner.
            writer.set(&name(), Some(facts(&service)));
            writer.want(&name(), one.clone(), now);
            wait = writer.wait(now).expect("it is tried again");
            assert!(wait >= PAUSE.0 && wait <= Duration::from_secs(most), "{code}: {wait:?}");
            now += wait;
        }
        assert!(wait >= Duration::from_secs(least), "{code}: {wait:?}");
    }
}
