//! How long a server asks to be spared: `Retry-After` in seconds or as a date, or gRPC's pushback in milliseconds.

use http::{HeaderMap, header::RETRY_AFTER};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// From a response's headers or trailers. A pushback below zero asks for no retry and says no time.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    if let Some(pushback) = headers.get("grpc-retry-pushback-ms") {
        return pushback.to_str().ok()?.trim().parse().ok().map(Duration::from_millis);
    }
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(date(text)?.duration_since(SystemTime::now()).unwrap_or_default()),
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that senders may use, or one of the two that recipients have to know:
/// `Sunday, 06-Nov-94 08:49:37 GMT` and `Sun Nov  6 08:49:37 1994`.
fn date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let parts: Vec<&str> = text.split([' ', ':', '-']).filter(|part| !part.is_empty()).collect();
    let (day, month, year, hour, minute, second) = match (&parts[..], text.contains(',')) {
        (&[_, day, month, year, hour, minute, second, "GMT"], true) => (day, month, year, hour, minute, second),
        (&[_, month, day, hour, minute, second, year], false) => (day, month, year, hour, minute, second),
        _ => return None,
    };
    let number = |text: &str, max: u64| text.parse().ok().filter(|n: &u64| *n <= max);
    let month = MONTHS.iter().position(|name| *name == month)? as u64;
    // Years begin in March here, so that the leap day is their last.
    let year = match (year.len(), number(year, 9999)?) {
        (2, year) if year < 70 => 2000 + year,
        (2, year) => 1900 + year,
        (_, year) => year,
    };
    let (year, month) = (year + u64::from(month >= 2), (month + 10) % 12);
    let year = year.checked_sub(1)?;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + number(day, 31)?;
    // To 1 January 1970 from the day before 1 March of the year 0.
    let seconds = days.checked_sub(719_469)? * 86_400;
    let time = number(hour, 23)? * 3600 + number(minute, 59)? * 60 + number(second, 60)?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds + time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &'static str, value: &str) -> Option<Duration> {
        retry_after(&HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]))
    }

    #[test]
    fn reads_seconds_dates_and_pushback() {
        assert_eq!(of("retry-after", "120"), Some(Duration::from_secs(120)));
        assert_eq!(of("grpc-retry-pushback-ms", "250"), Some(Duration::from_millis(250)));
        assert_eq!(of("grpc-retry-pushback-ms", "-1"), None);
        assert_eq!(of("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        for nonsense in ["", "soon", "-5", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Foo 1994 08:49:37 GMT", "1.5"] {
            assert_eq!(of("retry-after", nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn dates_are_seconds_since_1970() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
            ("Sun Nov  6 08:49:37 1994", 784_111_777),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Tue, 29 Feb 2000 23:59:59 GMT", 951_868_799),
            ("Wed, 01 Mar 2000 00:00:00 GMT", 951_868_800),
            ("Sun, 22 Nov 2026 00:00:00 GMT", 1_795_305_600),
        ] {
            assert_eq!(date(text), Some(UNIX_EPOCH + Duration::from_secs(seconds)), "{text}");
        }
    }
}
