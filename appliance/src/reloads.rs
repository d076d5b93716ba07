use std::sync::{Mutex, PoisonError};

/// What became of the reloads of the configuration so far.
#[derive(Debug, Default)]
pub struct Reloads {
    state: Mutex<State>,
}

/// [`Reloads`] at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Reloads whose file was taken.
    pub taken: u64,
    /// Reloads whose file was refused.
    pub refused: u64,
    /// Why the last file was refused; `None` when it was taken, or when none
    /// has been read since the start.
    pub refusal: Option<String>,
}

impl Reloads {
    /// Notes how a reload has ended.
    pub fn note<E: std::fmt::Display>(&self, result: Result<(), E>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) => {
                state.taken += 1;
                state.refusal = None;
            }
            Err(error) => {
                state.refused += 1;
                state.refusal = Some(format!("{error:#}"));
            }
        }
    }

    /// How they have gone.
    pub fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_stays_until_a_file_is_taken() {
        let reloads = Reloads::default();
        assert_eq!(reloads.state(), State::default());
        reloads.note(Err("first"));
        reloads.note(Err("second"));
        let refusal = Some("second".to_owned());
        assert_eq!(reloads.state(), State { taken: 0, refused: 2, refusal });
        reloads.note(Ok::<_, &str>(()));
        assert_eq!(reloads.state(), State { taken: 1, refused: 2, refusal: None });
    }
}
