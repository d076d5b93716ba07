use super::show::socket_path;
use super::{ExplainArgs, Output, Target};
use crate::admin::{Question, client};
use crate::explain::view::Explanation;
use crate::explain::{self, text};
use crate::{cli::check, output};
use anyhow::{Context, bail};
use sluice_config::Source;
use sluice_control::Offline;
use std::path::Path;
use std::process::ExitCode;

/// Explains a packet, asking a running gateway or reading manifests.
///
/// # Errors
/// When there is no answer.
pub fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let Target { socket, config } = &args.target;
    let explanation = match config {
        Some(config) if args.offline => match offline(config, args)? {
            Ok(explanation) => explanation,
            Err(code) => return Ok(code),
        },
        _ => {
            let socket = match socket_path(socket.as_deref(), config.as_deref()) {
                Ok(socket) => socket,
                Err(code) => return Ok(code),
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
             the running gateway (without --offline)",
            path.display()
        );
    };
    let folder = &manifests.path;
    let unread = || format!("source.manifests.path: cannot read the folder {}", folder.display());
    std::fs::read_dir(folder).with_context(unread)?;
    let read = Offline::read(&config, folder)?;
    Ok(Ok(explain::offline(&read, &args.packet)?))
}
