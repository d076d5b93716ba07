use super::cast::Cast;
use super::story::Story;
use crate::lab::{Lab, eventually};

/// The backend alone may come. An operator, and the block of somebody else.
fn policy(operator: &str, block: &str) -> String {
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: guard, namespace: shop}}
spec:
  podSelector: {{matchLabels: {{app: database}}}}
  policyTypes: [Ingress]
  ingress:
    - from:
        - podSelector: {{matchExpressions: [{{key: app, operator: {operator}, values: [backend]}}]}}
        - ipBlock: {{cidr: {block}}}
"
    )
}

/// Waits until the status has all these words in one entry, or none of them.
fn until_said(story: &Story<'_>, words: &[&str], is_there: bool) {
    eventually(&format!("{words:?} in the status: {is_there}"), || {
        let text = String::from_utf8(story.gateway.ask(&["status"]).stdout).unwrap();
        (words.iter().all(|word| text.contains(word)) == is_there).then_some(())
    });
}

#[test]
fn a_policy_that_is_wrong_keeps_its_good_version_and_denies_without_one() {
    let Some(lab) = Lab::up(&[]) else { return };
    let cast = Cast::of(&[
        ("pod1a", "shop/frontend"),
        ("pod2a", "shop/backend"),
        ("pod1b", "shop/database"),
    ]);
    cast.write(&lab);
    let story = Story::begin(&lab, &cast);
    story.act("guard", &policy("In", "198.51.100.0/24"));
    let held = "
        shop/backend -> shop/database tcp 80: passes; ingress NetworkPolicy shop/guard ingress[0]
        shop/frontend -> shop/database tcp 80: policy_ingress; ingress NetworkPolicy shop/guard default deny ingress
        client -> shop/frontend tcp 80: passes
        ";
    story.holds(held);
    let file = "guard.yaml";
    let broken = [
        (policy("Among", "198.51.100.0/24"), "spec.ingress[0].from[0].podSelector"),
        (policy("In", "198.51.100.7/24"), "spec.ingress[0].from[1].ipBlock.cidr"),
        (policy("In", "[nonsense"), "guard.yaml:"),
    ];
    for (text, place) in &broken {
        lab.write_manifest(file, text);
        until_said(&story, &["guard.yaml:", place], true);
        story.holds(held);
    }
    // A good policy beside it is taken.
    let other = policy("In", "192.0.2.0/24").replace("name: guard", "name: second");
    story.act("second", &other);
    story.holds("shop/frontend -> shop/database udp 53: policy_ingress");
    story.withdraw("second");
    lab.write_manifest(file, &broken[0].0);
    until_said(&story, &["guard.yaml:", broken[0].1], true);
    story.end();

    // Nobody knows a good version any more.
    let story = Story::begin(&lab, &cast);
    until_said(&story, &["guard.yaml:", "no good version of it is known"], true);
    let denied = "ingress NetworkPolicy shop/guard (refused: everything is denied)";
    story.holds(&format!(
        "
        shop/backend -> shop/database tcp 80: policy_ingress; {denied}
        shop/frontend -> shop/database udp 53: policy_ingress; {denied}
        client -> shop/database tcp 80: policy_ingress; {denied}
        shop/database -> shop/backend tcp 80: passes
        client -> shop/frontend tcp 80: passes
        "
    ));
    story.act("guard", &policy("In", "198.51.100.0/24"));
    until_said(&story, &["guard.yaml:"], false);
    story.holds(held);
    story.end();
}
