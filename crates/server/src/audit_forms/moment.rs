//! Moments as people write them.

use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};

/// A moment in milliseconds: a timestamp, a date (its beginning, UTC), or a length of time before now.
pub(crate) fn moment(text: &str) -> Result<i64, String> {
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp.as_millisecond());
    }
    if let Ok(date) = text.parse::<civil::Date>()
        && let Ok(begin) = date.to_zoned(TimeZone::UTC)
    {
        return Ok(begin.timestamp().as_millisecond());
    }
    text.parse::<SignedDuration>()
        .ok()
        .filter(SignedDuration::is_positive)
        .and_then(|ago| Timestamp::now().checked_sub(ago).ok())
        .map(Timestamp::as_millisecond)
        .ok_or_else(|| "write it like 2026-01-31, 2026-01-31T08:00:00Z or 24h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        assert_eq!(moment("1970-01-02"), Ok(86_400_000));
        assert_eq!(moment("1970-01-01T00:00:01Z"), Ok(1000));
        let hour_ago = Timestamp::now().as_millisecond() - 3_600_000;
        assert!((moment("1h").unwrap() - hour_ago).abs() < 1000);
        for wrong in ["", "yesterday", "-1h", "2026-13-01"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
