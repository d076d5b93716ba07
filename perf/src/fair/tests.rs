use super::*;

/// A trial of a moment, at a rate that any machine can keep up with: what is asserted does
/// not depend on how fast it is. That frames and answers are right, that counters add up
/// and that frames come back is checked by the trial itself.
#[test]
fn both_are_served_at_once() {
    let options = Options {
        cpus: None,
        clients: 8,
        handshakes: 4,
        nap: Duration::from_micros(100),
        rounds: 3,
        slice: sluice_l7::worker::SLICE,
        frames: Some(20_000.0),
        warm_up: Duration::from_millis(50),
        time: Duration::from_millis(300),
    };
    let report = run(&options, &[Family::V4, Family::V6]).unwrap();
    for outcome in &report.outcomes {
        let row = |name| outcome.rows.iter().find(|row| row.name == name).unwrap();
        assert!(outcome.capacity > 0.0);
        assert!(row("l4").frames > 0.0 && row("l4").requests == 0.0, "{outcome:?}");
        assert!(row("http").requests > 0.0 && row("http").requests_failed == 0, "{outcome:?}");
        assert!(row("l4+http").frames > 0.0 && row("l4+http").requests > 0.0, "{outcome:?}");
        assert_eq!(row("rsa").handshakes_failed, 0, "{outcome:?}");
        assert_eq!(outcome.aims.len(), 8);
    }
    let text = report.text();
    assert!(text.contains("at twice the load, L7 keeps"), "{text}");
}
