//! The source, and what it brings.

use super::{BATCHES, Control};
use crate::diagnostic::{Diagnostic, Severity};
use crate::object::{Kind, Object};
use crate::source::kubernetes::SourceHealth;
use crate::source::{Batch, Event, Source};
use crate::status::{Board, Facts, IngressFacts};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::convert::Infallible;
use std::thread::JoinHandle;

/// What is known of the source.
pub(super) struct SourceState {
    /// Before it runs.
    pub(super) source: Option<Box<dyn Source>>,
    pub(super) description: String,
    pub(super) health: Option<SourceHealth>,
    pub(super) is_synced: bool,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl std::fmt::Debug for SourceState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceState")
            .field("description", &self.description)
            .finish_non_exhaustive()
    }
}

/// The source while it runs.
pub(super) struct Running {
    pub(super) batches: Receiver<Batch>,
    pub(super) stop: Sender<Infallible>,
    pub(super) thread: JoinHandle<()>,
}

impl Control {
    pub(super) fn start_source(&mut self) -> std::io::Result<Running> {
        let (sender, batches) = bounded(BATCHES);
        let (stop, stopped) = bounded(0);
        let source = self.source.source.take();
        let thread =
            std::thread::Builder::new().name("sluice-source".to_owned()).spawn(move || {
                if let Some(source) = source {
                    source.run(&sender, &stopped);
                }
            })?;
        Ok(Running { batches, stop, thread })
    }

    pub(super) fn source_ended(&mut self) {
        tracing::error!(source = %self.source.description, "the source has ended; changes are no longer seen");
        let message = format!(
            "the source ({}) has ended; changes are no longer seen",
            self.source.description
        );
        self.source.diagnostics.push(Diagnostic::general(Severity::Error, message));
    }

    pub(super) fn take(&mut self, batch: Batch) {
        self.event_at = Some(self.event_at.map_or(batch.at, |at| at.min(batch.at)));
        for event in batch.events {
            match event {
                Event::Applied { object, origin } => {
                    if let (Some(board), Object::Service(service)) = (&self.board, &object) {
                        board.service(&object.key().to_name(), Facts::of(service));
                    }
                    if let (Some(board), Object::Ingress(ingress)) = (&self.board, &object) {
                        board.ingress(&object.key().to_name(), Some(IngressFacts::of(ingress)));
                    }
                    self.cluster.apply(&object, origin);
                }
                Event::Moved { key, origin } => self.cluster.move_to(key, origin),
                Event::Deleted(key) => {
                    if let (Some(board), Kind::Service) = (&self.board, key.kind) {
                        board.service(&key.to_name(), None);
                    }
                    if let (Some(board), Kind::Ingress) = (&self.board, key.kind) {
                        board.ingress(&key.to_name(), None);
                    }
                    self.cluster.delete(&key);
                }
                Event::Refused { key, rest } => self.cluster.refuse(&key, rest.as_ref()),
                Event::Diagnostics(diagnostics) => {
                    self.log(&self.source.diagnostics, &diagnostics);
                    self.source.diagnostics = diagnostics;
                }
                Event::Synced => {
                    tracing::info!(source = %self.source.description, "there is a whole state, which is put in force");
                    self.source.is_synced = true;
                }
                Event::Confirmed => self.board.iter().for_each(Board::synced),
            }
        }
    }
}
