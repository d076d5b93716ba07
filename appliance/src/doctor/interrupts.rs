use super::Finding;
use super::cores::core_list;
use sluice_config::Config;
use std::fs;
use std::path::Path;

const TOPIC: &str = "interrupts";

/// Whether a device's interrupts come to cores of workers: the kernel's part of reception
/// runs where they do. `folder`: the device's in sysfs. Devices without any, and workers
/// whose cores are not named, have nothing to be said of.
pub(super) fn findings(config: &Config, folder: &Path) -> Option<Finding> {
    let cores = config.workers.cores.as_deref()?;
    let numbers = fs::read_dir(folder.join("msi_irqs")).ok()?.filter_map(Result::ok);
    let mut numbers: Vec<u32> =
        numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    of(cores, &numbers, is_balanced(), |number| {
        let read = |file: &str| fs::read_to_string(format!("/proc/irq/{number}/{file}")).ok();
        let list = read("effective_affinity_list").or_else(|| read("smp_affinity_list"))?;
        Some(core_list(list.trim()))
    })
}

fn of(
    cores: &[usize],
    numbers: &[u32],
    is_balanced: bool,
    where_is: impl Fn(u32) -> Option<Vec<usize>>,
) -> Option<Finding> {
    let found = |number: &u32| {
        let on = where_is(*number)?.into_iter().find(|core| cores.contains(core))?;
        Some((*number, on))
    };
    let met: Vec<(u32, usize)> = numbers.iter().filter_map(found).collect();
    match (met.first(), is_balanced) {
        _ if numbers.is_empty() => None,
        (Some((number, core)), _) => Some(
            Finding::warn(
                TOPIC,
                format!(
                    "{} of {} come to cores of workers, the first one, {number}, to core {core}",
                    met.len(),
                    numbers.len()
                ),
            )
            .mend(format!("echo CORE > /proc/irq/{number}/smp_affinity_list, likewise the others")),
        ),
        (None, true) => Some(
            Finding::warn(TOPIC, "elsewhere now, but irqbalance runs and may move them")
                .mend("systemctl disable --now irqbalance"),
        ),
        (None, false) => Some(Finding::ok(TOPIC, format!("{}, none to a worker", numbers.len()))),
    }
}

/// Whether `irqbalance` runs.
fn is_balanced() -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let names = processes.filter_map(|of| fs::read_to_string(of.path().join("comm")).ok());
    names.into_iter().any(|name| name.trim_end() == "irqbalance")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn interrupts_on_a_workers_core_are_told_of() {
        let where_is = |number: u32| Some(vec![number as usize % 4]);
        let found = of(&[1, 2], &[40, 41, 42, 43], false, where_is).unwrap();
        assert_eq!(found.level, Level::Warn);
        assert!(found.text.starts_with("2 of 4 come"), "{}", found.text);
        assert!(found.text.ends_with("41, to core 1"), "{}", found.text);
        let well = of(&[1, 2], &[40, 43], false, where_is).unwrap();
        assert_eq!((well.level, &*well.text), (Level::Ok, "2, none to a worker"));
        let moved = of(&[1, 2], &[40, 43], true, where_is).unwrap();
        assert_eq!(moved.mend.as_deref(), Some("systemctl disable --now irqbalance"));
        assert!(of(&[1, 2], &[], true, where_is).is_none());
    }
}
