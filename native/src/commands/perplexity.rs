//! `woolly perplexity`: the method of llama-perplexity, which the help of the command explains.

use std::path::Path;

use serde_json::json;
use woolly_engine::session::Session;
use woolly_engine::tokenizer::Tokenizer;

use crate::cli::Perplexity;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::{load, output};

/// Prints the perplexity of a text.
pub fn run(args: &Perplexity, offline: bool) -> Result<()> {
    let text = read(&args.file)?;
    let loaded = load::load(Some(&args.model), offline)?;
    let tokenizer = loaded.model.tokenizer();
    let tokens = tokenizer.encode(&text, true, false);
    let chunks = chunks(args, tokens.len())?;
    let mut session = loaded.session(&args.compute, Some(args.context))?;
    let interrupt = Interrupt::install()?;
    let mut score = Score::default();
    output::note(format_args!("{} tokens, {chunks} chunks of {}", tokens.len(), args.context));
    for (number, chunk) in (1..).zip(tokens.chunks_exact(args.context).take(chunks)) {
        if interrupt.asked() {
            return Err(Error::new(
                crate::error::Kind::Interrupted,
                format!("stopped before chunk {number} of {chunks}"),
            ));
        }
        score_chunk(&mut session, tokenizer, chunk, &mut score)?;
        if !args.json {
            output::print(format!("[{number}]{:.4},", score.perplexity()))?;
        }
    }
    report(args, chunks, &score)
}

/// The text, without one newline at its end.
fn read(path: &Path) -> Result<Vec<u8>> {
    let mut text = std::fs::read(path).map_err(|cause| Error::io(format!("read {}", path.display()), cause))?;
    if text.last() == Some(&b'\n') {
        text.pop();
    }
    Ok(text)
}

/// How many chunks to score. Of one alone the error says little, so two are the least.
fn chunks(args: &Perplexity, tokens: usize) -> Result<usize> {
    if tokens < 2 * args.context {
        return Err(Error::usage(format!(
            "{} has {tokens} tokens, and two chunks of {} need {}: give a longer text or a smaller -c",
            args.file.display(),
            args.context,
            2 * args.context
        )));
    }
    Ok(args.chunks.unwrap_or(usize::MAX).min(tokens / args.context))
}

fn score_chunk(session: &mut Session, tokenizer: &Tokenizer, chunk: &[u32], score: &mut Score) -> Result<()> {
    let mut input = chunk.to_vec();
    if let Some(bos) = tokenizer.bos().filter(|_| tokenizer.adds_bos()) {
        input[0] = bos;
    }
    session.rewind(0);
    let (first, last) = (chunk.len() / 2, chunk.len() - 1);
    let failed = |cause| Error::other("cannot compute the logits").because(cause);
    // Logits of the first half are not needed, except that `feed` makes those of its last token.
    session.feed(&input[..first]).map_err(failed)?;
    let mut each = |position: usize, logits: &[f32]| {
        if position < last {
            score.add(negative_log_probability(logits, chunk[position + 1]));
        }
    };
    session.feed_each(&input[first..], &mut each).map_err(failed)
}

fn report(args: &Perplexity, chunks: usize, score: &Score) -> Result<()> {
    let (perplexity, error) = (score.perplexity(), score.error());
    if args.json {
        let scored = score.count;
        return output::print_json(&json!({
            "perplexity": perplexity, "error": error, "context": args.context, "chunks": chunks, "scored_tokens": scored
        }));
    }
    output::print(format!("\nFinal estimate: PPL = {perplexity:.4} +/- {error:.5}\n"))
}

/// `-ln softmax(logits)[token]`.
fn negative_log_probability(logits: &[f32], token: u32) -> f64 {
    let highest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - highest).exp()).sum();
    highest + sum.ln() - f64::from(logits[token as usize])
}

/// Sums of the negative logarithms and of their squares.
#[derive(Default)]
struct Score {
    count: usize,
    sum: f64,
    squares: f64,
}

impl Score {
    fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.squares += value * value;
    }

    fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }

    fn perplexity(&self) -> f64 {
        self.mean().exp()
    }

    /// The standard error of the mean, carried over to the perplexity.
    fn error(&self) -> f64 {
        let variance = self.squares / self.count as f64 - self.mean() * self.mean();
        (variance.max(0.0) / (self.count - 1) as f64).sqrt() * self.perplexity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uniform_model_has_the_perplexity_of_its_vocabulary() {
        let mut score = Score::default();
        for token in 0..8 {
            score.add(negative_log_probability(&[3.0; 8], token));
        }
        assert!((score.perplexity() - 8.0).abs() < 1e-9);
        assert!(score.error() < 1e-6);
    }

    #[test]
    fn the_error_is_that_of_the_mean() {
        let mut score = Score::default();
        [1.0, 2.0, 3.0].into_iter().for_each(|value| score.add(value));
        let expected = (2.0f64 / 3.0 / 2.0).sqrt() * 2.0f64.exp();
        assert!((score.error() - expected).abs() < 1e-9);
    }

    #[test]
    fn large_logits_do_not_overflow() {
        assert!((negative_log_probability(&[1e4, 1e4 - 1.0], 1) - (1.0 + (1.0 + (-1.0f64).exp()).ln())).abs() < 1e-3);
    }
}
