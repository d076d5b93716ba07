use super::cast::{Cast, namespace};
use super::story::Story;
use crate::kernel::assert_undamaged;
use crate::lab::Lab;

#[test]
fn a_namespace_is_open_to_itself_and_to_system_namespaces() {
    let Some(lab) = Lab::up(&[]) else { return };
    let cast = Cast::of(&[
        ("pod1a", "shop/web"),
        ("pod2a", "shop/api"),
        ("pod1b", "other/web"),
        ("pod2b", "monitoring/prober"),
    ]);
    cast.write(&lab);
    let story = Story::begin(&lab, &cast);
    story.act(
        "isolate",
        "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: isolate, namespace: shop}
spec:
  podSelector: {}
  ingress:
    - from: [{podSelector: {}}]
    - from: [{namespaceSelector: {matchLabels: {purpose: system}}}]
",
    );
    story.holds(
        "
        shop/api -> shop/web tcp 80: passes; ingress NetworkPolicy shop/isolate ingress[0]
        shop/web -> shop/api udp 53: passes; ingress NetworkPolicy shop/isolate ingress[0]
        monitoring/prober -> shop/web tcp 80: passes; ingress NetworkPolicy shop/isolate ingress[1]
        monitoring/prober -> shop/api udp 53: passes; ingress NetworkPolicy shop/isolate ingress[1]
        other/web -> shop/web tcp 80: policy_ingress; ingress NetworkPolicy shop/isolate default deny ingress
        other/web -> shop/api udp 53: policy_ingress; ingress NetworkPolicy shop/isolate default deny ingress
        client -> shop/web tcp 80: policy_ingress; ingress NetworkPolicy shop/isolate default deny ingress
        client -> pod:shop/api udp 9053: policy_ingress; ingress NetworkPolicy shop/isolate default deny ingress
        shop/web -> other/web tcp 80: passes
        client -> other/web tcp 80: passes
        ",
    );
    // A label makes a namespace one of the system's.
    story.act("namespace-other", &namespace("other", "purpose: system"));
    story.holds(
        "
        other/web -> shop/web tcp 80: passes; ingress NetworkPolicy shop/isolate ingress[1]
        client -> shop/web tcp 80: policy_ingress; ingress NetworkPolicy shop/isolate default deny ingress
        ",
    );
    story.withdraw("isolate");
    story.holds("client -> shop/web tcp 80: passes");
    assert_undamaged(&lab);
    story.end();
}

#[test]
fn a_database_is_open_to_the_backend_alone_and_at_its_port_alone() {
    let Some(lab) = Lab::up(&[]) else { return };
    let cast = Cast::of(&[
        ("pod1a", "shop/frontend"),
        ("pod2a", "shop/backend"),
        ("pod1b", "shop/database"),
        ("pod2b", "other/backend"),
    ]);
    cast.write(&lab);
    let story = Story::begin(&lab, &cast);
    story.act(
        "database",
        "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: database, namespace: shop}
spec:
  podSelector: {matchLabels: {app: database}}
  policyTypes: [Ingress]
  ingress:
    - from: [{podSelector: {matchLabels: {app: backend}}}]
      ports: [{port: http}]
",
    );
    story.holds(
        "
        shop/backend -> shop/database tcp 80: passes; ingress NetworkPolicy shop/database ingress[0]
        shop/backend -> shop/database tcp 5201: policy_ingress; ingress NetworkPolicy shop/database default deny ingress
        shop/backend -> shop/database udp 53: policy_ingress; ingress NetworkPolicy shop/database default deny ingress
        shop/frontend -> shop/database tcp 80: policy_ingress; ingress NetworkPolicy shop/database default deny ingress
        other/backend -> shop/database tcp 80: policy_ingress; ingress NetworkPolicy shop/database default deny ingress
        client -> shop/database tcp 80: policy_ingress; ingress NetworkPolicy shop/database default deny ingress
        client -> pod:shop/database tcp 8080: policy_ingress; ingress NetworkPolicy shop/database default deny ingress
        shop/database -> shop/backend tcp 80: passes
        client -> shop/frontend tcp 80: passes
        ",
    );
    assert_undamaged(&lab);
    story.end();
}

