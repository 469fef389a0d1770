//! Whose tokens the next pass computes.
//!
//! Every answer that is being written gets its next token, always: so a stream is as steady as passes are short. Prompts
//! share the rest of the batch, and while others write, only a quarter of it. Of that share the prompt that has waited
//! longest gets half, so that it is done some time, whatever else comes. The other half goes to those of which the least
//! is left: a short question need not wait for a long document. Pieces are as long as that allows, since long ones are
//! cheaper per token.

/// What a slot has for a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Nothing.
    Nothing,
    /// The next token of an answer.
    Token,
    /// Pieces of a prompt.
    Prompt {
        /// Tokens that can be computed now.
        ready: usize,
        /// Tokens that are left in all.
        left: usize,
        /// The lower, the longer has it waited.
        age: u64,
    },
}

/// How many tokens of each slot a pass over at most `batch` computes; `batch` is at least the number of slots.
pub fn shares(wants: &[Want], batch: usize) -> Vec<usize> {
    let mut shares: Vec<usize> = wants.iter().map(|want| usize::from(*want == Want::Token)).collect();
    let writing: usize = shares.iter().sum();
    let room = batch.saturating_sub(writing);
    let prompts = if writing > 0 { room.min(batch / 4).max(1) } else { room };
    let mut rest = prompts;
    let mut give = |slot: usize, most: usize| {
        if let Want::Prompt { ready, .. } = wants[slot] {
            let share = (ready - shares[slot]).min(most).min(rest);
            shares[slot] += share;
            rest -= share;
        }
    };
    let mut reading: Vec<(usize, u64, usize)> = wants.iter().enumerate().filter_map(of_prompt).collect();
    if let Some((_, _, oldest)) = reading.iter().min_by_key(|(_, age, _)| *age) {
        give(*oldest, prompts.div_ceil(2));
    }
    reading.sort_unstable();
    reading.iter().for_each(|(_, _, slot)| give(*slot, usize::MAX));
    shares
}

fn of_prompt((slot, want): (usize, &Want)) -> Option<(usize, u64, usize)> {
    match want {
        Want::Prompt { left, age, .. } => Some((*left, *age, slot)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(left: usize, age: u64) -> Want {
        Want::Prompt { ready: left, left, age }
    }

    #[test]
    fn every_answer_gets_its_token() {
        let wants = [Want::Token, prompt(1000, 1), Want::Nothing, Want::Token];
        assert_eq!(shares(&wants, 64), [1, 16, 0, 1]);
        assert_eq!(shares(&[Want::Token; 8], 8), [1; 8]);
    }

    #[test]
    fn prompts_take_the_whole_batch_where_nobody_writes() {
        assert_eq!(shares(&[prompt(1000, 1), Want::Nothing], 64), [64, 0]);
        assert_eq!(shares(&[prompt(5, 1), prompt(7, 2)], 64), [5, 7]);
    }

    #[test]
    fn the_oldest_prompt_gets_half_and_the_shortest_the_rest() {
        let wants = [prompt(500, 2), prompt(20, 3), prompt(900, 1)];
        assert_eq!(shares(&wants, 64), [12, 20, 32]);
        // What the others do not need is the oldest one's.
        assert_eq!(shares(&[prompt(900, 1), prompt(3, 2)], 64), [61, 3]);
    }

    #[test]
    fn a_checkpoint_ends_a_piece() {
        assert_eq!(shares(&[Want::Prompt { ready: 10, left: 500, age: 1 }], 64), [10]);
    }

    #[test]
    fn a_prompt_gets_on_however_full_the_batch_is() {
        let mut wants = [Want::Token; 16];
        wants[3] = prompt(100, 1);
        assert_eq!(shares(&wants, 16)[3], 1);
    }
}
