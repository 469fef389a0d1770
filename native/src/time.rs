//! The clock, for templates that ask what day it is.

use jiff::Zoned;
use woolly_engine::chat::DateTime;

/// The local time.
pub fn now() -> DateTime {
    let now = Zoned::now();
    // Local time is what the clock of UTC would show this many seconds from now.
    DateTime::from_unix(now.timestamp().as_second() + i64::from(now.offset().seconds()))
}

/// The date as templates that ask for no function expect it, by the names of their variables.
pub fn dates() -> [(&'static str, String); 2] {
    let now = Zoned::now();
    [("date_string", "%d %b %Y"), ("datetime", "%b %d %Y")]
        .map(|(name, format)| (name, now.strftime(format).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_shows_the_local_time() {
        let before = Zoned::now();
        let time = now();
        let shown = (i32::from(before.year()), before.month() as u8, before.hour() as u8);
        let later = Zoned::now();
        // Unless midnight, or the full hour, was just now.
        if before.hour() == later.hour() {
            assert_eq!((time.year, time.month, time.hour), shown);
        }
    }
}
