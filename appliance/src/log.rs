use sluice_config::{LogFormat, Logging};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The client of the API, which has an error for each try that fails. Who asks
/// says it once.
const CLIENT: [&str; 2] = ["kube_client", "kube_runtime"];

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
    let silent = CLIENT.iter().filter(|_| !is_everything).map(|target| format!(",{target}=off"));
    EnvFilter::new(format!("{level}{}", silent.collect::<String>()))
}
