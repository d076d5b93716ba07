use super::allocator::{Outcome, Refusal, Request};
use super::board::NoticeKind;
use super::facts::{CONDITION, Facts};
use k8s_openapi::api::core::v1::LoadBalancerIngress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use std::net::IpAddr;

/// `ipMode` of an address that packets come with as their destination (KEP-1860).
const VIP: &str = "VIP";

/// What the status of a Service should say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// `status.loadBalancer.ingress`.
    pub ingress: Vec<LoadBalancerIngress>,
    /// The condition; `None`: the Service is not ours, and nothing of what was
    /// written stays.
    pub verdict: Option<Verdict>,
}

/// What the condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The Service has what it wants, or as much as there is.
    pub is_good: bool,
    /// One word for why.
    pub reason: &'static str,
    /// The addresses, and what is missing.
    pub message: String,
}

impl Desired {
    /// By what became of a request.
    pub fn of(request: &Request, outcome: &Outcome) -> Self {
        let ingress = |addr: &IpAddr| LoadBalancerIngress {
            ip: Some(addr.to_string()),
            ip_mode: Some(VIP.to_owned()),
            ..LoadBalancerIngress::default()
        };
        Desired {
            ingress: outcome.addresses.iter().map(ingress).collect(),
            verdict: Some(Verdict::of(request, outcome)),
        }
    }

    /// Whether a Service says so already; `None`: it is no load balancer, and has
    /// no condition of ours. One that is not ours does if it has none.
    pub fn is_said_by(&self, facts: Option<&Facts>) -> bool {
        let Some(verdict) = &self.verdict else {
            return facts.is_none_or(|facts| facts.condition.is_none());
        };
        let Some(facts) = facts else { return false };
        let is_said = facts.condition.as_ref().is_some_and(|condition| {
            condition.status == verdict.status()
                && condition.reason == verdict.reason
                && condition.message == verdict.message
        });
        is_said
            && self.ingress.len() == facts.ingress.len()
            && self.ingress.iter().zip(&facts.ingress).all(|(ours, theirs)| is_same(ours, theirs))
    }

    /// The object to apply to the status subresource: it says all that Sluice
    /// has to say, so that what it has said before and does not say now goes.
    /// Refused if the Service is not the one that was looked at.
    pub fn to_apply(&self, namespace: &str, name: &str, facts: &Facts) -> Value {
        let mut status = json!({});
        if let Some(verdict) = &self.verdict {
            // Said even if it is empty: what is left out goes only if Sluice has
            // written it, and the addresses of a former controller would stay.
            status["loadBalancer"] = json!({"ingress": self.ingress});
            let before = facts.condition.as_ref();
            let before = before.filter(|condition| condition.status == verdict.status());
            let since = before.map(|condition| condition.last_transition_time.clone());
            status["conditions"] = json!([{
                "type": CONDITION,
                "status": verdict.status(),
                "reason": verdict.reason,
                "message": verdict.message,
                "lastTransitionTime": since.unwrap_or_else(|| Time(Timestamp::now())),
            }]);
        }
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "namespace": namespace,
                "name": name,
                "uid": &*facts.uid,
                "resourceVersion": &*facts.resource_version,
            },
            "status": status,
        })
    }

    /// The Event that tells of this, where `facts` did not say it: kind, reason
    /// and note.
    pub fn event(&self, facts: &Facts) -> Option<(NoticeKind, &'static str, &str)> {
        let verdict = self.verdict.as_ref()?;
        if self.is_said_by(Some(facts)) {
            return None;
        }
        Some(match verdict.is_good {
            true => (NoticeKind::Normal, "AddressAllocated", &*verdict.message),
            false => (NoticeKind::Warning, "AddressNotAllocated", &*verdict.message),
        })
    }
}

/// Whether two say the same. One without `ipMode` means VIP (KEP-1860): an API
/// server that does not know the field leaves it out.
fn is_same(one: &LoadBalancerIngress, other: &LoadBalancerIngress) -> bool {
    let [mode, other_mode] = [one, other].map(|one| one.ip_mode.as_deref().unwrap_or(VIP));
    (&one.ip, &one.hostname, &one.ports, mode)
        == (&other.ip, &other.hostname, &other.ports, other_mode)
}

impl Verdict {
    fn of(request: &Request, outcome: &Outcome) -> Self {
        let addresses: Vec<_> = outcome.addresses.iter().map(IpAddr::to_string).collect();
        let addresses = addresses.join(" and ");
        let refusals: Vec<_> = outcome.refusals.iter().map(Refusal::to_string).collect();
        let refusals = refusals.join("; ");
        let Some(first) = outcome.refusals.first() else {
            return Verdict { is_good: true, reason: "Allocated", message: addresses };
        };
        let is_lack = |refusal: &Refusal| {
            matches!(refusal, Refusal::Exhausted { .. } | Refusal::NoFamily { .. })
        };
        // PreferDualStack wants as many as there are.
        let is_optional = !request.needs_all && request.families.len() > 1;
        let is_enough = outcome.addresses.len() + outcome.refusals.len() <= request.families.len();
        if is_optional && is_enough && !addresses.is_empty() && outcome.refusals.iter().all(is_lack)
        {
            let message = format!("{addresses}; {refusals}");
            return Verdict { is_good: true, reason: "PartlyAllocated", message };
        }
        let message = match addresses.is_empty() {
            true => refusals,
            false => format!("{refusals}; {addresses} stays meanwhile"),
        };
        Verdict { is_good: false, reason: first.reason(), message }
    }

    /// `status` of the condition.
    fn status(&self) -> &'static str {
        if self.is_good { "True" } else { "False" }
    }
}

#[cfg(test)]
mod tests {
    use super::super::allocator::Family;
    use super::*;

    fn verdict(needs_all: bool, addresses: &[&str], refusals: Vec<Refusal>) -> Verdict {
        let request = Request {
            created: None,
            families: Family::ALL.to_vec(),
            needs_all,
            pool: None,
            addresses: Ok(Vec::new()),
            sharing: None,
            ports: Default::default(),
            current: Vec::new(),
        };
        let addresses = addresses.iter().map(|addr| addr.parse().expect("an address")).collect();
        Verdict::of(&request, &Outcome { addresses, refusals })
    }

    #[test]
    fn the_condition_says_what_is_there_and_what_is_not() {
        let v6 = || Refusal::NoFamily { family: Family::V6, pool: None };
        let all = verdict(false, &["192.0.2.1", "fd00::1"], vec![]);
        assert_eq!(
            (all.is_good, all.reason, &*all.message),
            (true, "Allocated", "192.0.2.1 and fd00::1")
        );
        let some = verdict(false, &["192.0.2.1"], vec![v6()]);
        assert_eq!((some.is_good, some.reason), (true, "PartlyAllocated"));
        assert!(some.message.starts_with("192.0.2.1; there is no IPv6 address"), "{some:?}");
        let none = verdict(true, &[], vec![v6()]);
        assert_eq!((none.is_good, none.reason), (false, "FamilyMissing"));
        let invalid = Refusal::Invalid { message: "x is wrong".to_owned() };
        let kept = verdict(false, &["192.0.2.1"], vec![invalid]);
        assert_eq!(&*kept.message, "x is wrong; 192.0.2.1 stays meanwhile");
        assert_eq!((kept.is_good, kept.reason), (false, "InvalidRequest"));
    }
}
