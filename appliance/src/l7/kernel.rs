//! Requests served on sockets of the kernel (`l7.io: kernel`), on a thread of its own. A
//! worker passes the tables on.

use super::access::Access;
use anyhow::Context;
use crossbeam_channel::{Receiver, Sender};
use sluice_fastpath::local::{LocalContext, LocalPacket, LocalService};
use sluice_io::Frame;
use sluice_l7::asks::{Ask, asks};
use sluice_l7::kernel::{self, KernelNet, KernelServer};
use sluice_l7::net::Net;
use sluice_l7::serving::{Serving, ServingOptions};
use sluice_l7::tls::Handshakes;
use sluice_l7::worker::L7Told;
use sluice_tables::Tables;
use sluice_tables::l7::ListenerId;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// How often what is counted is published, in nanoseconds.
const PUBLISH_INTERVAL_NS: u64 = 250_000_000;

/// What the thread is given.
pub(super) struct Setup {
    /// Where it listens.
    pub addrs: Vec<(SocketAddr, ListenerId)>,
    pub serving: ServingOptions,
    pub handshakes: Handshakes,
    /// Makes the one who is told of requests, on the thread.
    pub observer: Box<dyn FnOnce() -> Access + Send>,
    pub seed: u64,
}

/// The tables that the thread takes next. They are moved there, so that no worker frees
/// those that are not used any more.
#[derive(Default)]
pub(super) struct Newest {
    tables: Mutex<Option<Arc<Tables>>>,
    is_there: Notify,
}

impl Newest {
    fn put(&self, tables: Arc<Tables>) {
        let older = self.slot().replace(tables);
        self.is_there.notify_one();
        drop(older);
    }

    async fn take(&self) -> Arc<Tables> {
        loop {
            let there = self.slot().take();
            match there {
                Some(tables) => return tables,
                None => self.is_there.notified().await,
            }
        }
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<Tables>>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread, and the ways to it.
pub(super) struct Kernel {
    pub tables: Arc<Newest>,
    pub told: Arc<Mutex<L7Told>>,
    pub asks: Sender<Ask>,
    leave: Option<oneshot::Sender<Duration>>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Kernel {
    /// Starts it, and waits until it listens.
    ///
    /// # Errors
    /// An address is nobody's here, or another program's.
    pub fn start(setup: Setup) -> anyhow::Result<Self> {
        let tables: Arc<Newest> = Arc::default();
        let received = Arc::clone(&tables);
        let (stop, stopped) = oneshot::channel();
        let (leave, leaves) = oneshot::channel();
        let (tell, listens) = crossbeam_channel::bounded(1);
        let told: Arc<Mutex<L7Told>> = Arc::default();
        let publish = Arc::clone(&told);
        let (asks, asked) = asks();
        let thread = std::thread::Builder::new().name("l7".to_owned()).spawn(move || {
            let failed = tell.clone();
            let ran = kernel::run(|net| async move {
                match Serves::new(&net, setup) {
                    Ok(serves) => {
                        let _ = tell.send(Ok(()));
                        serves.run(&net, received, leaves, stopped, publish, asked).await;
                    }
                    Err(error) => drop(tell.send(Err(error))),
                }
            });
            if let Err(error) = ran {
                let _ = failed.send(Err(anyhow::Error::new(error).context("there is no runtime")));
            }
        });
        let thread = thread.context("cannot start the thread of requests")?;
        listens.recv().context("the thread of requests has ended")??;
        Ok(Kernel { tables, told, asks, leave: Some(leave), stop, thread })
    }

    /// Ends what there is in order, in a time; those who come up to then are served.
    pub fn drain(&mut self, wait: Duration) {
        if let Some(leave) = self.leave.take() {
            let _ = leave.send(wait);
        }
    }

    /// Ends it: nobody is let in, and what is there is cut.
    pub fn stop(self) {
        let Kernel { stop, thread, .. } = self;
        let _ = stop.send(());
        if thread.join().is_err() {
            tracing::error!("the thread of requests has panicked");
        }
    }
}

/// What runs on the thread.
struct Serves {
    server: KernelServer,
    serving: Rc<Serving<KernelNet>>,
}

impl Serves {
    fn new(net: &KernelNet, setup: Setup) -> anyhow::Result<Self> {
        let Setup { addrs, serving, handshakes, observer, seed } = setup;
        let server = KernelServer::bind(net, addrs).context("cannot listen for requests")?;
        let observer = Rc::new(observer());
        let serving = Serving::new(net.clone(), &serving, &handshakes, observer, seed);
        let serving = Rc::new(serving.context("cannot set up TLS with endpoints")?);
        Ok(Serves { server, serving })
    }

    async fn run(
        self,
        net: &KernelNet,
        tables: Arc<Newest>,
        leaves: oneshot::Receiver<Duration>,
        stopped: oneshot::Receiver<()>,
        told: Arc<Mutex<L7Told>>,
        asked: Receiver<Ask>,
    ) {
        let (serving, policies) = (self.serving.clone(), net.clone());
        net.spawn(async move {
            loop {
                let tables = tables.take().await;
                serving.take_tables(&tables.l7);
                policies.take_tables(tables);
            }
        });
        let (serving, time) = (self.serving.clone(), net.clone());
        net.spawn(async move {
            loop {
                let served = serving.served();
                told.lock().unwrap_or_else(PoisonError::into_inner).served = served;
                if let Ok(ask) = asked.try_recv() {
                    serving.answer(ask);
                }
                time.sleep_until(time.now_ns() + PUBLISH_INTERVAL_NS).await;
            }
        });
        let (serving, time) = (self.serving.clone(), net.clone());
        net.spawn(async move {
            if let Ok(wait) = leaves.await {
                let wait_ns = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
                serving.drain(time.now_ns().saturating_add(wait_ns));
            }
        });
        let stop = async {
            // Whoever would say it is gone: that says it, too.
            let _ = stopped.await;
        };
        self.server.serve(self.serving.proxy().clone(), stop, Duration::ZERO).await;
    }
}

/// Passes a worker's tables on. Nothing ends at the worker.
pub(super) struct PassOn(pub Arc<Newest>);

impl LocalService for PassOn {
    fn deliver(&mut self, packet: LocalPacket, _: &mut LocalContext<'_>) -> Result<(), Frame> {
        Err(packet.into_frame())
    }

    fn poll(&mut self, _: &mut LocalContext<'_>) -> Option<Frame> {
        None
    }

    fn take_tables(&mut self, tables: &Arc<Tables>) {
        self.0.put(Arc::clone(tables));
    }
}
