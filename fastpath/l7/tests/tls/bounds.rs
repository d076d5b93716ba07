use super::world::{
    Accepted, Authority, SOURCE, block_on, default_only, drip, hello, meet, meet_over, pipe,
    poll_once, refused,
};
use rustls::ClientConfig;
use sluice_l7::tls::{Handshakes, SourceLimits, TlsConfig, TlsRefusal};
use sluice_tables::l7::{Certificate, Certificates};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::Poll;
use std::thread::JoinHandle;
use tokio::io::{AsyncWriteExt, DuplexStream};

/// Makes helpers wait at a certificate, until something is sent or it is dropped.
fn block(certificate: &Arc<Certificate>) -> (Sender<()>, JoinHandle<()>) {
    let (release, released) = channel();
    let (block, blocked) = channel();
    let certificate = Arc::clone(certificate);
    let blocker = std::thread::spawn(move || {
        certificate.prepared.get_or_init(|| {
            block.send(()).unwrap();
            let _ = released.recv();
            Arc::new(())
        });
    });
    blocked.recv().unwrap();
    (release, blocker)
}

type Begun = (Pin<Box<dyn Future<Output = Accepted>>>, DuplexStream);

/// A handshake whose client has begun, and has not gone on.
fn begin(
    handshakes: &Handshakes,
    certificates: &Arc<Certificates>,
    client: &Arc<ClientConfig>,
) -> Begun {
    let (near, mut far) = pipe(64 << 10);
    block_on(far.write_all(&hello(client, "shop.example"))).unwrap();
    (Box::pin(handshakes.accept(near, certificates, SOURCE, 0)), far)
}

fn start(config: TlsConfig) -> (Handshakes, Arc<Certificates>, Arc<ClientConfig>) {
    let authority = Authority::new("authority");
    let certificates = default_only(&authority.certificate(&["shop.example"]));
    (Handshakes::start(config).unwrap(), certificates, Arc::new(authority.client()))
}

fn refusal(polled: Poll<Accepted>) -> Option<TlsRefusal> {
    match polled {
        Poll::Pending => None,
        Poll::Ready(accepted) => Some(accepted.unwrap_err().refusal),
    }
}

/// Begins handshakes until one is with the helper, which is blocked, and one waits.
fn fill(
    handshakes: &Handshakes,
    certificates: &Arc<Certificates>,
    client: &Arc<ClientConfig>,
) -> (Vec<Begun>, u64) {
    let (mut begun, mut shed) = (Vec::new(), 0);
    while begun.len() < 2 {
        let (mut accept, far) = begin(handshakes, certificates, client);
        match refusal(poll_once(accept.as_mut())) {
            None => begun.push((accept, far)),
            Some(refusal) => {
                assert_eq!(refusal, TlsRefusal::Shed);
                shed += 1;
                std::thread::yield_now();
            }
        }
    }
    (begun, shed)
}

#[test]
fn what_the_queue_does_not_take_is_shed() {
    let config = TlsConfig { queue_max: 1, per_source: None, ..TlsConfig::default() };
    let (handshakes, certificates, client) = start(config);
    let (release, blocker) = block(certificates.default.as_ref().unwrap());
    let (begun, mut shed) = fill(&handshakes, &certificates, &client);
    for _ in 0..5 {
        let (refusal, said) =
            block_on(refused(&handshakes, &certificates, &client, "shop.example"));
        assert_eq!(refusal, TlsRefusal::Shed);
        assert!(said.contains("InternalError"), "{said}");
        shed += 1;
    }
    assert_eq!(handshakes.counters().clients.refused(TlsRefusal::Shed), shed);
    assert_eq!(handshakes.counters().clients.done, 0);
    // Both are given up. The one that waits is not begun; the other one's end is nobody's.
    drop(begun);
    drop(release);
    blocker.join().unwrap();
    block_on(async {
        // There may be no room yet, until the helper has come to the one given up.
        loop {
            let (accepted, _) = meet(&handshakes, &certificates, &client, "shop.example").await;
            match accepted {
                Ok(_) => break,
                Err(refused) => assert_eq!(refused.refusal, TlsRefusal::Shed),
            }
        }
    });
    assert_eq!(handshakes.counters().abandoned, 1);
}

