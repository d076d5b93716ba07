use sluice_config::{LogFormat, Logging};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Libraries that have a line for whatever the other end does: the client of the API for
/// each try that fails, of which who asks says it once; and TLS and HTTP for what clients
/// send wrong, which is counted: a stranger could fill the log with a name that is none.
const SILENT: [&str; 6] = ["kube_client", "kube_runtime", "rustls", "h2", "hyper", "hyper_util"];

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

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_config::LogLevel;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is logged at a level.
    fn logged(level: LogLevel, what: impl FnOnce()) -> String {
        let filter = configured(&Logging { format: LogFormat::Text, level });
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let registry = tracing_subscriber::registry().with(filter).with(layer);
        tracing::subscriber::with_default(registry, what);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn nobody_fills_the_log_from_outside() {
        let strangers = || {
            tracing::error!(target: "rustls::msgs::handshake", "stranger");
            tracing::warn!(target: "rustls::msgs::handshake", "stranger");
            tracing::warn!(target: "h2::proto", "stranger");
            tracing::warn!(target: "hyper::server", "stranger");
            tracing::warn!(target: "sluice_l7", "ours");
        };
        for level in [LogLevel::Info, LogLevel::Warn] {
            let text = logged(level, strangers);
            assert!(text.contains("ours") && !text.contains("stranger"), "{text}");
        }
        let text = logged(LogLevel::Debug, strangers);
        assert_eq!(text.matches("stranger").count(), 4, "{text}");
    }
}