#[test]
fn external_services_are_reached_by_block_and_dns_and_nothing_else_is() {
    let Some(lab) = Lab::up(&[]) else { return };
    let cast = Cast::of(&[
        ("pod1a", "shop/frontend"),
        ("pod2a", "shop/backend"),
        ("pod1b", "shop/database"),
    ]);
    cast.write(&lab);
    let story = Story::begin(&lab, &cast);
    story.act(
        "external",
        "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: external, namespace: shop}
spec:
  podSelector: {matchLabels: {app: backend}}
  policyTypes: [Egress]
  egress:
    - to:
        - ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.30/32]}
        - ipBlock: {cidr: '2001:db8:1::/64', except: ['2001:db8:1::30/128']}
      ports: [{port: 80}]
    - ports: [{port: 53, protocol: UDP}]
",
    );
    // The Service's port 53 is another one at its pods, and that is what counts.
    story.holds(
        "
        shop/backend -> partner tcp 80: passes; egress NetworkPolicy shop/external egress[0]
        shop/backend -> partner udp 53: passes; egress NetworkPolicy shop/external egress[1]
        shop/backend -> stranger udp 53: passes; egress NetworkPolicy shop/external egress[1]
        shop/backend -> stranger tcp 80: policy_egress; egress NetworkPolicy shop/external default deny egress
        shop/backend -> partner tcp 443: policy_egress; egress NetworkPolicy shop/external default deny egress
        shop/backend -> shop/database tcp 80: policy_egress; egress NetworkPolicy shop/external default deny egress
        shop/backend -> shop/database udp 53: policy_egress; egress NetworkPolicy shop/external default deny egress
        shop/frontend -> stranger tcp 80: passes
        client -> shop/backend tcp 80: passes
        ",
    );
    assert_undamaged(&lab);
    story.end();
}

#[test]
fn what_is_denied_by_default_is_opened_step_by_step() {
    let Some(lab) = Lab::up(&[]) else { return };
    let cast = Cast::of(&[("pod1a", "shop/frontend"), ("pod2a", "shop/backend")]);
    cast.write(&lab);
    let story = Story::begin(&lab, &cast);
    story.act(
        "deny",
        "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: shop}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
",
    );
    story.holds(
        "
        shop/frontend -> shop/backend tcp 80: policy_egress; egress NetworkPolicy shop/deny default deny egress
        shop/backend -> client udp 53: policy_egress; egress NetworkPolicy shop/deny default deny egress
        client -> shop/frontend tcp 80: policy_ingress; ingress NetworkPolicy shop/deny default deny ingress
        client -> pod:shop/frontend tcp 8080: policy_ingress; ingress NetworkPolicy shop/deny default deny ingress
        ",
    );
    story.act(
        "talk",
        "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: talk, namespace: shop}
spec:
  podSelector: {matchLabels: {app: frontend}}
  policyTypes: [Egress]
  egress: [{to: [{podSelector: {}}]}]
",
    );
    story.holds(
        "
        shop/frontend -> shop/backend tcp 80: policy_ingress; ingress NetworkPolicy shop/deny default deny ingress
        shop/backend -> shop/frontend tcp 80: policy_egress; egress NetworkPolicy shop/deny default deny egress
        shop/frontend -> client udp 53: policy_egress
        ",
    );
    story.act(
        "open",
        "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: open, namespace: shop}
spec:
  podSelector: {matchLabels: {app: backend}}
  ingress: [{from: [{podSelector: {matchLabels: {app: frontend}}}], ports: [{port: 8080}]}]
",
    );
    story.holds(
        "
        shop/frontend -> shop/backend tcp 80: passes; egress NetworkPolicy shop/talk egress[0]; ingress NetworkPolicy shop/open ingress[0]
        shop/frontend -> shop/backend udp 53: policy_ingress
        client -> shop/backend tcp 80: policy_ingress
        ",
    );
    story.act(
        "outside",
        "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: outside, namespace: shop}
spec:
  podSelector: {matchLabels: {app: frontend}}
  ingress: [{from: [{ipBlock: {cidr: 192.0.2.10/32}}, {ipBlock: {cidr: '2001:db8:1::10/128'}}]}]
",
    );
    story.holds(
        "
        client -> shop/frontend tcp 80: passes; ingress NetworkPolicy shop/outside ingress[0]
        client -> pod:shop/frontend udp 9053: passes; ingress NetworkPolicy shop/outside ingress[0]
        stranger -> shop/frontend tcp 80: policy_ingress
        ",
    );
    for policy in ["deny", "open", "outside", "talk"] {
        story.withdraw(policy);
    }
    story.holds(
        "
        stranger -> shop/frontend tcp 80: passes
        shop/backend -> shop/frontend udp 53: passes
        shop/backend -> client udp 53: passes
        ",
    );
    assert_undamaged(&lab);
    story.end();
}