#[test]
fn stopping_refuses_what_waits_and_what_comes() {
    let config = TlsConfig { queue_max: 1, per_source: None, ..TlsConfig::default() };
    let (handshakes, certificates, client) = start(config);
    let (release, blocker) = block(certificates.default.as_ref().unwrap());
    let (mut begun, _) = fill(&handshakes, &certificates, &client);
    let stopping = handshakes.clone();
    let stopper = std::thread::spawn(move || stopping.stop());
    drop(release);
    stopper.join().unwrap();
    blocker.join().unwrap();
    let (waiting, _far) = begun.pop().unwrap();
    // The helper may have come to it before it saw that it is to end: then it waits for
    // its client, and the next turn is refused.
    drop(begun);
    let mut waiting = waiting;
    if let Some(refusal) = refusal(poll_once(waiting.as_mut())) {
        assert_eq!(refusal, TlsRefusal::Stopping);
    }
    for _ in 0..3 {
        let (refusal, said) =
            block_on(refused(&handshakes, &certificates, &client, "shop.example"));
        assert_eq!(refusal, TlsRefusal::Stopping);
        assert!(said.contains("InternalError"), "{said}");
    }
    handshakes.stop();
}

#[test]
fn so_many_are_under_way_and_one_given_up_makes_room() {
    let config = TlsConfig { under_way_max: 1, per_source: None, ..TlsConfig::default() };
    let (handshakes, certificates, client) = start(config);
    for _ in 0..3 {
        let (mut first, _far) = begin(&handshakes, &certificates, &client);
        assert!(poll_once(first.as_mut()).is_pending());
        let (refusal, _) = block_on(refused(&handshakes, &certificates, &client, "shop.example"));
        assert_eq!(refusal, TlsRefusal::Shed);
        drop(first);
        let (accepted, _) = block_on(meet(&handshakes, &certificates, &client, "shop.example"));
        assert!(accepted.is_ok());
    }
    assert_eq!(handshakes.counters().clients.refused(TlsRefusal::Shed), 3);
}

#[test]
fn one_source_has_its_share() {
    let limits = SourceLimits { under_way_max: 2, per_s: 4, sources_max: 64 };
    let config = TlsConfig { per_source: Some(limits), ..TlsConfig::default() };
    let (handshakes, certificates, _client) = start(config);
    let accept = |source: &str, now_ns| {
        let source: IpAddr = source.parse().unwrap();
        let (near, far) = pipe(64);
        let mut accept = Box::pin(handshakes.accept(near, &certificates, source, now_ns));
        (refusal(poll_once(accept.as_mut())), accept, far)
    };
    for source in ["192.0.2.1", "2001:db8::1"] {
        let begun = [accept(source, 0), accept(source, 0)];
        assert!(begun.iter().all(|(refusal, ..)| refusal.is_none()));
        assert_eq!(accept(source, 0).0, Some(TlsRefusal::SourceLimit), "two are under way");
        drop(begun);
        assert_eq!(accept(source, 0).0, None);
        assert_eq!(accept(source, 0).0, None);
        assert_eq!(accept(source, 0).0, Some(TlsRefusal::SourceLimit), "four were begun");
        assert_eq!(accept(source, 1_000_000_000).0, None);
    }
    assert_eq!(accept("192.0.2.2", 0).0, None);
    assert_eq!(handshakes.counters().clients.refused(TlsRefusal::SourceLimit), 4);
    assert_eq!(handshakes.counters().sources_untracked, 0);
}

#[test]
fn a_handshake_may_be_given_up_at_any_time() {
    let limits = SourceLimits { under_way_max: 1, per_s: 1_000_000, sources_max: 64 };
    let config = TlsConfig { under_way_max: 1, per_source: Some(limits), ..TlsConfig::default() };
    let (handshakes, certificates, client) = start(config);
    for polls_max in (0..400).step_by(7) {
        block_on(async {
            let mut polls = 0;
            let mut both =
                Box::pin(meet_over(drip(), &handshakes, &certificates, &client, "shop.example"));
            std::future::poll_fn(|cx| {
                polls += 1;
                match polls > polls_max {
                    true => Poll::Ready(()),
                    false => both.as_mut().poll(cx).map(drop),
                }
            })
            .await;
            drop(both);
            // Nothing of it is left, or this one would be refused.
            let (accepted, _) = meet(&handshakes, &certificates, &client, "shop.example").await;
            accepted.map(drop).unwrap();
        });
    }
}

#[test]
fn a_helper_serves_several_at_once_and_several_helpers_serve_one_worker() {
    let config = TlsConfig { helpers: 3, per_source: None, ..TlsConfig::default() };
    let (handshakes, certificates, client) = start(config);
    block_on(async {
        let meet = || meet(&handshakes, &certificates, &client, "shop.example");
        for _ in 0..10 {
            let all = tokio::join!(meet(), meet(), meet(), meet());
            for (accepted, connected) in <[_; 4]>::from(all) {
                assert!(accepted.is_ok() && connected.is_ok());
            }
        }
    });
    assert_eq!(handshakes.counters().clients.done, 40);
}
