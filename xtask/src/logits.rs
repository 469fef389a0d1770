//! Rows of logits, and how far two of them are apart.

use crate::Outcome;
use std::path::Path;

/// Logits of consecutive positions: `positions × vocabulary`, row by row.
pub struct Logits {
    values: Vec<f32>,
    vocabulary: usize,
}

impl Logits {
    /// Reads little-endian f32.
    pub fn read(path: &Path, vocabulary: usize) -> Outcome<Self> {
        let bytes = std::fs::read(path)?;
        if vocabulary == 0 || bytes.is_empty() || bytes.len() % (4 * vocabulary) != 0 {
            return Err(format!("{}: {} bytes are not rows of {vocabulary}", path.display(), bytes.len()).into());
        }
        let values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Ok(Self { values, vocabulary })
    }

    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.vocabulary)
    }

    /// Mean over positions of the Kullback-Leibler divergence of `other` from this.
    pub fn mean_divergence(&self, other: &Self) -> f64 {
        let sum: f64 = self.rows().zip(other.rows()).map(|(p, q)| divergence(&log_softmax(p), &log_softmax(q))).sum();
        sum / self.rows().len() as f64
    }

    /// Squared error of `other`, divided by the squares of this.
    pub fn normalised_error(&self, other: &Self) -> f64 {
        let square = |x: f64| x * x;
        let error: f64 =
            self.values.iter().zip(&other.values).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
        error / self.values.iter().map(|a| square(f64::from(*a))).sum::<f64>()
    }
}

/// Natural logarithms of the probabilities.
pub fn log_softmax(row: &[f32]) -> Vec<f64> {
    let max = row.iter().fold(f64::NEG_INFINITY, |max, &x| max.max(f64::from(x)));
    let sum: f64 = row.iter().map(|&x| (f64::from(x) - max).exp()).sum();
    let shift = max + sum.ln();
    row.iter().map(|&x| f64::from(x) - shift).collect()
}

/// `Σ p (ln p - ln q)` of two rows of log probabilities.
fn divergence(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum()
}

#[cfg(test)]
mod unit {
    use super::*;

    fn logits(values: &[f32]) -> Logits {
        Logits { values: values.to_vec(), vocabulary: 2 }
    }

    #[test]
    fn divergence_of_known_distributions() {
        // p = (1/2, 1/2), q = (1/4, 3/4): ln 2 - ln 3 / 2.
        let found = logits(&[1.0, 1.0]).mean_divergence(&logits(&[0.0, 3f32.ln()]));
        assert!((found - (2f64.ln() - 3f64.ln() / 2.0)).abs() < 1e-7, "{found}");
        assert_eq!(logits(&[1.0, 5.0]).mean_divergence(&logits(&[1.0, 5.0])), 0.0);
    }

    #[test]
    fn error_is_relative_to_the_first() {
        assert_eq!(logits(&[3.0, 4.0]).normalised_error(&logits(&[3.0, 3.0])), 1.0 / 25.0);
    }
}
