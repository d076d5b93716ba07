use super::units::counted;
use crate::output;
use sluice_config::{Config, Kubernetes, Loaded, Source};
use sluice_control::Severity;
use sluice_control::kubernetes::Access;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

/// Reads a configuration; what is wrong is printed.
///
/// # Errors
/// The exit status, when it cannot be used.
pub fn load(path: &Path) -> Result<Loaded, ExitCode> {
    sluice_config::load(path).map_err(|errors| {
        eprintln!("{errors}");
        ExitCode::FAILURE
    })
}

/// Checks a configuration and its manifests.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(path: &Path) -> anyhow::Result<ExitCode> {
    let mut out = String::new();
    let mut counts = [0u64; 2];
    let loaded = match sluice_config::load(path) {
        Ok(loaded) => loaded,
        Err(errors) => {
            let _ = writeln!(out, "{errors}");
            for diagnostic in &errors.diagnostics {
                let is_error = diagnostic.severity == sluice_config::Severity::Error;
                counts[usize::from(!is_error)] += 1;
            }
            summary(&mut out, counts, "the manifests were not looked at");
            output::print(&out)?;
            return Ok(ExitCode::FAILURE);
        }
    };
    for warning in &loaded.warnings {
        counts[1] += 1;
        let _ = writeln!(out, "{warning}");
    }
    let manifests = match &loaded.config.source {
        Source::Manifests(manifests) => manifests,
        Source::Kubernetes(kubernetes) => {
            if let Err(error) = load_access(kubernetes, &loaded.config) {
                counts[0] += 1;
                let _ = writeln!(out, "error: {error}");
            }
            summary(&mut out, counts, "the cluster was not asked");
            output::print(&out)?;
            return Ok(if counts[0] == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    };
    for mut diagnostic in sluice_control::check(&loaded.config, &manifests.path) {
        match diagnostic.severity {
            Severity::Error => counts[0] += 1,
            Severity::Warning => counts[1] += 1,
            Severity::Info => {}
        }
        if let Some(file) = &mut diagnostic.file {
            *file = manifests.path.join(&*file).display().to_string();
        }
        let _ = writeln!(out, "{diagnostic}");
    }
    summary(&mut out, counts, "");
    output::print(&out)?;
    Ok(if counts[0] == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reads what is needed to reach the API server, and sends nothing.
fn load_access(kubernetes: &Kubernetes, config: &Config) -> anyhow::Result<()> {
    let access = Access::new(kubernetes, &config.cluster.service_cidrs);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    Ok(runtime.block_on(access.load()).map(drop)?)
}

fn summary(out: &mut String, [errors, warnings]: [u64; 2], note: &str) {
    let _ = write!(out, "{}, {}", counted(errors, "error"), counted(warnings, "warning"));
    let _ = if note.is_empty() { writeln!(out) } else { writeln!(out, "; {note}") };
}
