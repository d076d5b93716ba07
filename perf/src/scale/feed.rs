use crossbeam_channel::{Receiver, Sender, select};
use sluice_control::Source;
use sluice_control::source::Batch;
use std::convert::Infallible;

/// A source that passes on what it is given.
pub struct Feed(pub Receiver<Batch>);

impl Source for Feed {
    fn describe(&self) -> String {
        "a generator".to_owned()
    }

    fn run(self: Box<Self>, events: &Sender<Batch>, stop: &Receiver<Infallible>) {
        loop {
            select! {
                recv(self.0) -> batch => match batch {
                    Ok(batch) => if events.send(batch).is_err() { return },
                    Err(_) => {
                        let _ = stop.recv();
                        return;
                    }
                },
                recv(stop) -> _ => return,
            }
        }
    }
}
