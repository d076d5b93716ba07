use super::cast::Cast;
use super::story::Story;
use crate::kernel::assert_undamaged;
use crate::lab::Lab;

/// Denies some, and leaves the system's namespaces to NetworkPolicies.
const ADMIN: &str = "
apiVersion: policy.networking.k8s.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: guard}
spec:
  tier: Admin
  priority: 10
  subject: {namespaces: {matchLabels: {team: shop}}}
  ingress:
    - name: no-others
      action: Deny
      from: [{namespaces: {matchLabels: {team: other}}}]
    - name: system
      action: Pass
      from: [{namespaces: {matchLabels: {purpose: system}}}]
  egress:
    - name: no-strangers
      action: Deny
      to: [{networks: [192.0.2.30/32, '2001:db8:1::30/128']}]
";

/// What holds where nobody says more.
const BASELINE: &str = "
apiVersion: policy.networking.k8s.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: base}
spec:
  tier: Baseline
  priority: 0
  subject: {namespaces: {}}
  ingress:
    - name: nobody
      action: Deny
      from: [{namespaces: {}}]
";

/// Allows everybody.
const OPEN: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: open, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress, Egress]
  ingress: [{}]
  egress: [{}]
";

#[test]
fn tiers_are_asked_in_order() {
    let Some(lab) = Lab::up(&[]) else { return };
    let cast = Cast::of(&[
        ("pod1a", "shop/web"),
        ("pod2a", "shop/api"),
        ("pod1b", "other/web"),
        ("pod2b", "monitoring/prober"),
    ]);
    cast.write(&lab);
    let story = Story::begin(&lab, &cast);
    story.act("base", BASELINE);
    story.holds(
        r#"
        other/web -> shop/web tcp 80: policy_ingress; ingress ClusterNetworkPolicy base ingress[0] "nobody"
        monitoring/prober -> other/web udp 53: policy_ingress; ingress ClusterNetworkPolicy base ingress[0] "nobody"
        client -> shop/web tcp 80: passes
        shop/web -> stranger tcp 80: passes
        "#,
    );
    story.act("open", OPEN);
    story.holds(
        r#"
        other/web -> shop/web tcp 80: passes; ingress NetworkPolicy shop/open ingress[0]
        monitoring/prober -> shop/api tcp 80: policy_ingress; ingress ClusterNetworkPolicy base ingress[0] "nobody"
        "#,
    );
    story.act("guard", ADMIN);
    story.holds(
        r#"
        other/web -> shop/web tcp 80: policy_ingress; ingress ClusterNetworkPolicy guard ingress[0] "no-others"
        other/web -> shop/web udp 53: policy_ingress; ingress ClusterNetworkPolicy guard ingress[0] "no-others"
        monitoring/prober -> shop/web tcp 80: passes; ingress NetworkPolicy shop/open ingress[0]
        monitoring/prober -> shop/api tcp 80: policy_ingress; ingress ClusterNetworkPolicy base ingress[0] "nobody"
        shop/web -> stranger tcp 80: policy_egress; egress ClusterNetworkPolicy guard egress[0] "no-strangers"
        shop/web -> partner tcp 80: passes; egress NetworkPolicy shop/open egress[0]
        client -> shop/web tcp 80: passes; ingress NetworkPolicy shop/open ingress[0]
        "#,
    );
    for policy in ["guard", "base"] {
        story.withdraw(policy);
    }
    story.holds(
        "
        other/web -> shop/web tcp 80: passes
        monitoring/prober -> shop/api tcp 80: passes
        shop/web -> stranger tcp 80: passes
        ",
    );
    assert_undamaged(&lab);
    story.end();
}
