use super::TcpEngine;
use super::connection::Connection;
use crate::tcp::conn::{Ended, TcpConn, TcpState};
use std::net::SocketAddr;
use std::task::{Context, Poll};

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

    fn get_mut(&mut self) -> &mut Connection {
        let connection = self.engine.slots[self.slot as usize].connection.as_deref_mut();
        connection.expect("an engine lends what is there, and is borrowed meanwhile")
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
        let connection = self.get_mut();
        let state = connection.state();
        if let Some(ended) = connection.over() {
            Poll::Ready(Err(ended))
        } else if state.is_opening() {
            connection.machine.wake_writer(context.waker());
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<Result<usize, Ended>> {
        let connection = self.get_mut();
        if into.is_empty() {
            return Poll::Ready(Ok(0));
        }
        match (connection.machine.read(into), connection.over()) {
            (Some(0), _) => Poll::Ready(Ok(0)),
            (Some(read), _) => {
                connection.read = connection.read.wrapping_add(read as u32);
                // The window has room again, which may have to be told.
                self.make_ready();
                Poll::Ready(Ok(read))
            }
            (None, Some(ended)) => Poll::Ready(Err(ended)),
            (None, None) => {
                connection.machine.wake_reader(context.waker());
                Poll::Pending
            }
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Ended>> {
        let connection = self.get_mut();
        if let Some(ended) = connection.over() {
            return Poll::Ready(Err(ended));
        }
        if connection.is_shut {
            return Poll::Ready(Err(Ended::Closed));
        }
        let written = connection.machine.write(data);
        if written == 0 && !data.is_empty() {
            connection.machine.wake_writer(context.waker());
            return Poll::Pending;
        }
        connection.written = connection.written.wrapping_add(written as u32);
        self.make_ready();
        Poll::Ready(Ok(written))
    }

    fn poll_acknowledged(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        use TcpState::*;
        let connection = self.get_mut();
        if let Some(ended) = connection.ended {
            return Poll::Ready(Err(ended));
        }
        let is_all = match connection.state() {
            SynSent | SynReceived => false,
            FinWait2 | TimeWait | Closed => true,
            _ => !connection.is_shut && connection.machine.unacknowledged() == 0,
        };
        if is_all {
            return Poll::Ready(Ok(()));
        }
        connection.machine.wake_writer(context.waker());
        Poll::Pending
    }

    fn shutdown(&mut self) {
        self.get_mut().shutdown();
        self.make_ready();
    }

    fn abort(&mut self) {
        self.get_mut().end(Ended::Aborted);
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
