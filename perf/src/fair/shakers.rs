//! Clients' ends of TLS, on a thread of their own: what they compute is not to keep the
//! generator from its schedule.

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender, unbounded};
use hashbrown::HashMap;
use rtrb::{Consumer, Producer, PushError, RingBuffer};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::sync::Arc;
use std::thread::JoinHandle;

enum Told {
    Begin(u32),
    Bytes(u32, Vec<u8>),
    Forget(u32),
}

/// What a client says.
#[derive(Debug)]
pub struct Said {
    /// Bytes for the gateway.
    pub bytes: Vec<u8>,
    /// The handshake is over, by success or not.
    pub is_over: Option<bool>,
}

/// What clients have said that is not heard yet.
const SAID_MAX: usize = 1 << 14;

/// The thread.
pub struct Shakers {
    tell: Option<Sender<Told>>,
    /// A ring whose ends never wait for each other. The receiver of a channel may: for a sender
    /// that is in the midst of it, and gets no time on a core whose other threads run first.
    said: Consumer<(u32, Said)>,
    thread: Option<JoinHandle<()>>,
}

/// The name that clients ask for.
pub const NAME: &str = "shop.example";

impl Shakers {
    /// Starts the thread, on the cores of the calling one. Its clients trust a root, and
    /// know of no session from before.
    ///
    /// # Errors
    /// When the root is none, or there is no thread left.
    pub fn start(root: CertificateDer<'static>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(root).context("the root")?;
        let mut provider = default_provider();
        provider.kx_groups = vec![kx_group::X25519MLKEM768];
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::disabled();
        let (tell, told) = unbounded();
        let (mut say, said) = RingBuffer::new(SAID_MAX);
        let name = ServerName::try_from(NAME)?;
        let thread = std::thread::Builder::new().name("shakers".to_owned());
        let thread = thread.spawn(move || shake(&Arc::new(config), &name, &told, &mut say))?;
        Ok(Shakers { tell: Some(tell), said, thread: Some(thread) })
    }

    fn tell(&self, told: Told) {
        // The thread ends after this only.
        let _ = self.tell.as_ref().map(|tell| tell.send(told));
    }

    /// A connection is open.
    pub fn begin(&self, number: u32) {
        self.tell(Told::Begin(number));
    }

    /// Bytes of the gateway have come.
    pub fn hear(&self, number: u32, bytes: Vec<u8>) {
        self.tell(Told::Bytes(number, bytes));
    }

    /// A connection has ended too early.
    pub fn forget(&self, number: u32) {
        self.tell(Told::Forget(number));
    }

    /// What one of them says next.
    pub fn said(&mut self) -> Option<(u32, Said)> {
        self.said.pop().ok()
    }
}

impl Drop for Shakers {
    fn drop(&mut self) {
        drop(self.tell.take());
        if let Some(thread) = self.thread.take() {
            while !thread.is_finished() {
                // It may wait for room.
                let _ = self.said.pop();
                std::thread::yield_now();
            }
            let _ = thread.join();
        }
    }
}

fn shake(
    config: &Arc<ClientConfig>,
    name: &ServerName<'static>,
    told: &Receiver<Told>,
    say: &mut Producer<(u32, Said)>,
) {
    let mut conns: HashMap<u32, ClientConnection> = HashMap::new();
    for told in told {
        let (number, said) = match told {
            Told::Begin(number) => {
                let said = ClientConnection::new(config.clone(), name.clone()).ok().map(|conn| {
                    let conn = conns.entry(number).insert(conn).into_mut();
                    Said { bytes: written(conn), is_over: None }
                });
                (number, said)
            }
            Told::Bytes(number, bytes) => {
                let said = conns.get_mut(&number).map(|conn| hear(conn, &bytes));
                (number, said)
            }
            Told::Forget(number) => {
                conns.remove(&number);
                continue;
            }
        };
        let Some(said) = said else { continue };
        if said.is_over.is_some() {
            conns.remove(&number);
        }
        let mut said = (number, said);
        while let Err(PushError::Full(unsaid)) = say.push(said) {
            if say.is_abandoned() {
                return;
            }
            said = unsaid;
            std::thread::yield_now();
        }
    }
}

fn hear(conn: &mut ClientConnection, mut bytes: &[u8]) -> Said {
    let mut is_good = true;
    while is_good && !bytes.is_empty() {
        is_good = conn.read_tls(&mut bytes).is_ok() && conn.process_new_packets().is_ok();
    }
    let is_over = match is_good {
        true => (!conn.is_handshaking()).then_some(true),
        false => Some(false),
    };
    if is_over == Some(true) {
        conn.send_close_notify();
    }
    Said { bytes: written(conn), is_over }
}

fn written(conn: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to a `Vec` does not fail.
    while conn.wants_write() && conn.write_tls(&mut bytes).is_ok_and(|len| len > 0) {}
    bytes
}
