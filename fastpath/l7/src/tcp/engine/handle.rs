use super::connection::Connection;
use super::{Env, TcpEngine};
use crate::tcp::conn::{Ended, TcpConn, TcpState};
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

/// A connection of an engine, borrowed.
pub struct Conn<'a> {
    engine: &'a mut TcpEngine,
    slot: u32,
}

impl<'a> Conn<'a> {
    /// `slot` holds a connection.
    pub(super) fn new(engine: &'a mut TcpEngine, slot: u32) -> Self {
        Conn { engine, slot }
    }

    fn get(&self) -> &Connection {
        let connection = self.engine.slots[self.slot as usize].connection.as_deref();
        connection.expect("an engine lends what is there, and is borrowed meanwhile")
    }

    fn get_mut(&mut self) -> (&mut Connection, Env<'_>) {
        let engine = &mut *self.engine;
        let connection = engine.slots[self.slot as usize].connection.as_deref_mut();
        let connection =
            connection.expect("an engine lends what is there, and is borrowed meanwhile");
        let env =
            Env { now_ns: engine.now_ns, pool: &mut engine.pool, counters: &mut engine.counters };
        (connection, env)
    }

    fn make_ready(&mut self) {
        self.engine.make_ready(self.slot);
    }
}

impl TcpConn for Conn<'_> {
    fn local(&self) -> SocketAddr {
        self.get().key.local()
    }

    fn remote(&self) -> SocketAddr {
        self.get().key.remote()
    }

    fn state(&self) -> TcpState {
        self.get().state()
    }

    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        let (connection, _) = self.get_mut();
        let state = connection.state();
        if let Some(ended) = connection.over() {
            Poll::Ready(Err(ended))
        } else if state.is_opening() {
            keep(&mut connection.writer, context);
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    }

    fn readable(&self) -> usize {
        self.get().machine.unread() as usize
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<Result<usize, Ended>> {
        let (connection, mut env) = self.get_mut();
        if into.is_empty() {
            return Poll::Ready(Ok(0));
        }
        match (connection.machine.read(into, &mut env), connection.over()) {
            (Some(read), _) => {
                // The window may have room again that is to be told.
                if connection.machine.owes_ack() {
                    self.make_ready();
                }
                Poll::Ready(Ok(read))
            }
            (None, Some(ended)) => Poll::Ready(Err(ended)),
            (None, None) => {
                keep(&mut connection.reader, context);
                Poll::Pending
            }
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Ended>> {
        let (connection, mut env) = self.get_mut();
        if let Some(ended) = connection.over() {
            return Poll::Ready(Err(ended));
        }
        if connection.is_shut {
            return Poll::Ready(Err(Ended::Closed));
        }
        let written = connection.machine.write(data, &mut env);
        if written == 0 && !data.is_empty() {
            keep(&mut connection.writer, context);
            return Poll::Pending;
        }
        self.make_ready();
        Poll::Ready(Ok(written))
    }

    fn poll_acknowledged(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        let (connection, _) = self.get_mut();
        if let Some(ended) = connection.ended {
            return Poll::Ready(Err(ended));
        }
        if connection.machine.is_acknowledged() {
            return Poll::Ready(Ok(()));
        }
        keep(&mut connection.writer, context);
        Poll::Pending
    }

    fn shutdown(&mut self) {
        let (connection, mut env) = self.get_mut();
        connection.shutdown(&mut env);
        self.make_ready();
    }

    fn abort(&mut self) {
        let (connection, mut env) = self.get_mut();
        connection.end(Ended::Aborted, &mut env);
        self.make_ready();
    }
}

impl Connection {
    /// Why nothing goes any more, if so.
    fn over(&self) -> Option<Ended> {
        match self.ended {
            None if self.state() == TcpState::Closed => Some(Ended::Closed),
            ended => ended,
        }
    }
}

/// Keeps who is to be woken.
fn keep(place: &mut Option<Waker>, context: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(context.waker()),
        None => *place = Some(context.waker().clone()),
    }
}
