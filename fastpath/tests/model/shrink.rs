//! Runs of operations, and the shortest one that still fails.

use super::ops::{Op, draw};
use super::random::Random;
use super::run::{Met, Run};
use super::world::Variant;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Operations spent on shortening a failing run.
const OPS_MAX: usize = 300_000;

/// Runs drawn operations and returns what they met; panics with the shortest
/// list that fails.
pub fn check(variant: Variant, seed: u64, count: usize) -> Met {
    let mut random = Random(seed);
    let ops: Vec<Op> = (0..count).map(|_| draw(&mut random)).collect();
    let at = match run(variant, &ops) {
        Ok(met) => return met,
        Err((at, why)) => {
            eprintln!("seed {seed}, {variant:?} fails at operation {at}, to be shortened: {why}");
            at
        }
    };
    let ops = shorten(variant, ops[..(at + 1).min(ops.len())].to_vec());
    let (at, why) = match run(variant, &ops) {
        Err(failure) => failure,
        Ok(_) => (0, "it does not fail any more: not a function of its operations".to_owned()),
    };
    let list: Vec<_> = ops.iter().map(|op| format!("  {op:?}\n")).collect();
    panic!(
        "seed {seed}, {variant:?}: {} operations fail at number {}:\n{}{why}",
        ops.len(),
        at + 1,
        list.concat()
    );
}

/// Runs operations; on failure, the number of the one that failed, and why.
fn run(variant: Variant, ops: &[Op]) -> Result<Met, (usize, String)> {
    let mut at = 0;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut run = Run::new(variant)?;
        for (number, op) in ops.iter().enumerate() {
            at = number;
            run.apply(op)?;
        }
        run.finish()
    }));
    match outcome {
        Ok(result) => result.map_err(|why| (at, why)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err((at, format!("panic: {}", text.unwrap_or_default())))
        }
    }
}

/// Leaves out what does not matter: halves first, then ever smaller pieces.
fn shorten(variant: Variant, mut ops: Vec<Op>) -> Vec<Op> {
    let mut spent = 0;
    let mut piece = ops.len().div_ceil(2);
    while piece > 0 && spent < OPS_MAX {
        let before = ops.len();
        let mut from = 0;
        while from < ops.len() && spent < OPS_MAX {
            spent += ops.len();
            let mut fewer = ops.clone();
            fewer.drain(from..(from + piece).min(ops.len()));
            match run(variant, &fewer) {
                // What comes after the failure does not matter either.
                Err((at, _)) => {
                    fewer.truncate(at + 1);
                    ops = fewer;
                }
                Ok(_) => from += piece,
            }
        }
        // Single ones as long as that helps.
        piece = if piece == 1 && ops.len() < before { 1 } else { piece / 2 };
    }
    ops
}
