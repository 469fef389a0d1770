//! Stop strings in text that comes in pieces.
//!
//! What could be the beginning of a stop string is held back until more text decides, so that no part of a stop string
//! is ever printed.

/// Looks for stop strings.
pub struct Stops {
    stops: Vec<String>,
    held: String,
}

/// What became of a piece of text.
#[derive(Debug, PartialEq, Eq)]
pub struct Passed {
    /// Text that may be printed.
    pub text: String,
    /// The stop string that followed it.
    pub stop: Option<String>,
}

impl Stops {
    /// Looks for any of `stops`, which are not empty.
    pub fn new(stops: &[String]) -> Self {
        Self { stops: stops.to_vec(), held: String::new() }
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &str) -> Passed {
        self.held.push_str(piece);
        let found = self.stops.iter().filter_map(|stop| Some((self.held.find(stop)?, stop))).min_by_key(|(at, _)| *at);
        if let Some((at, stop)) = found {
            let stop = Some(stop.clone());
            let text = self.held[..at].to_string();
            self.held.clear();
            return Passed { text, stop };
        }
        let keep = self.undecided();
        let rest = self.held.split_off(self.held.len() - keep);
        Passed { text: std::mem::replace(&mut self.held, rest), stop: None }
    }

    /// What was held back, once no more text comes.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// The length of the longest end of the held text that begins a stop string.
    fn undecided(&self) -> usize {
        let begins = |stop: &String| {
            let ends = stop.char_indices().map(|(at, _)| at).filter(|at| self.held.ends_with(&stop[..*at]));
            ends.max().unwrap_or(0)
        };
        self.stops.iter().map(begins).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(stops: &[&str], pieces: &[&str]) -> (Vec<String>, Option<String>) {
        let mut stops = Stops::new(&stops.iter().map(ToString::to_string).collect::<Vec<_>>());
        let mut texts = Vec::new();
        for piece in pieces {
            let passed = stops.push(piece);
            texts.push(passed.text);
            if passed.stop.is_some() {
                return (texts, passed.stop);
            }
        }
        texts.push(stops.finish());
        (texts, None)
    }

    #[test]
    fn across_pieces() {
        assert_eq!(feed(&["END"], &["aE", "N", "Db"]), (vec!["a".into(), "".into(), "".into()], Some("END".into())));
        assert_eq!(feed(&["END"], &["aEN", "ded"]), (vec!["a".into(), "ENded".into(), "".into()], None));
        assert_eq!(feed(&["END"], &["aE"]), (vec!["a".into(), "E".into()], None));
    }

    #[test]
    fn the_earliest_of_several() {
        assert_eq!(feed(&["cd", "bcd", "x"], &["abcdx"]), (vec!["a".into()], Some("bcd".into())));
    }

    #[test]
    fn repeated_beginnings_and_wide_characters() {
        assert_eq!(feed(&["aab"], &["aa", "aab"]).0.concat(), "aa");
        assert_eq!(feed(&["é!"], &["né", "e"]), (vec!["n".into(), "ée".into(), "".into()], None));
        assert_eq!(feed(&[], &["abc"]).0, ["abc", ""]);
    }
}
