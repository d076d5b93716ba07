//! What is wrong: all of it for those who ask, what is new in the log and at objects.

use super::Control;
use crate::diagnostic::{Diagnostic, Reason, Severity};
use crate::object::Key;
use crate::status::{NoticeKind, notices};
use std::collections::BTreeSet;

impl Control {
    /// Logs what is newly wrong with objects.
    pub(super) fn log_findings(&mut self) {
        let mut new = self.cluster.take_new_findings();
        new.extend(self.compiler.take_new_findings());
        for (key, finding) in &new {
            log_one(&finding.at(key, self.cluster.origin(key)));
        }
        if let Some(board) = &self.board {
            notices::of(&new).into_iter().for_each(|notice| board.tell(notice));
        }
    }

    /// What is wrong with objects, by themselves or together.
    pub(super) fn contextual(&self) -> Vec<Diagnostic> {
        crate::check::located(&self.cluster, &self.compiler)
    }

    /// Everything that is wrong.
    pub(super) fn diagnostics(&self) -> Vec<Diagnostic> {
        let mut all = self.source.diagnostics.clone();
        all.extend(self.contextual());
        all.extend(self.health.refusals(&self.cluster));
        all.extend(self.claims());
        all.sort_by(Diagnostic::order);
        all
    }

    /// Logs the diagnostics that are new.
    pub(super) fn log(&self, before: &[Diagnostic], now: &[Diagnostic]) {
        let before: BTreeSet<String> = before.iter().map(Diagnostic::to_string).collect();
        let new = now.iter().filter(|diagnostic| !before.contains(&diagnostic.to_string()));
        new.for_each(|diagnostic| self.tell(diagnostic));
    }

    /// Logs a diagnostic, and shows an error at its object.
    fn tell(&self, diagnostic: &Diagnostic) {
        log_one(diagnostic);
        let key = diagnostic.object.as_deref().and_then(Key::parse);
        if let (Some(board), Severity::Error, Some(key)) = (&self.board, diagnostic.severity, key) {
            let reason = Reason::Invalid.as_str();
            board.event(key, NoticeKind::Warning, reason, &diagnostic.note());
        }
    }
}

pub(super) fn log_one(diagnostic: &Diagnostic) {
    match diagnostic.severity {
        Severity::Error => tracing::error!("{diagnostic}"),
        Severity::Warning => tracing::warn!("{diagnostic}"),
        Severity::Info => tracing::info!("{diagnostic}"),
    }
}
