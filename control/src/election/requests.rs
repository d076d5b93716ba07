//! What is asked of the API server, and what its answers mean.

use super::machine::slot_name;
use super::{Answer, Lease, Op, Options, member_name};
use http::header::CONTENT_TYPE;
use k8s_openapi::api::coordination::v1::{Lease as Object, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::time::Duration;

/// The label of all Leases of elections; its value says what they are for.
pub const LABEL: &str = "sluice.dev/lease";

/// The label's value of memberships: of one that may be given more, and of one
/// that may not.
const ABLE: &str = "gateway";
const NOT_ABLE: &str = "gateway-not-able";

/// Leases of one namespace.
#[derive(Clone)]
pub struct Requests {
    client: Client,
    namespace: String,
    options: Options,
}

impl Requests {
    /// Requests of a gateway.
    pub fn new(client: Client, namespace: &str, options: Options) -> Self {
        Requests { client, namespace: namespace.to_owned(), options }
    }

    /// All Leases of the namespace.
    pub fn leases(&self) -> Api<Object> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Sends a request, and says what has become of it. For people, also why it
    /// failed.
    pub async fn perform(&self, op: &Op) -> (Answer, Option<String>) {
        let sent = tokio::time::timeout(self.options.timeout(), self.send(op)).await;
        match sent {
            Ok(Ok(object)) => {
                (Answer::Done(object.metadata.resource_version.unwrap_or_default()), None)
            }
            Ok(Err(error)) => (answer_of(&error), Some(error.to_string())),
            Err(_) => {
                let ms = self.options.timeout().as_millis();
                (Answer::Unreachable, Some(format!("no answer within {ms} ms")))
            }
        }
    }

    async fn send(&self, op: &Op) -> kube::Result<Object> {
        let member = || member_name(&self.options.node);
        let slot_name = |slot| slot_name(slot, self.options.groups);
        match op {
            Op::Join { identity, version } => {
                self.put(&member(), version.as_deref(), Some(identity)).await
            }
            Op::Renew { identity, is_able } => {
                self.patch(&member(), identity, &renewal(*is_able)).await
            }
            Op::Leave { identity } => self.patch(&member(), identity, &[leaving()]).await,
            Op::Fence { lease, version } => self.put(lease, Some(version), None).await,
            Op::Claim { slot, identity, version } => {
                self.put(&slot_name(*slot), version.as_deref(), Some(identity)).await
            }
            Op::Release { slot, version } => self.put(&slot_name(*slot), Some(version), None).await,
        }
    }

    /// Replaces a version, or creates the Lease.
    async fn put(
        &self,
        name: &str,
        version: Option<&str>,
        holder: Option<&str>,
    ) -> kube::Result<Object> {
        let object = object(name, version, holder, self.options.duration);
        match version {
            Some(_) => self.leases().replace(name, &PostParams::default(), &object).await,
            None => self.leases().create(&PostParams::default(), &object).await,
        }
    }

    /// Changes a Lease if the holder is this one (RFC 6902 `test`): whatever has
    /// become of an earlier request that was not answered.
    async fn patch(&self, name: &str, identity: &str, changes: &[Value]) -> kube::Result<Object> {
        let test = json!({"op": "test", "path": "/spec/holderIdentity", "value": identity});
        let patch: Vec<&Value> = [&test].into_iter().chain(changes).collect();
        let body = serde_json::to_vec(&patch).map_err(kube::Error::SerdeError)?;
        let namespace = &self.namespace;
        let url = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}");
        let request = http::Request::patch(url)
            .header(CONTENT_TYPE, "application/json-patch+json")
            .body(body)
            .map_err(|error| kube::Error::Service(error.into()))?;
        self.client.request(request).await
    }
}

/// Changes of a membership that is renewed.
fn renewal(is_able: bool) -> [Value; 2] {
    let what = if is_able { ABLE } else { NOT_ABLE };
    // The slash of the label's name, as RFC 6901 has it.
    let label = format!("/metadata/labels/{}", LABEL.replace('/', "~1"));
    [
        json!({"op": "add", "path": "/spec/renewTime", "value": MicroTime(Timestamp::now())}),
        json!({"op": "add", "path": label, "value": what}),
    ]
}

/// The change of a membership that is given up.
fn leaving() -> Value {
    json!({"op": "remove", "path": "/spec/holderIdentity"})
}

fn object(name: &str, version: Option<&str>, holder: Option<&str>, duration: Duration) -> Object {
    let what = match name {
        _ if name.starts_with(super::MEMBER) => ABLE,
        _ if name.starts_with(super::VIPS) => "vips",
        _ => "status",
    };
    let now = MicroTime(Timestamp::now());
    Object {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some([(LABEL.to_owned(), what.to_owned())].into()),
            resource_version: version.map(str::to_owned),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: i32::try_from(duration.as_secs()).ok(),
            acquire_time: holder.map(|_| now.clone()),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }),
    }
}

