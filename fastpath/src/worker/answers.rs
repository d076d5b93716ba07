//! DNS answers that wait: what control is told of them.

use super::Worker;
use sluice_tables::mailbox::FromWorker;

/// Room in the mailbox that answers leave for everything else.
const ROOM_LEFT: usize = 16;

impl Worker {
    /// Tells control of the answers that wait, as many as there is room for.
    #[cold]
    pub(super) fn tell_answers(&mut self) {
        let mut is_any = false;
        while self.mailbox.room() > ROOM_LEFT {
            let Some(answer) = self.core.answers.tell() else { break };
            let _ = self.mailbox.send(FromWorker::Answer(answer));
            is_any = true;
        }
        if is_any {
            self.core.answers.ring();
        }
    }
}
