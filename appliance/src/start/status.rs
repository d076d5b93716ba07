use sluice_config::{Config, Source};
use sluice_control::Control;
use sluice_control::election::Elector;
use sluice_control::kubernetes::Access;
use sluice_control::status::{self, Board, StatusConfig};
use tokio::sync::watch;

/// Starts the thread that writes addresses and Events back, where the source is
/// an API that can be written to. With an election only the gateway that leads
/// writes.
///
/// # Errors
/// When the system has no thread left.
pub(super) fn start(
    config: &Config,
    node: &str,
    control: &mut Control,
    elector: Option<&Elector>,
) -> std::io::Result<()> {
    let Source::Kubernetes(kubernetes) = &config.source else { return Ok(()) };
    let access = Access::new(kubernetes, &config.cluster.service_cidrs);
    let alone = || watch::channel(true).1;
    let leader = elector.map_or_else(alone, Elector::leader);
    let board = Board::default();
    // Ends with control, which closes the board.
    status::start(access, node, StatusConfig::of(config), board.clone(), leader)?;
    control.set_board(board);
    Ok(())
}
