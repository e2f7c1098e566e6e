//! Instants and durations as filters and results write them.
//!
//! Reads no clock. Instants are microseconds since 1970-01-01T00:00:00Z within the years 1 to 9999,
//! which are the years that can be written.

use std::fmt;
use std::str::FromStr;

use chrono::{
    DateTime, Datelike as _, Days, Months, NaiveDate, NaiveDateTime, SecondsFormat, TimeZone as _,
    Utc,
};
use pandion_types::{Error, Result};

/// 0001-01-01T00:00:00Z.
const FIRST_MICROS: i64 = -62_135_596_800_000_000;
/// 9999-12-31T23:59:59.999999Z.
const LAST_MICROS: i64 = 253_402_300_799_999_999;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// Days from the day before 0001-01-01 to 1970-01-01.
const DAYS_BEFORE_1970: i32 = 719_163;

/// A zone of the IANA database.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TimeZone(chrono_tz::Tz);

impl Default for TimeZone {
    /// UTC.
    fn default() -> Self {
        Self(chrono_tz::Tz::UTC)
    }
}

impl FromStr for TimeZone {
    type Err = Error;

    /// Accepts the names of the IANA database; case matters.
    fn from_str(name: &str) -> Result<Self> {
        name.parse().map(Self).map_err(|error| {
            Error::invalid_argument(format!("invalid timezone: {name}")).caused_by(error)
        })
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl fmt::Debug for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimeZone({})", self.0.name())
    }
}

/// Whether an instant has a year that can be written.
pub(crate) fn is_writable(micros: i64) -> bool {
    (FIRST_MICROS..=LAST_MICROS).contains(&micros)
}

/// The microseconds since 1970-01-01T00:00:00Z of an ISO 8601 instant.
///
/// An instant with an offset or `Z` is RFC 3339. One without is local time in `zone`; it may have
/// a space for the `T`, and may leave out the seconds or the whole time of day. Of a local time
/// that occurs twice the earlier occurrence is taken. Digits below a microsecond are cut off.
///
/// # Errors
/// `InvalidArgument` when the text is no instant, when the local time does not occur in the zone,
/// or when the year in UTC is not within 1 to 9999.
pub fn parse_timestamp(text: &str, zone: TimeZone) -> Result<i64> {
    let trimmed = text.trim();
    let instant = match DateTime::parse_from_rfc3339(trimmed) {
        Ok(instant) => instant.with_timezone(&Utc),
        Err(error) => {
            let local = parse_local(trimmed).ok_or_else(|| {
                Error::invalid_argument(format!("invalid timestamptz string: '{text}'"))
                    .caused_by(error)
            })?;
            zone.0
                .from_local_datetime(&local)
                .earliest()
                .ok_or_else(|| {
                    Error::invalid_argument(format!(
                        "timestamptz string '{text}' does not occur in time zone {zone}"
                    ))
                })?
                .with_timezone(&Utc)
        }
    };
    let micros = instant.timestamp_micros();
    if is_writable(micros) {
        Ok(micros)
    } else {
        Err(Error::invalid_argument(format!(
            "timestamptz string '{text}' is out of range: the year must be within 1 to 9999"
        )))
    }
}

fn parse_local(text: &str) -> Option<NaiveDateTime> {
    const FORMATS: [&str; 4] =
        ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    FORMATS
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))
}

