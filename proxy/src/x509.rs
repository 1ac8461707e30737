//! The little of X.509 that nobody else here reads: where one certificate ends and the next begins, and until when one holds.

use rustls::pki_types::CertificateDer;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SEQUENCE: u8 = 0x30;
const EXPLICIT_VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// Lengths of certificates need no more bytes than that.
const LENGTH_BYTES_MAX: usize = 4;

/// Certificates that stand one after the other. `None` when they do not fill the bytes exactly.
pub fn split(mut bytes: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (tag, _, rest) = read(bytes)?;
        let (one, _) = bytes.split_at(bytes.len() - rest.len());
        all.push(CertificateDer::from((tag == SEQUENCE).then_some(one)?.to_vec()));
        bytes = rest;
    }
    Some(all)
}

/// The end of a certificate's life.
pub fn not_after(certificate: &[u8]) -> Option<SystemTime> {
    let (_, certificate, _) = read(certificate)?;
    let (_, mut fields, _) = read(certificate)?;
    if fields.first() == Some(&EXPLICIT_VERSION) {
        (_, _, fields) = read(fields)?;
    }
    // Serial number, algorithm and issuer come before the validity.
    for _ in 0..3 {
        (_, _, fields) = read(fields)?;
    }
    let (_, validity, _) = read(fields)?;
    let (_, _, rest) = read(validity)?;
    let (tag, text, _) = read(rest)?;
    time(tag, text)
}

/// Tag and content of the first element, and what follows it.
fn read(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ 0..0x80 => (usize::from(short), rest),
        long => {
            let count = usize::from(long & 0x7f);
            let (length, rest) = rest.split_at_checked(count).filter(|_| (1..=LENGTH_BYTES_MAX).contains(&count))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

fn time(tag: u8, text: &[u8]) -> Option<SystemTime> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        // RFC 5280: two digits are of the years 1950 to 2049.
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let part = |at: usize| rest.get(2 * at..2 * at + 2)?.parse::<i64>().ok();
    let (month, day, hour, minute, second) = (part(0)?, part(1)?, part(2)?, part(3)?, part(4)?);
    let is_time = rest.len() == 10 && (1..=12).contains(&month) && (1..=31).contains(&day);
    let seconds = (days(year, month, day) * 24 + hour) * 3600 + minute * 60 + second;
    let since = Duration::from_secs(u64::try_from(seconds).ok().filter(|_| is_time)?);
    UNIX_EPOCH.checked_add(since)
}

/// Days from 1970-01-01. Years begin in March here, so that a leap day is the last one of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(not_after: SystemTime) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(["web".to_owned()]).expect("a name");
        params.not_after = not_after.into();
        let key = rcgen::KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    #[test]
    fn reads_when_a_certificate_ends_in_either_form_of_time() {
        // In 2026, on a leap day, and in 2071, where two digits do not do any more.
        for seconds in [1_795_000_000, 1_835_445_599, 3_200_000_000] {
            let end = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(not_after(&certificate(end)), Some(end));
        }
    }

    #[test]
    fn splits_chains_and_refuses_what_is_none() {
        let (a, b) = (certificate(SystemTime::now()), certificate(SystemTime::now()));
        let chain = [a.clone(), b.clone()].concat();
        assert_eq!(split(&chain).expect("two").iter().map(|c| c.to_vec()).collect::<Vec<_>>(), [a, b]);
        for n in 1..chain.len() {
            // Every cut that is not between them.
            assert_eq!(split(&chain[..n]).is_some(), n == split(&chain).expect("two")[0].len(), "{n}");
            let _ = not_after(&chain[..n]);
        }
    }
}
