use super::cast::Cast;
use super::story::Story;
use super::streams::{self, Stream};
use crate::kernel::assert_undamaged;
use crate::lab::{FAMILIES, Lab, succeeded};
use crate::workers::steer;
use std::time::Duration;

/// After so long nothing of a stream that is cut may be under way.
const CUT: Duration = Duration::from_secs(1);

/// Segments that kernels send again for reasons of their own.
const NOISE: u32 = 5;

/// A policy of one pod: its rules of both directions.
fn policy(app: &str, rules: &str) -> String {
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: {app}, namespace: shop}}
spec:
  podSelector: {{matchLabels: {{app: {app}}}}}
  policyTypes: [Ingress, Egress]
  ingress: {rules}
  egress: {rules}
"
    )
}

#[test]
fn a_changed_policy_cuts_streams_and_leaves_others_alone() {
    let Some(lab) = Lab::up(&[]) else { return };
    streams_are_cut_and_go_on(&lab, 1);
}

#[test]
fn a_changed_policy_cuts_streams_whose_directions_meet_different_workers() {
    let Some(lab) = Lab::up(&["--queues", "2"]) else { return };
    steer(&lab, "client", "eth0", 0);
    steer(&lab, "lan", "gw", 1);
    streams_are_cut_and_go_on(&lab, 2);
}

/// What is told of a stream to who asks why it does not run, or does.
fn explained(story: &Story<'_>, stream: &Stream) -> String {
    let [from, to] = stream.between;
    succeeded(&story.gateway.ask(&["explain", &format!("{from} -> {to}/tcp")]), &stream.name)
}

/// With several queues, each worker is handed packets of the others.
fn streams_are_cut_and_go_on(lab: &Lab, queues: usize) {
    let cast = Cast::of(&[("pod1a", "shop/cut"), ("pod2a", "shop/kept"), ("pod1b", "other/web")]);
    cast.write(lab);
    let story = Story::begin(lab, &cast);
    let all = "[{}]";
    story.act("cut", &policy("cut", all));
    story.act("kept", &policy("kept", all));
    let listeners = ["pod1a", "pod2a", "client"].map(|room| streams::listen(lab, room));
    let open = |ways: [([&str; 2], usize); 3]| -> Vec<Stream> {
        let families = FAMILIES.iter();
        let streams = families.flat_map(|family| {
            ways.map(|(way, listener)| Stream::open(&story, family, way, &listeners[listener]))
        });
        streams.collect()
    };
    let cut = open([
        (["client", "shop/cut"], 0),
        (["other/web", "shop/cut"], 0),
        (["shop/cut", "partner"], 2),
    ]);
    let kept = open([
        (["client", "shop/kept"], 1),
        (["other/web", "shop/kept"], 1),
        (["shop/kept", "partner"], 2),
    ]);
    for stream in cut.iter().chain(&kept) {
        stream.until_it_runs();
    }

    // Half a second of each is enough to see that they run on.
    let sent_again: Vec<u32> = kept.iter().map(|stream| stream.retransmitted(lab)).collect();
    story.act("cut", &policy("cut", "[]"));
    std::thread::sleep(CUT);
    let silent: Vec<[u64; 2]> = cut.iter().map(Stream::received).collect();
    for stream in &kept {
        stream.until_it_runs();
    }
    // Kernels try again meanwhile.
    std::thread::sleep(CUT);
    for (stream, silent) in cut.iter().zip(silent) {
        assert_eq!(stream.received(), silent, "{} is cut", stream.name);
        assert!(stream.retransmitted(lab) > 0, "{} is cut", stream.name);
    }
    for (stream, direction) in cut.iter().zip(["ingress", "ingress", "egress"].iter().cycle()) {
        let by = format!("NetworkPolicy shop/cut default deny {direction} (policy_{direction})");
        let explained = explained(&story, stream);
        assert!(explained.contains(&format!("of this flow: cut by {by}\n")), "{explained}");
    }
    for stream in &kept {
        let explained = explained(&story, stream);
        assert!(explained.contains("of this flow: forwarded\n"), "{explained}");
    }
    for reason in ["\"policy_ingress\"", "\"policy_egress\""] {
        assert!(story.gateway.metric("sluice_drops_total", &[reason]) >= 2.0, "{reason}");
    }

    story.act("cut", &policy("cut", all));
    for stream in cut.iter().chain(&kept) {
        stream.until_it_runs();
    }
    for (stream, before) in kept.iter().zip(sent_again) {
        let again = stream.retransmitted(lab) - before;
        assert!(again <= NOISE, "{}: {again} segments were sent again", stream.name);
    }
    cut.into_iter().chain(kept).for_each(Stream::finish);
    assert_undamaged(lab);
    if queues > 1 {
        for worker in 0..queues {
            let labels = [&format!("worker=\"{worker}\""), "direction=\"in\""];
            let handed = story.gateway.metric("sluice_handoffs_total", &labels);
            assert!(handed > 0.0, "worker {worker} was handed nothing");
        }
    }
    story.end();
}