/// The ISO 8601 form of an instant in a zone: `2026-01-01T08:00:00+08:00`, with `Z` for UTC, and
/// with milliseconds or microseconds when there are any. `None` when the year is not within 1 to
/// 9999.
#[must_use]
pub fn format_timestamp(micros: i64, zone: TimeZone) -> Option<String> {
    let instant = DateTime::<Utc>::from_timestamp_micros(micros).filter(|_| is_writable(micros))?;
    let local = instant.with_timezone(&zone.0);
    Some(local.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// A duration of ISO 8601: calendar fields, none negative. At least one is set, except in the
/// duration of nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Interval {
    pub years: u32,
    pub months: u32,
    pub days: u32,
    pub hours: u32,
    pub minutes: u32,
    pub seconds: u32,
}

impl Interval {
    /// Its length in microseconds when that is the same at every instant: `None` for an interval
    /// with years or months, and for one whose length does not fit.
    #[must_use]
    pub fn fixed_micros(&self) -> Option<i64> {
        if self.years != 0 || self.months != 0 {
            return None;
        }
        i64::from(self.days).checked_mul(MICROS_PER_DAY)?.checked_add(self.time_micros()?)
    }

    /// The instant so much later, or earlier when `negative`. Calendar fields count in UTC: first
    /// years and months, where a day that the month does not have becomes its last one, then days,
    /// then the time of day. `None` when the result has no year within 1 to 9999.
    #[must_use]
    pub fn shift(&self, micros: i64, negative: bool) -> Option<i64> {
        let (day, time_of_day) =
            (micros.div_euclid(MICROS_PER_DAY), micros.rem_euclid(MICROS_PER_DAY));
        let date = NaiveDate::from_num_days_from_ce_opt(
            i32::try_from(day).ok()?.checked_add(DAYS_BEFORE_1970)?,
        )?;
        let months = Months::new(self.years.checked_mul(12)?.checked_add(self.months)?);
        let days = Days::new(u64::from(self.days));
        let moved = if negative {
            date.checked_sub_months(months)?.checked_sub_days(days)?
        } else {
            date.checked_add_months(months)?.checked_add_days(days)?
        };
        let time = if negative { -self.time_micros()? } else { self.time_micros()? };
        i64::from(moved.num_days_from_ce() - DAYS_BEFORE_1970)
            .checked_mul(MICROS_PER_DAY)?
            .checked_add(time_of_day)?
            .checked_add(time)
            .filter(|micros| is_writable(*micros))
    }

    /// Hours, minutes and seconds; `None` when that does not fit, which takes 290,000 years.
    fn time_micros(&self) -> Option<i64> {
        // Each field is below 2^32, so that the seconds fit.
        let seconds =
            i64::from(self.hours) * 3600 + i64::from(self.minutes) * 60 + i64::from(self.seconds);
        seconds.checked_mul(MICROS_PER_SECOND)
    }
}

impl FromStr for Interval {
    type Err = Error;

    /// Accepts `P1Y2M3DT4H5M6S` with any of the fields left out.
    fn from_str(text: &str) -> Result<Self> {
        parse_interval(text)
            .ok_or_else(|| Error::invalid_argument(format!("invalid ISO 8601 duration: {text}")))
    }
}

fn parse_interval(text: &str) -> Option<Interval> {
    let fields = text.strip_prefix('P')?;
    let (date, time) = match fields.split_once('T') {
        Some((date, time)) => (date, time),
        None => (fields, ""),
    };
    let (years, date) = take_field(date, 'Y')?;
    let (months, date) = take_field(date, 'M')?;
    let (days, date) = take_field(date, 'D')?;
    let (hours, time) = take_field(time, 'H')?;
    let (minutes, time) = take_field(time, 'M')?;
    let (seconds, time) = take_field(time, 'S')?;
    (date.is_empty() && time.is_empty()).then_some(Interval {
        years,
        months,
        days,
        hours,
        minutes,
        seconds,
    })
}

/// The number before `letter` and what stands after it; zero and the text when the field is absent.
fn take_field(text: &str, letter: char) -> Option<(u32, &str)> {
    match text.split_once(letter) {
        Some((digits, rest)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((digits.parse().ok()?, rest))
        }
        _ => Some((0, text)),
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("P")?;
        for (number, letter) in [(self.years, 'Y'), (self.months, 'M'), (self.days, 'D')] {
            if number != 0 {
                write!(f, "{number}{letter}")?;
            }
        }
        let time = [(self.hours, 'H'), (self.minutes, 'M'), (self.seconds, 'S')];
        if time.iter().all(|(number, _)| *number == 0) {
            return Ok(());
        }
        f.write_str("T")?;
        for (number, letter) in time {
            if number != 0 {
                write!(f, "{number}{letter}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> i64 {
        parse_timestamp(text, TimeZone::default()).unwrap()
    }

    #[test]
    fn instants_are_read_with_and_without_an_offset() {
        let shanghai: TimeZone = "Asia/Shanghai".parse().unwrap();
        assert_eq!(utc("1970-01-01T00:00:00Z"), 0);
        assert_eq!(utc("1970-01-01T08:00:00+08:00"), 0);
        assert_eq!(utc("1970-01-01T00:00:00.0000019Z"), 1);
        assert_eq!(utc("1969-12-31T23:59:59.999999Z"), -1);
        for naive in ["1970-01-01T08:00:00", "1970-01-01 08:00:00", "1970-01-01T08:00"] {
            assert_eq!(parse_timestamp(naive, shanghai).unwrap(), 0, "{naive}");
        }
        assert_eq!(utc("1970-01-02"), 86_400_000_000);
        assert_eq!(utc("0001-01-01T00:00:00Z"), FIRST_MICROS);
        assert_eq!(utc("9999-12-31T23:59:59.999999Z"), LAST_MICROS);
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        let berlin: TimeZone = "Europe/Berlin".parse().unwrap();
        for text in ["", "now", "2025-13-01T00:00:00Z", "2025-01-01T25:00:00", "0000-01-01"] {
            assert!(parse_timestamp(text, berlin).is_err(), "{text}");
        }
        // The hour that summer time skips.
        let error = parse_timestamp("2025-03-30T02:30:00", berlin).unwrap_err();
        assert!(error.message().contains("does not occur"), "{error}");
        // The hour that comes twice: the first time is still summer.
        let twice = parse_timestamp("2025-10-26T02:30:00", berlin).unwrap();
        assert_eq!(twice, utc("2025-10-26T00:30:00Z"));
        assert!("Mars/Olympus".parse::<TimeZone>().is_err());
    }

    #[test]
    fn instants_are_written_in_the_zone() {
        let shanghai: TimeZone = "Asia/Shanghai".parse().unwrap();
        let format = |micros, zone| format_timestamp(micros, zone).unwrap();
        assert_eq!(format(0, TimeZone::default()), "1970-01-01T00:00:00Z");
        assert_eq!(format(0, shanghai), "1970-01-01T08:00:00+08:00");
        assert_eq!(format(1, TimeZone::default()), "1970-01-01T00:00:00.000001Z");
        assert_eq!(format_timestamp(i64::MAX, shanghai), None);
    }

    #[test]
    fn intervals_are_read_and_written() {
        for text in ["P1Y2M3DT4H5M6S", "P1D", "PT1H", "P2M", "PT90S"] {
            assert_eq!(text.parse::<Interval>().unwrap().to_string(), text);
        }
        for text in ["", "1D", "P1", "P1H", "PT1D", "P-1D", "P1DT1.5S", "P99999999999D", "P1D1Y"] {
            assert!(text.parse::<Interval>().is_err(), "{text}");
        }
        assert_eq!("PT1M1S".parse::<Interval>().unwrap().fixed_micros(), Some(61_000_000));
        assert_eq!("P1M".parse::<Interval>().unwrap().fixed_micros(), None);
    }

    #[test]
    fn calendar_intervals_keep_to_the_month() {
        let month: Interval = "P1M".parse().unwrap();
        assert_eq!(
            month.shift(utc("2025-01-31T10:00:00Z"), false),
            Some(utc("2025-02-28T10:00:00Z"))
        );
        assert_eq!(
            month.shift(utc("2025-03-31T10:00:00Z"), true),
            Some(utc("2025-02-28T10:00:00Z"))
        );
        let far: Interval = "P9999Y".parse().unwrap();
        assert_eq!(far.shift(utc("2025-01-01"), false), None);
        let extremes = [i64::MIN, i64::MAX, FIRST_MICROS, LAST_MICROS, LAST_MICROS + 1];
        for (micros, negative) in extremes.into_iter().flat_map(|it| [(it, false), (it, true)]) {
            let kept = Interval::default().shift(micros, negative);
            assert_eq!(kept, is_writable(micros).then_some(micros));
        }
        let hours: Interval = "PT4294967295H4294967295M".parse().unwrap();
        assert_eq!(hours.fixed_micros(), None);
        assert_eq!(hours.shift(utc("2025-01-01"), true), None);
        let mixed: Interval = "P1Y1DT1S".parse().unwrap();
        assert_eq!(mixed.shift(utc("2024-02-29"), false), Some(utc("2025-03-01T00:00:01Z")));
    }
}
