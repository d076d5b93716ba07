use crate::output;
use sluice_fastpath::DropReason;
use std::process::ExitCode;

/// Prints every drop reason as a Markdown table, for the README.
///
/// # Errors
/// When standard output cannot be written.
pub fn run() -> anyhow::Result<ExitCode> {
    let mut text = "| reason | meaning |\n|---|---|\n".to_owned();
    for reason in DropReason::ALL {
        text.push_str(&format!("| `{}` | {} |\n", reason.label(), reason.help()));
    }
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
