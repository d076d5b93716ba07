use super::show::socket_path;
use super::{ExplainArgs, Output, Subject, Target};
use crate::admin::{Question, client};
use crate::explain::request::asked::{RequestAsked, Verb};
use crate::explain::request::view::RequestExplanation;
use crate::explain::tuple::FlowTuple;
use crate::explain::view::Explanation;
use crate::explain::{self, request, text};
use crate::{cli::check, output};
use anyhow::{Context, bail, ensure};
use sluice_config::Source;
use sluice_control::Offline;
use std::path::Path;
use std::process::ExitCode;

/// Explains a packet or a request, asking a running gateway or reading manifests.
///
/// # Errors
/// When there is no answer, or a packet is given what only requests have.
pub fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let asked = Asked::of(args)?;
    let Target { socket, config } = &args.target;
    let answer = match config {
        Some(config) if args.offline => match asked.offline(config)? {
            Ok(answer) => answer,
            Err(code) => return Ok(code),
        },
        _ => match socket_path(socket.as_deref(), config.as_deref()) {
            Ok(socket) => asked.live(&socket)?,
            Err(code) => return Ok(code),
        },
    };
    output::print(&match (args.output, &answer) {
        (Output::Json, Answer::Packet(of)) => format!("{}\n", serde_json::to_string_pretty(of)?),
        (Output::Json, Answer::Request(of)) => format!("{}\n", serde_json::to_string_pretty(of)?),
        (Output::Table, Answer::Packet(of)) => text::render(of),
        (Output::Table, Answer::Request(of)) => request::text::render(of),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What is to be explained.
enum Asked {
    Packet(FlowTuple),
    Request(RequestAsked),
}

/// What is explained.
enum Answer {
    Packet(Box<Explanation>),
    Request(Box<RequestExplanation>),
}

impl Asked {
    fn of(args: &ExplainArgs) -> anyhow::Result<Self> {
        let ExplainArgs { subject, method, headers, from, to, .. } = args;
        match subject {
            Subject::Packet(packet) => {
                let is_bare =
                    method.is_none() && headers.is_empty() && from.is_none() && to.is_none();
                ensure!(is_bare, "--method, --header, --from and --to need the URL of a request");
                Ok(Asked::Packet(packet.clone()))
            }
            Subject::Request(url) => Ok(Asked::Request(RequestAsked {
                url: url.clone(),
                method: method.clone().unwrap_or_else(|| Verb("GET".to_owned())),
                headers: headers.clone(),
                from: *from,
                to: *to,
            })),
        }
    }

    fn live(self, socket: &Path) -> anyhow::Result<Answer> {
        Ok(match self {
            Asked::Packet(packet) => {
                let answer = client::ask(socket, &Question::Explain { packet })?;
                Answer::Packet(client::read(&answer)?)
            }
            Asked::Request(request) => {
                let answer = client::ask(socket, &Question::ExplainRequest { request })?;
                Answer::Request(client::read(&answer)?)
            }
        })
    }

    /// By the manifests of a configuration; the exit status where it cannot be used.
    fn offline(self, path: &Path) -> anyhow::Result<Result<Answer, ExitCode>> {
        let config = match check::load(path) {
            Ok(loaded) => loaded.config,
            Err(code) => return Ok(Err(code)),
        };
        let Source::Manifests(manifests) = &config.source else {
            bail!(
                "{}: `source` is the API server, which is not asked here; expected manifests, or \
                 ask the running gateway (without --offline)",
                path.display()
            );
        };
        let folder = &manifests.path;
        let unread =
            || format!("source.manifests.path: cannot read the folder {}", folder.display());
        std::fs::read_dir(folder).with_context(unread)?;
        let read = Offline::read(&config, folder)?;
        Ok(Ok(match self {
            Asked::Packet(packet) => Answer::Packet(Box::new(explain::offline(&read, &packet)?)),
            Asked::Request(request) => {
                Answer::Request(Box::new(request::offline(&read, &config, &request)?))
            }
        }))
    }
}
