use super::L7;
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use sluice_l7::asks::{Ask, Ejected};
use sluice_l7::http::Clients;
use sluice_tables::mailbox::Waker;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long those who serve may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// How often one is woken who does not answer: it may have slept again before its time.
const WAKE_INTERVAL: Duration = Duration::from_millis(50);

/// The way to ask one who serves.
pub(super) struct Asking {
    pub asks: Sender<Ask>,
    /// Wakes it, if it sleeps.
    pub waker: Option<Waker>,
}

impl Asking {
    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }
}

impl L7 {
    /// Connections of clients, or of one, at each worker, at most so many at each. `None`:
    /// it has not answered.
    pub fn clients(&self, client: Option<IpAddr>, max: usize) -> Vec<(usize, Option<Clients>)> {
        self.ask(|reply| Ask::Clients { client, max, reply })
    }

    /// The endpoints that each worker leaves out for a while. `None`: it has not answered.
    pub fn ejected(&self) -> Vec<(usize, Option<Vec<Ejected>>)> {
        self.ask(|reply| Ask::Ejected { reply })
    }

    /// Asks all who serve, and waits for their answers: blocks for seconds at worst.
    fn ask<T>(&self, question: impl Fn(Sender<T>) -> Ask) -> Vec<(usize, Option<T>)> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let asking = self.workers.iter().enumerate();
        let asking = asking.filter_map(|(worker, of)| Some((worker, of.asking.get()?)));
        let waiting: Vec<_> = asking
            .map(|(worker, asking)| {
                let (reply, answer) = bounded(1);
                // One who is asked too much drops what is asked, and with it the way back.
                let _ = asking.asks.try_send(question(reply));
                (worker, asking, answer)
            })
            .collect();
        let answered = |asking: &Asking, answer: &crossbeam_channel::Receiver<T>| loop {
            asking.wake();
            match answer.recv_timeout(WAKE_INTERVAL) {
                Ok(answer) => return Some(answer),
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(_) => return None,
            }
        };
        let answers = waiting.into_iter();
        answers.map(|(worker, asking, answer)| (worker, answered(asking, &answer))).collect()
    }
}
