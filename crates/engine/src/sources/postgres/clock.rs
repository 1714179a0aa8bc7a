//! Dates and times in words. PostgreSQL counts days and microseconds from 2000-01-01.

use std::fmt::Write as _;

const DAY: i64 = 86_400_000_000;

/// `2024-01-31`; out of ISO 8601's four digits, as PostgreSQL writes it: `10000-01-01`, `0044-03-15 BC`.
pub(super) fn date(days: i32) -> String {
    match days {
        i32::MAX => "infinity".to_owned(),
        i32::MIN => "-infinity".to_owned(),
        _ => {
            let (year, month, day) = civil(i64::from(days));
            let (era_year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
            format!("{era_year:04}-{month:02}-{day:02}{era}")
        }
    }
}

/// `2024-01-31T12:00:00.5` and with an offset where the type has one; out of four digits, as PostgreSQL writes it.
pub(super) fn timestamp(micros: i64, with_zone: bool) -> String {
    match micros {
        i64::MAX => return "infinity".to_owned(),
        i64::MIN => return "-infinity".to_owned(),
        _ => {}
    }
    let (year, month, day) = civil(micros.div_euclid(DAY));
    let iso = (1..=9999).contains(&year);
    let (era_year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    let mut text = format!("{era_year:04}-{month:02}-{day:02}{}", if iso { 'T' } else { ' ' });
    push_time(&mut text, micros.rem_euclid(DAY));
    if with_zone {
        text.push_str(if iso { "+00:00" } else { "+00" });
    }
    text.push_str(era);
    text
}

/// `23:59:59.999999`.
pub(super) fn time(micros: i64) -> String {
    let mut text = String::with_capacity(15);
    push_time(&mut text, micros);
    text
}

/// `12:00:00+05:30`; PostgreSQL keeps the zone in seconds west of Greenwich.
pub(super) fn timetz(micros: i64, seconds_west: i32) -> String {
    let mut text = time(micros);
    let east = -i64::from(seconds_west);
    let (hours, minutes, seconds) = (east.abs() / 3600, east.abs() / 60 % 60, east.abs() % 60);
    let _ = write!(text, "{}{hours:02}", if east < 0 { '-' } else { '+' });
    if minutes != 0 || seconds != 0 {
        let _ = write!(text, ":{minutes:02}");
    }
    if seconds != 0 {
        let _ = write!(text, ":{seconds:02}");
    }
    text
}

/// `1 year 2 mons -3 days +04:05:06.7`: `IntervalStyle` postgres.
pub(super) fn interval(micros: i64, days: i32, months: i32) -> String {
    let mut text = String::new();
    let mut after_negative = false;
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value == 0 {
            continue;
        }
        let space = if text.is_empty() { "" } else { " " };
        let plus = if after_negative && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        let _ = write!(text, "{space}{plus}{value} {unit}{plural}");
        after_negative = value < 0;
    }
    if text.is_empty() || micros != 0 {
        if !text.is_empty() {
            text.push(' ');
        }
        if micros < 0 {
            text.push('-');
        } else if after_negative {
            text.push('+');
        }
        push_clock(&mut text, micros.unsigned_abs());
    }
    text
}

/// Reads PostgreSQL's ISO text of a timestamptz, `2024-01-31 12:00:00.5+05:30`, back into its count. `None` for what
/// has no ISO form.
pub(super) fn read_timestamptz(text: &str) -> Option<i64> {
    let (date, rest) = text.split_once(' ')?;
    let mut parts = date.splitn(3, '-');
    let (year, month, day) = (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?);
    if date.len() != 10 {
        return None;
    }
    let sign_at = rest.find(['+', '-'])?;
    let (clock, zone) = rest.split_at(sign_at);
    let mut offset = 0;
    for (part, seconds) in zone.get(1..)?.split(':').zip([3600, 60, 1]) {
        offset += number(part)? * seconds;
    }
    if zone.starts_with('-') {
        offset = -offset;
    }
    let (seconds, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut time = 0;
    for (part, scale) in seconds.split(':').zip([3600, 60, 1]) {
        time += number(part)? * scale;
    }
    let fraction = if fraction.is_empty() { 0 } else { number(&format!("{fraction:0<6}"))? };
    Some(days(year, month, day) * DAY + (time - offset) * 1_000_000 + fraction)
}

/// A part of a date or time. More digits are none, and could overflow what is reckoned with them.
fn number(text: &str) -> Option<i64> {
    if text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn push_time(text: &mut String, micros: i64) {
    push_clock(text, micros.unsigned_abs());
}

fn push_clock(text: &mut String, micros: u64) {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let _ = write!(text, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction != 0 {
        let _ = write!(text, ".{fraction:06}");
        text.truncate(text.trim_end_matches('0').len());
    }
}

/// Days from 2000-01-01 to a date of the proleptic Gregorian calendar: eras of 400 years, years from March.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 730_425;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 730_425
}

#[cfg(test)]
mod tests {
    use super::{DAY, date, days, interval, read_timestamptz, timestamp, timetz};

    #[test]
    fn days_and_dates_are_inverse() {
        for day in (-3_000_000..3_000_000).step_by(97) {
            let (year, month, of_month) = super::civil(day);
            assert_eq!(days(year, month, of_month), day);
        }
        assert_eq!(date(0), "2000-01-01");
        assert_eq!(date(-1), "1999-12-31");
        assert_eq!(date(59), "2000-02-29");
        assert_eq!(date(2_921_940), "10000-01-01");
        assert_eq!(date(-730_119), "0001-01-01");
        assert_eq!(date(-730_120), "0001-12-31 BC");
    }

    #[test]
    fn times_are_written_as_iso_or_as_postgresql_does() {
        assert_eq!(timestamp(-1, false), "1999-12-31T23:59:59.999999");
        assert_eq!(timestamp(500_000, true), "2000-01-01T00:00:00.5+00:00");
        assert_eq!(timestamp(2_921_940 * DAY, true), "10000-01-01 00:00:00+00");
        assert_eq!(timetz(0, -19_800), "00:00:00+05:30");
        assert_eq!(interval(0, 0, 0), "00:00:00");
        assert_eq!(interval(14_706_700_000, -3, 14), "1 year 2 mons -3 days +04:05:06.7");
        assert_eq!(interval(-1, 0, -1), "-1 mons -00:00:00.000001");
    }

    #[test]
    fn zoned_text_is_read_back() {
        assert_eq!(read_timestamptz("2000-01-01 05:30:00.25+05:30"), Some(250_000));
        assert_eq!(read_timestamptz("1999-12-31 19:00:00-05"), Some(0));
        for text in
            ["infinity", "0044-03-15 00:00:00+00 BC", "10000-01-01 00:00:00+00", "01.02.2000 00:00:00 CET"]
        {
            assert_eq!(read_timestamptz(text), None, "{text}");
        }
    }
}