/// The reason of an error whose text is none of the API server's, as the client
/// has it.
const NO_STATUS: &str = "Failed to parse error data";

/// What an error says of the request. Only an answer that comes from the API
/// server itself, and would be the same for anybody, says anything.
fn answer_of(error: &kube::Error) -> Answer {
    let kube::Error::Api(status) = error else { return Answer::Unreachable };
    // Not a Status of Kubernetes: a proxy in between has answered.
    if status.reason == NO_STATUS {
        return Answer::Unreachable;
    }
    match status.code {
        // Not there; another version, or there already; a `test` that failed.
        404 | 409 | 422 => Answer::Lost,
        // Who asks is not known: credentials are late, here or for everybody.
        401 | 429 | 500.. => Answer::Unreachable,
        _ => Answer::Refused,
    }
}

/// A Lease by name, as far as it counts.
pub fn lease_of(object: Object) -> Option<(String, Lease)> {
    let spec = object.spec.unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let labels = object.metadata.labels.unwrap_or_default();
    let lease = Lease {
        is_able: labels.get(LABEL).is_none_or(|what| what != NOT_ABLE),
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        // Whoever writes nonsense there is waited for for a minute at most.
        duration: seconds.map(|seconds| Duration::from_secs(seconds.clamp(1, 60))),
        version: object.metadata.resource_version?,
    };
    Some((object.metadata.name?, lease))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::client::Body;
    use std::convert::Infallible;
    use std::future::{Ready, ready};
    use std::task::{Context, Poll};

    #[test]
    fn what_is_written_is_what_is_read() {
        let written = object("sluice-vips-3", Some("7"), Some("a_1"), Duration::from_secs(2));
        let (name, lease) = lease_of(written).unwrap();
        assert_eq!(name, "sluice-vips-3");
        assert_eq!((lease.holder.as_deref(), lease.version.as_str()), (Some("a_1"), "7"));
        assert_eq!(lease.duration, Some(Duration::from_secs(2)));
        let free = object("sluice-status", Some("8"), None, Duration::from_secs(2));
        assert_eq!(lease_of(free).unwrap().1.holder, None);
        let mut odd = object("sluice-status", Some("8"), Some(""), Duration::from_secs(2));
        odd.spec.as_mut().unwrap().lease_duration_seconds = Some(i32::MAX);
        let odd = lease_of(odd).unwrap().1;
        assert_eq!((odd.holder, odd.duration), (None, Some(Duration::from_secs(60))));
    }

    #[test]
    fn only_a_refusal_is_an_answer() {
        let answer = |code| {
            let status = kube::core::Status { code, ..Default::default() };
            answer_of(&kube::Error::Api(Box::new(status)))
        };
        assert_eq!([404, 409, 422].map(answer), [Answer::Lost, Answer::Lost, Answer::Lost]);
        assert_eq!([401, 429, 503].map(answer).map(|a| a == Answer::Unreachable), [true; 3]);
        assert_eq!([400, 403, 405].map(answer).map(|a| a == Answer::Refused), [true; 3]);
        let broken = kube::Error::Service("connection refused".into());
        assert_eq!(answer_of(&broken), Answer::Unreachable);
    }

    /// Answers everything alike, as a proxy does that has lost its server.
    #[derive(Clone)]
    struct Proxy(u16, &'static str);

    impl tower_service::Service<http::Request<Body>> for Proxy {
        type Response = http::Response<Body>;
        type Error = Infallible;
        type Future = Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<Body>) -> Self::Future {
            let body = Body::from(self.1.as_bytes().to_vec());
            ready(Ok(http::Response::builder().status(self.0).body(body).unwrap()))
        }
    }

    /// What a proxy says in its own words is no answer, whatever its status; what
    /// the API server says by the same status is one.
    #[tokio::test]
    async fn a_proxy_that_answers_takes_nothing_away() {
        let html = "<html>not here</html>";
        let status = r#"{"kind": "Status", "apiVersion": "v1", "metadata": {}, "code": 404,
                         "status": "Failure", "reason": "NotFound", "message": "not here"}"#;
        for (code, text, expected) in [
            (404, html, Answer::Unreachable),
            (403, html, Answer::Unreachable),
            (404, status, Answer::Lost),
        ] {
            let duration = Duration::from_secs(2);
            let renew = Duration::from_millis(500);
            let options = Options { node: "a".to_owned(), groups: 4, duration, renew };
            let client = Client::new(Proxy(code, text), "default");
            let renewal = Op::Renew { identity: "a_1".to_owned(), is_able: true };
            let (answer, error) = Requests::new(client, "default", options).perform(&renewal).await;
            assert_eq!(answer, expected, "{code} {text}: {error:?}");
        }
    }
}
