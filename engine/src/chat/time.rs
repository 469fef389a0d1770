//! Dates for templates, and `strftime`.

use alloc::format;
use alloc::string::{String, ToString};

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A moment as the user's clock shows it. The engine has no clock: a host makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTime {
    /// The year of the Gregorian calendar.
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60.
    pub second: u8,
}

impl DateTime {
    /// The UTC date and time of a number of seconds since 1970. Add the offset of a time zone to have its local time.
    ///
    /// Days are counted from 1 March, so that a leap day comes last in its year of the calculation.
    pub fn from_unix(seconds: i64) -> DateTime {
        let days = seconds.div_euclid(86400) + 719_468;
        let second = seconds.rem_euclid(86400);
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1460 + day / 36524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        DateTime {
            year: (year + era * 400 + i64::from(month >= 10)) as i32,
            month: (if month < 10 { month + 3 } else { month - 9 }) as u8,
            day: (day - (153 * month + 2) / 5 + 1) as u8,
            hour: (second / 3600) as u8,
            minute: (second / 60 % 60) as u8,
            second: (second % 60) as u8,
        }
    }

    /// Days since 1 January, 0 to 365.
    fn day_of_year(&self) -> u32 {
        const BEFORE: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let before = BEFORE[usize::from(self.month).clamp(1, 12) - 1];
        before + u32::from(self.day.max(1)) - 1 + u32::from(leap && self.month > 2)
    }

    /// Days since Sunday, 0 to 6.
    fn weekday(&self) -> u32 {
        let year = i64::from(self.year) - 1;
        let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        (days + 1 + i64::from(self.day_of_year())).rem_euclid(7) as u32
    }

    fn month_name(&self) -> &'static str {
        MONTHS[usize::from(self.month).clamp(1, 12) - 1]
    }

    fn hour_of_12(&self) -> u32 {
        (u32::from(self.hour) + 11) % 12 + 1
    }

    /// Formats by the directives of C's `strftime` (in its default locale); unknown ones stay as they are. `%-d` and
    /// the like leave out the padding.
    pub fn format(&self, format: &str) -> String {
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let plain = chars.as_str().starts_with('-');
            let mut rest = chars.clone();
            if plain {
                rest.next();
            }
            let Some(text) = rest.next().and_then(|directive| self.directive(directive)) else {
                out.push('%');
                continue;
            };
            let padding = text.len().saturating_sub(1);
            let padding = text[..padding].len() - text[..padding].trim_start_matches(['0', ' ']).len();
            out.push_str(if plain { &text[padding..] } else { &text });
            chars = rest;
        }
        out
    }

    fn directive(&self, directive: char) -> Option<String> {
        let weekday = WEEKDAYS[self.weekday() as usize];
        Some(match directive {
            'a' => weekday[..3].to_string(),
            'A' => weekday.to_string(),
            'b' | 'h' => self.month_name()[..3].to_string(),
            'B' => self.month_name().to_string(),
            'c' => self.format("%a %b %e %H:%M:%S %Y"),
            'C' => format!("{:02}", self.year.div_euclid(100)),
            'd' => format!("{:02}", self.day),
            'D' | 'x' => self.format("%m/%d/%y"),
            'e' => format!("{:2}", self.day),
            'f' => "000000".to_string(),
            'F' => self.format("%Y-%m-%d"),
            'H' => format!("{:02}", self.hour),
            'I' => format!("{:02}", self.hour_of_12()),
            'j' => format!("{:03}", self.day_of_year() + 1),
            'k' => format!("{:2}", self.hour),
            'l' => format!("{:2}", self.hour_of_12()),
            'm' => format!("{:02}", self.month),
            'M' => format!("{:02}", self.minute),
            'n' => "\n".to_string(),
            'p' => if self.hour < 12 { "AM" } else { "PM" }.to_string(),
            'r' => self.format("%I:%M:%S %p"),
            'R' => self.format("%H:%M"),
            'S' => format!("{:02}", self.second),
            't' => "\t".to_string(),
            'T' | 'X' => self.format("%H:%M:%S"),
            'u' => ((self.weekday() + 6) % 7 + 1).to_string(),
            'U' => format!("{:02}", (self.day_of_year() + 7 - self.weekday()) / 7),
            'w' => self.weekday().to_string(),
            'W' => format!("{:02}", (self.day_of_year() + 7 - (self.weekday() + 6) % 7) / 7),
            'y' => format!("{:02}", self.year.rem_euclid(100)),
            'Y' => self.year.to_string(),
            'z' | 'Z' => String::new(),
            '%' => "%".to_string(),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_dates() {
        let date = |seconds| DateTime::from_unix(seconds).format("%F %T");
        assert_eq!(date(0), "1970-01-01 00:00:00");
        assert_eq!(date(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(date(1_735_689_599), "2024-12-31 23:59:59");
        assert_eq!(date(-1), "1969-12-31 23:59:59");
        assert_eq!(date(4_107_542_400), "2100-03-01 00:00:00");
    }

    #[test]
    fn directives_are_those_of_c() {
        let date = DateTime { year: 2024, month: 7, day: 4, hour: 15, minute: 5, second: 9 };
        assert_eq!(
            date.format("%d %b %Y, %A %I:%M:%S %p (%j) %-d %e %y"),
            "04 Jul 2024, Thursday 03:05:09 PM (186) 4  4 24"
        );
        assert_eq!(
            date.format("%a|%B|%U|%W|%w|%u|%D|%R|%c"),
            "Thu|July|26|27|4|4|07/04/24|15:05|Thu Jul  4 15:05:09 2024"
        );
        assert_eq!(date.format("100%% %Q %"), "100% %Q %");
        let midnight = DateTime { hour: 0, ..date };
        assert_eq!(midnight.format("%I %-H %-B"), "12 0 July");
    }
}
