use crossbeam_channel::bounded;
use sluice_tables::mailbox::ToWorker;
use sluice_tables::{Answer, AnswerBuffers};

use super::Gateway;

impl Gateway {
    /// Gives the workers what they tell of DNS answers with.
    pub(super) fn hand_buffers(&mut self) -> Result<(), String> {
        if std::mem::replace(&mut self.has_buffers, true) {
            return Ok(());
        }
        for control in &mut self.controls {
            let (bell, _) = bounded(1);
            control
                .send(ToWorker::Answers(AnswerBuffers::new(bell)))
                .map_err(|_| "a worker's mailbox is full".to_owned())?;
        }
        Ok(())
    }

    /// The DNS answers that workers have told of and hold, unless they have given up.
    pub fn answers(&self) -> &[(usize, Answer)] {
        &self.answers
    }

    /// Lets all DNS answers go on that workers have told of, in the order in which they did.
    ///
    /// # Errors
    /// When there is none, or a worker does not take it.
    pub fn release(&mut self) -> Result<(), String> {
        let answers = std::mem::take(&mut self.answers);
        if answers.is_empty() {
            return Err("no worker has told of an answer".to_owned());
        }
        for (worker, answer) in answers {
            let release = ToWorker::Release { id: answer.id, buffer: answer.message };
            self.controls[worker]
                .send(release)
                .map_err(|_| "a worker's mailbox is full".to_owned())?;
            self.settle()?;
        }
        Ok(())
    }
}
