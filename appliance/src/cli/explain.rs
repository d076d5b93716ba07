use super::show::socket_path;
use super::{ExplainArgs, Output};
use crate::admin::{Question, client};
use crate::explain::view::Explanation;
use crate::explain::{self, text};
use crate::{cli::check, output};
use anyhow::bail;
use sluice_config::Source;
use sluice_control::{Offline, Severity};
use std::path::Path;
use std::process::ExitCode;

/// Explains a packet, asking a running gateway or reading manifests.
///
/// # Errors
/// When there is no answer.
pub fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let explanation = match &args.config {
        Some(config) => match offline(config, args)? {
            Ok(explanation) => explanation,
            Err(code) => return Ok(code),
        },
        None => {
            let Ok(socket) = socket_path(args.socket.as_deref(), None) else {
                bail!("there is no socket to ask at");
            };
            let tuple = args.packet.clone();
            client::read(&client::ask(&socket, &Question::Explain { packet: tuple })?)?
        }
    };
    output::print(&match args.output {
        Output::Json => format!("{}\n", serde_json::to_string_pretty(&explanation)?),
        Output::Table => text::render(&explanation),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// By the manifests of a configuration; the exit status where it cannot be used.
fn offline(path: &Path, args: &ExplainArgs) -> anyhow::Result<Result<Explanation, ExitCode>> {
    let config = match check::load(path) {
        Ok(loaded) => loaded.config,
        Err(code) => return Ok(Err(code)),
    };
    let Source::Manifests(manifests) = &config.source else {
        bail!(
            "{}: `source` is the API server, which is not asked here; expected manifests, or ask \
             the running gateway (without --config)",
            path.display()
        );
    };
    let read = Offline::read(&config, &manifests.path)?;
    let wrong = |severity| read.diagnostics().iter().filter(|of| of.severity == severity).count();
    let (errors, warnings) = (wrong(Severity::Error), wrong(Severity::Warning));
    if errors + warnings > 0 {
        eprintln!(
            "the manifests have {errors} errors and {warnings} warnings; \
             `sluice check --config {}` prints them",
            path.display()
        );
    }
    Ok(Ok(explain::offline(&read, &args.packet)?))
}
