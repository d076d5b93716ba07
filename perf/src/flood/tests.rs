use super::*;

/// A trial of a moment, at rates that any machine can keep up with for the most
/// part: what is asserted does not depend on how fast it is. That every byte is
/// right, that established flows stay where they are, and that packets and frames
/// add up, is checked by the trial itself.
fn options(family: Family) -> Options {
    let moment = Duration::from_millis(150);
    Options {
        family,
        cpus: None,
        flows_max: 1 << 15,
        established: 50,
        established_rate: 20.0,
        honest_rate: 200.0,
        pods_answer: true,
        syn_gate: true,
        warm_up: moment,
        capacity: (moment, 3),
        phase: 3 * moment,
        patience: moment,
        loads: vec![Offer::Rate(5_000.0)],
    }
}

#[test]
fn more_data_than_a_core_can_offer_is_refused() {
    for established_rate in [1e7, -1.0, f64::NAN] {
        let options = Options { established_rate, ..options(Family::V4) };
        let error = run(&options).unwrap_err().to_string();
        assert!(error.contains("of 50 flows each; expected 0 to 100000000 a second"), "{error}");
    }
}

#[test]
fn a_flood_comes_and_goes() {
    for family in [Family::V4, Family::V6] {
        let outcome = run(&options(family)).unwrap();
        assert!(outcome.capacity.worked.syns > 0, "{outcome:?}");
        let phase = &outcome.phases[0];
        assert!(phase.data > 0 && phase.kept() > 0.0, "{outcome:?}");
        assert!(phase.connects.failed < phase.connects.begun, "{outcome:?}");
        // The table was full: flood gave way to flood, nobody else did.
        assert!(outcome.memory.flows <= 1 << 15, "{outcome:?}");
        let removed = outcome.capacity.worked.removed + phase.worked.removed;
        assert!(removed > 0, "{outcome:?}");
        assert!(outcome.text().contains("ns/SYN"), "{}", outcome.text());
    }
}
