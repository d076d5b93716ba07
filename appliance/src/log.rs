use sluice_config::{LogFormat, Logging};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Libraries that have a line for whatever the other end does: the client of the API for
/// each try that fails, of which who asks says it once; and HTTP/2 for what clients send
/// wrong, which is counted.
const SILENT: [&str; 4] = ["kube_client", "kube_runtime", "h2", "hyper"];

/// Starts logging to standard error as configured; the environment variable
/// `RUST_LOG` overrides the level.
pub fn start(logging: &Logging) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| configured(logging));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // Fails only where a logger is set already, which then stays.
    let _ = match logging.format {
        LogFormat::Text => {
            let layer = layer.with_ansi(std::io::stderr().is_terminal()).with_target(false);
            registry.with(layer).try_init()
        }
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
}

fn configured(logging: &Logging) -> EnvFilter {
    let level = logging.level.as_str();
    let is_everything = matches!(level, "debug" | "trace");
    let silent = SILENT.iter().filter(|_| !is_everything).map(|target| format!(",{target}=off"));
    EnvFilter::new(format!("{level}{}", silent.collect::<String>()))
}
