use super::Finding;
use sluice_config::{Backend, Config, IdleMode};
use std::fs;
use std::path::Path;

const CPUS: &str = "/sys/devices/system/cpu";

/// Everything that concerns the cores of the workers.
pub(super) fn findings(config: Option<&Config>) -> Vec<Finding> {
    let available = core_affinity::get_core_ids().unwrap_or_default();
    let Some(config) = config else {
        return vec![Finding::ok("cores", format!("{} may be used", available.len()))];
    };
    let workers = &config.workers;
    let mut findings = Vec::new();
    let known = |core: &usize| available.iter().any(|id| id.id == *core);
    let unknown = workers.cores.iter().flatten().find(|core| !known(core));
    findings.push(match unknown {
        Some(core) => {
            let all: Vec<String> = available.iter().map(|id| id.id.to_string()).collect();
            let text = format!("core {core} of workers.cores is not among {}", all.join(", "));
            Finding::bad("cores", text).mend("edit workers.cores")
        }
        None if workers.count > available.len() => {
            let text = format!("{} workers share {} cores", workers.count, available.len());
            Finding::warn("cores", text).mend("lower workers.count")
        }
        None => Finding::ok("cores", format!("{} for {} workers", available.len(), workers.count)),
    });
    findings.push(idle(config, available.len()));
    findings.extend(handed(workers.count));
    let named = workers.cores.clone().unwrap_or_default();
    findings.extend(siblings(&named, |core| {
        let path = format!("{CPUS}/cpu{core}/topology/thread_siblings_list");
        core_list(&fs::read_to_string(path).unwrap_or_default())
    }));
    let all = available.iter().map(|id| id.id).collect();
    findings.extend(governor(if named.is_empty() { all } else { named }, |core| {
        fs::read_to_string(format!("{CPUS}/cpu{core}/cpufreq/scaling_governor")).ok()
    }));
    findings
}

/// What workers do while nothing comes, and whether their cores bear it.
fn idle(config: &Config, available: usize) -> Finding {
    const TOPIC: &str = "idle";
    let workers = &config.workers;
    match workers.idle.mode {
        IdleMode::Adaptive | IdleMode::Sleep if config.io.backend == Backend::Dpdk => {
            Finding::ok(TOPIC, "nothing wakes workers of DPDK's: they spin, and yield their cores")
        }
        IdleMode::BusyPoll => isolation(workers.cores.as_deref()),
        // What answers a request runs on the same core.
        IdleMode::Adaptive
            if config.l7.is_some()
                && workers.count >= available
                && !workers.idle.spin.is_zero() =>
        {
            let text = "workers spin before they sleep, on cores that are not theirs alone, and \
                        requests are served";
            Finding::warn(TOPIC, text).mend("set workers.idle.spin_us to 0, or free a core")
        }
        IdleMode::Adaptive => Finding::ok(TOPIC, "adaptive: workers spin, then sleep"),
        IdleMode::Sleep => Finding::ok(TOPIC, "workers sleep, and a frame has to wake them"),
    }
}

/// What several workers cost: a translated flow has another tuple in each direction.
fn handed(workers: usize) -> Option<Finding> {
    (workers > 1).then(|| {
        let share = 100 * (workers - 1) / workers;
        let text = format!(
            "{workers}: some {share}% of the replies are handed to the worker of their flow; no \
             more than are needed"
        );
        Finding::ok("workers", text)
    })
}

/// Two workers on the two threads of one core have about half of it each.
fn siblings(cores: &[usize], of: impl Fn(usize) -> Vec<usize>) -> Option<Finding> {
    let shared = cores.iter().enumerate().find_map(|(index, core)| {
        let siblings = of(*core);
        cores[index + 1..].iter().find(|other| siblings.contains(other)).map(|two| (core, two))
    });
    shared.map(|(one, two)| {
        let text = format!("cores {one} and {two} are threads of one core: each has half of it");
        Finding::warn("siblings", text).mend("name a thread of each core in workers.cores")
    })
}

/// A core that slows down when it has little to do is slow when a burst comes. Machines
/// that leave it to their host have no governor.
fn governor(cores: Vec<usize>, of: impl Fn(usize) -> Option<String>) -> Option<Finding> {
    const TOPIC: &str = "governor";
    let governors: Vec<_> =
        cores.into_iter().filter_map(|core| Some((core, of(core)?.trim().to_owned()))).collect();
    let slow = governors.iter().find(|(_, governor)| governor != "performance");
    match slow {
        Some((core, governor)) => Some(
            Finding::warn(TOPIC, format!("the clock of core {core} goes by `{governor}`"))
                .mend("cpupower frequency-set --governor performance"),
        ),
        None if governors.is_empty() => None,
        None => Some(Finding::ok(TOPIC, "performance")),
    }
}

