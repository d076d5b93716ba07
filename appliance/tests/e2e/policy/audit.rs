use super::cast::Cast;
use super::probe::Line;
use super::story::Story;
use crate::kernel::assert_undamaged;
use crate::lab::{FAMILIES, Lab, eventually};

/// Nobody may come, or would not be allowed to.
fn deny(annotations: &str) -> String {
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: tried, namespace: shop{annotations}}}
spec: {{podSelector: {{matchLabels: {{app: web}}}}, policyTypes: [Ingress, Egress]}}
"
    )
}

#[test]
fn what_is_tried_out_passes_and_is_told_of() {
    let Some(lab) = Lab::up(&[]) else { return };
    let cast = Cast::of(&[("pod1a", "shop/web"), ("pod2a", "other/web")]);
    cast.write(&lab);
    let story = Story::begin(&lab, &cast);
    let audited = |direction: &str| {
        let label = format!("direction=\"{direction}\"");
        story.gateway.metric("sluice_policy_audited_total", &[&label])
    };
    // Flows that are there before the policy is.
    let asks = Line::parse("other/web -> shop/web udp 53: passes");
    let mut early = FAMILIES.map(|family| asks.start(&story, &family));
    for probe in &mut early {
        assert!(probe.answer().contains("pod1a"));
    }
    story.act("tried", &deny(", annotations: {sluice.dev/policy-audit: 'true'}"));
    assert_eq!((audited("ingress"), audited("egress")), (0.0, 0.0));
    story.holds(
        "
        other/web -> shop/web tcp 80: audited; ingress NetworkPolicy shop/tried default deny ingress
        other/web -> shop/web udp 53: audited; ingress NetworkPolicy shop/tried default deny ingress
        client -> shop/web tcp 80: audited; ingress NetworkPolicy shop/tried default deny ingress
        shop/web -> other/web tcp 80: audited; egress NetworkPolicy shop/tried default deny egress
        shop/web -> partner udp 53: audited; egress NetworkPolicy shop/tried default deny egress
        client -> other/web tcp 80: passes
        ",
    );
    assert!(audited("ingress") >= 6.0 && audited("egress") >= 4.0);
    for probe in &mut early {
        probe.again();
        assert!(probe.answer().contains("pod1a"));
        // The flow log tells of it as those do who follow drops.
        for file in ["drops", "flows.log"] {
            let told = eventually("an audit of a flow that was there", || {
                story.told(file, "audit", probe.from, probe.to)
            });
            assert_eq!(told["verdict"], "audited", "{told}");
            assert_eq!(told["reason"], "policy_ingress", "{told}");
            let rule = "NetworkPolicy shop/tried default deny ingress";
            assert_eq!(told["ingress_rule"], rule, "{told}");
        }
    }
    for reason in ["\"policy_ingress\"", "\"policy_egress\""] {
        assert_eq!(story.gateway.metric("sluice_drops_total", &[reason]), 0.0, "{reason}");
    }
    // It has been tried out.
    story.act("tried", &deny(""));
    for probe in &mut early {
        probe.again();
        eventually("a flow that is cut", || story.told("drops", "drop", probe.from, probe.to));
        assert_eq!(probe.so_far(), "");
    }
    story.holds(
        "
        other/web -> shop/web tcp 80: policy_ingress; ingress NetworkPolicy shop/tried default deny ingress
        shop/web -> partner udp 53: policy_egress; egress NetworkPolicy shop/tried default deny egress
        ",
    );
    assert_undamaged(&lab);
    story.end();
}
