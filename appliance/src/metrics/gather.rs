use super::family::Families;
use super::{of_control, of_events, of_l7, of_ports, of_services, of_workers};
use crate::gateway::Gateway;

/// Everything, as text. Reads counters where they are; blocks for seconds at
/// worst, when control is busy.
pub(super) fn gather(gateway: &Gateway) -> prometheus::Result<Vec<u8>> {
    let mut families = Families::default();
    families
        .gauge("sluice_build_info", "Always 1; the version is a label.")
        .count(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    families
        .gauge("sluice_ready", "1 when the gateway is ready, as /readyz says.")
        .count(&[], u64::from(gateway.not_ready().is_empty()));
    reloads(gateway, &mut families);
    of_ports::add(gateway, &mut families);
    of_workers::add(gateway, &mut families);
    of_services::add(gateway, &mut families);
    of_services::add_snat(gateway, &mut families);
    of_l7::add(gateway, &mut families);
    of_events::add(gateway, &mut families);
    of_control::add(gateway, &mut families);
    families.encode()
}

fn reloads(gateway: &Gateway, families: &mut Families) {
    let state = gateway.reloads.state();
    families
        .counter(
            "sluice_config_reloads_total",
            "Reloads of the configuration, by what became of them.",
        )
        .count(&[("result", "taken")], state.taken)
        .count(&[("result", "refused")], state.refused);
    families
        .gauge(
            "sluice_config_last_reload_successful",
            "0 when the last reload of the configuration was refused.",
        )
        .count(&[], u64::from(state.refusal.is_none()));
}