/// Whether workers are near a device: memory and registers of another NUMA node cost each
/// packet. `folder`: the device's in sysfs.
pub(super) fn numa(config: &Config, folder: &Path) -> Option<Finding> {
    const TOPIC: &str = "NUMA";
    let cores = config.workers.cores.as_deref()?;
    let node: i32 = fs::read_to_string(folder.join("numa_node")).ok()?.trim().parse().ok()?;
    // -1: there is one, or nobody knows.
    let node = u32::try_from(node).ok()?;
    let list = fs::read_to_string(format!("/sys/devices/system/node/node{node}/cpulist")).ok()?;
    Some(far(cores, &core_list(list.trim())).map_or_else(
        || Finding::ok(TOPIC, format!("node {node}, as the workers")),
        |core| {
            let text = format!("the device is at node {node}, and core {core} is not");
            Finding::warn(TOPIC, text)
                .mend(format!("name cores of node {node} in workers.cores: {}", list.trim()))
        },
    ))
}

fn far(cores: &[usize], near: &[usize]) -> Option<usize> {
    cores.iter().copied().find(|core| !near.contains(core))
}

/// Whether the cores of busy-polling workers are kept free of other work.
fn isolation(cores: Option<&[usize]>) -> Finding {
    const TOPIC: &str = "isolation";
    let Some(cores) = cores else {
        return Finding::warn(
            TOPIC,
            "busy_poll without workers.cores: other work shares the cores",
        )
        .mend("name the cores in workers.cores");
    };
    let isolated = fs::read_to_string(format!("{CPUS}/isolated")).unwrap_or_default();
    let isolated = core_list(isolated.trim());
    let shared: Vec<String> =
        cores.iter().filter(|core| !isolated.contains(core)).map(usize::to_string).collect();
    if shared.is_empty() {
        return Finding::ok(TOPIC, "the workers' cores run nothing else");
    }
    let list = shared.join(",");
    Finding::warn(TOPIC, format!("the kernel schedules other work and interrupts on core {list}"))
        .mend(format!("boot with isolcpus=domain,managed_irq,{list} nohz_full={list}"))
}

/// The numbers of a list such as `0-2,5`.
pub(super) fn core_list(text: &str) -> Vec<usize> {
    let parse = |range: &str| -> Option<std::ops::RangeInclusive<usize>> {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.split(',').filter_map(parse).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;
    use crate::testing;

    #[test]
    fn core_lists_are_read() {
        assert_eq!(core_list("0-2,5"), [0, 1, 2, 5]);
        assert!(core_list("").is_empty());
    }

    #[test]
    fn workers_that_spin_beside_requests_are_told_of() {
        let of = |text: &str, available| idle(&testing::config(text), available).level;
        let l7 = "l7: {ingress: {addresses: [203.0.113.80]}}\n";
        assert_eq!(of("", 1), Level::Ok);
        assert_eq!(of(l7, 1), Level::Warn);
        assert_eq!(of(l7, 2), Level::Ok);
    }

    #[test]
    fn several_workers_hand_replies_over() {
        assert!(handed(1).is_none());
        assert!(handed(4).unwrap().text.starts_with("4: some 75% "));
    }

    #[test]
    fn workers_on_threads_of_one_core_are_told_of() {
        let of = |core: usize| vec![core % 4, core % 4 + 4];
        assert!(siblings(&[1, 2, 3], of).is_none());
        let found = siblings(&[1, 2, 6], of).unwrap();
        assert!(found.text.starts_with("cores 2 and 6 "), "{}", found.text);
    }

    #[test]
    fn a_core_that_may_slow_down_is_told_of() {
        let of = |core: usize| {
            (core != 3).then(|| if core == 2 { "powersave\n" } else { "performance\n" }.to_owned())
        };
        assert_eq!(governor(vec![0, 1], of).unwrap().level, Level::Ok);
        let found = governor(vec![0, 1, 2], of).unwrap();
        assert!(found.text.contains("core 2 goes by `powersave`"), "{}", found.text);
        assert!(governor(vec![3], of).is_none());
    }

    #[test]
    fn cores_of_another_node_are_far() {
        assert_eq!(far(&[0, 1], &[0, 1, 2, 3]), None);
        assert_eq!(far(&[2, 4, 5], &[0, 1, 2, 3]), Some(4));
    }
}
