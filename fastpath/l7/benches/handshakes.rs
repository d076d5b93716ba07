//! Full handshakes a second of processor time: what the gateway's helpers and the worker
//! spend on one, beside rustls alone with the same certificate and key exchange, on one
//! thread and without a network. The two take turns; the client's share is measured apart
//! and left out of both.

#[path = "../tests/tls/world.rs"]
#[allow(dead_code)] // Tests need more of it.
mod world;

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use sluice_l7::tls::{Handshakes, KeyExchange, TlsConfig};
use std::sync::Arc;
use std::time::Duration;

/// Handshakes of a round.
const HANDSHAKES: usize = 2_000;
/// Those that are under way at once.
const AT_ONCE: usize = 8;
const ROUNDS: usize = 5;
const NAME: &str = "shop.example";

fn main() {
    println!(
        "{:<12}{:<16}{:>14}{:>14}{:>8}",
        "key", "exchange", "rustls us", "gateway us", "share"
    );
    for (key, algorithm) in
        [("ecdsa-p256", &PKCS_ECDSA_P256_SHA256), ("rsa-2048", &PKCS_RSA_SHA256)]
    {
        for (group, exchange) in
            [("x25519", KeyExchange::Classical), ("x25519mlkem768", KeyExchange::Hybrid)]
        {
            let authority = world::Authority::new("authority");
            let issued = authority.issue_with(&[NAME], 2100, algorithm);
            let case = Case::new(&authority, issued, exchange);
            let mut rounds: Vec<(f64, f64)> = (0..ROUNDS).map(|_| case.round()).collect();
            rounds.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
            let (alone, gateway) = rounds[ROUNDS / 2];
            let us = |time: f64| time * 1e6;
            println!(
                "{key:<12}{group:<16}{:>14.1}{:>14.1}{:>8.2}",
                us(alone),
                us(gateway),
                alone / gateway
            );
        }
    }
}

/// Both servers, and the client of both.
struct Case {
    client: Arc<ClientConfig>,
    alone: Arc<ServerConfig>,
    gateway: Handshakes,
    certificates: Arc<sluice_tables::l7::Certificates>,
}

type Issued =
    (rustls::pki_types::CertificateDer<'static>, rustls::pki_types::PrivateKeyDer<'static>);

impl Case {
    fn new(authority: &world::Authority, issued: Issued, exchange: KeyExchange) -> Self {
        let mut provider = default_provider();
        provider.kx_groups = match exchange {
            KeyExchange::Classical => vec![kx_group::X25519],
            _ => vec![kx_group::X25519MLKEM768],
        };
        let provider = Arc::new(provider);
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(authority.roots())
            .with_no_client_auth();
        client.resumption = rustls::client::Resumption::disabled();
        let mut alone = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![issued.0.clone()], issued.1.clone_key())
            .unwrap();
        alone.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
        let config = TlsConfig { per_source: None, key_exchange: exchange, ..TlsConfig::default() };
        Case {
            client: Arc::new(client),
            alone: Arc::new(alone),
            gateway: Handshakes::start(config).unwrap(),
            certificates: world::default_only(&world::row(issued)),
        }
    }

    /// Seconds of a handshake's server: of rustls alone, and of the gateway.
    fn round(&self) -> (f64, f64) {
        let (mut client, mut server) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..HANDSHAKES {
            self.alone(&mut client, &mut server);
        }
        let before = processor_time();
        world::block_on(async {
            let some = || async {
                for _ in 0..HANDSHAKES / AT_ONCE {
                    world::met(&self.gateway, &self.certificates, &self.client, NAME).await;
                }
            };
            tokio::join!(some(), some(), some(), some(), some(), some(), some(), some());
        });
        let all = processor_time() - before;
        let each = |time: Duration| time.as_secs_f64() / HANDSHAKES as f64;
        (each(server), each(all) - each(client))
    }

    fn alone(&self, of_client: &mut Duration, of_server: &mut Duration) {
        let name = NAME.try_into().unwrap();
        let mut hello = Vec::new();
        let mut client = timed(of_client, || {
            let mut client = ClientConnection::new(self.client.clone(), name).unwrap();
            client.write_tls(&mut hello).unwrap();
            client
        });
        let mut answer = Vec::new();
        let mut server = timed(of_server, || {
            let mut server = ServerConnection::new(self.alone.clone()).unwrap();
            server.read_tls(&mut &hello[..]).unwrap();
            server.process_new_packets().unwrap();
            while server.wants_write() {
                server.write_tls(&mut answer).unwrap();
            }
            server
        });
        let mut finished = Vec::new();
        timed(of_client, || {
            let mut answer = &answer[..];
            while !answer.is_empty() {
                client.read_tls(&mut answer).unwrap();
                client.process_new_packets().unwrap();
            }
            while client.wants_write() {
                client.write_tls(&mut finished).unwrap();
            }
        });
        timed(of_server, || {
            server.read_tls(&mut &finished[..]).unwrap();
            server.process_new_packets().unwrap();
            let mut tickets = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut tickets).unwrap();
            }
        });
        assert!(!server.is_handshaking());
    }
}

/// Does something, and adds the processor time that this thread has spent on it.
fn timed<T>(sum: &mut Duration, what: impl FnOnce() -> T) -> T {
    let before = thread_time();
    let done = what();
    *sum += thread_time() - before;
    done
}

fn thread_time() -> Duration {
    time_of(rustix::time::ClockId::ThreadCPUTime)
}

/// Of all threads.
fn processor_time() -> Duration {
    time_of(rustix::time::ClockId::ProcessCPUTime)
}

fn time_of(clock: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
