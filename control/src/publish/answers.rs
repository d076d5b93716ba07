//! DNS answers that workers hold, and their release.

use super::{HeldAnswer, Publisher, Worker};
use crossbeam_channel::{Receiver, Sender};
use sluice_tables::AnswerBuffers;
use sluice_tables::mailbox::ToWorker;

impl Publisher {
    /// Rings when workers have told of DNS answers.
    pub fn bell(&self) -> &Receiver<()> {
        &self.bell.1
    }

    /// The DNS answers that workers have told of since the last call: no more than
    /// each has buffers. Each is to be released.
    pub fn take_answers(&mut self) -> Vec<HeldAnswer> {
        std::mem::take(&mut self.answers)
    }

    /// Lets a worker send an answer that it holds. `buffer` is the message's.
    pub fn release(&mut self, worker: usize, id: u64, buffer: Vec<u8>) {
        let Some(worker) = self.workers.get_mut(worker) else { return };
        worker.releases.push_back((id, buffer));
        worker.send_releases();
    }
}

impl Worker {
    /// Gives the worker what it tells of answers with, once.
    pub(super) fn hand_buffers(&mut self, bell: &Sender<()>) {
        if !self.has_buffers && !self.is_gone && self.end.has_room() {
            let answers = ToWorker::Answers(AnswerBuffers::new(bell.clone()));
            self.has_buffers = self.end.send(answers).is_ok();
        }
    }

    /// Sends the releases that there is room for.
    pub(super) fn send_releases(&mut self) {
        if self.is_gone {
            self.releases.clear();
        }
        while self.end.has_room()
            && let Some((id, buffer)) = self.releases.pop_front()
        {
            if let Err(ToWorker::Release { id, buffer }) =
                self.end.send(ToWorker::Release { id, buffer })
            {
                self.releases.push_front((id, buffer));
                return;
            }
        }
    }
}
