//! Container logs in the format that Kubernetes node agents use: `TIME stdout|stderr F|P TEXT`, one file for each
//! run of a container, rotated once to `.1` when it is full.

use std::fs::{File, OpenOptions, rename};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Twice this is kept of each run, as the usual node agent does by default.
const FILE_BYTES_MAX: u64 = 10 << 20;
/// Longer lines are written in parts, as the usual container runtimes do.
const LINE_BYTES_MAX: usize = 16 << 10;

pub struct LogWriter {
    path: PathBuf,
    file: File,
    written: u64,
    partial: [Vec<u8>; 2],
}

impl LogWriter {
    pub fn open(path: &str) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let written = file.metadata()?.len();
        Ok(Self { path: path.into(), file, written, partial: [Vec::new(), Vec::new()] })
    }

    /// Takes output of stream 0 (stdout) or 1 (stderr).
    pub fn take(&mut self, stream: usize, bytes: &[u8]) -> io::Result<()> {
        let mut out = Vec::with_capacity(bytes.len() + 64);
        let time = timestamp(SystemTime::now());
        let mut rest = bytes;
        while !rest.is_empty() {
            let partial = &mut self.partial[stream];
            let room = LINE_BYTES_MAX - partial.len();
            let end = rest.iter().take(room).position(|b| *b == b'\n');
            let length = end.unwrap_or(rest.len().min(room));
            partial.extend_from_slice(&rest[..length]);
            rest = &rest[length + usize::from(end.is_some())..];
            if end.is_some() || partial.len() == LINE_BYTES_MAX {
                put_line(&mut out, &time, stream, end.is_some(), partial);
            }
        }
        self.write(&out)
    }

    /// Writes a last line that has no newline, as a part that nothing follows.
    pub fn finish(&mut self) -> io::Result<()> {
        let mut out = Vec::new();
        let time = timestamp(SystemTime::now());
        for stream in 0..2 {
            if !self.partial[stream].is_empty() {
                put_line(&mut out, &time, stream, false, &mut self.partial[stream]);
            }
        }
        self.write(&out)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.written > 0 && self.written + bytes.len() as u64 > FILE_BYTES_MAX {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            rename(&self.path, old)?;
            self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            self.written = 0;
        }
        self.written += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}

fn put_line(out: &mut Vec<u8>, time: &str, stream: usize, full: bool, line: &mut Vec<u8>) {
    out.extend_from_slice(time.as_bytes());
    out.extend_from_slice(if stream == 0 { b" stdout " } else { b" stderr " });
    out.extend_from_slice(if full { b"F " } else { b"P " });
    out.append(line);
    out.push(b'\n');
}

/// RFC 3339 with nanoseconds, in UTC.
fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, seconds) = ((since.as_secs() / 86400) as i64, since.as_secs() % 86400);
    // Days since 0000-03-01 in eras of 400 years: the leap day is then the last day of a year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z", since.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_rfc_3339() {
        let at = |seconds, nanos| timestamp(UNIX_EPOCH + Duration::new(seconds, nanos));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(at(951_782_400, 5), "2000-02-29T00:00:00.000000005Z");
        assert_eq!(at(1_735_689_599, 999_999_999), "2024-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn splits_lines_marks_parts_and_keeps_the_last() {
        let folder = std::env::temp_dir().join(format!("tulle-pod-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("temp folder");
        let path = folder.join("0.log");
        let mut log = LogWriter::open(path.to_str().expect("utf-8")).expect("open");
        log.take(0, b"one\ntw").expect("take");
        log.take(0, b"o\n").expect("take");
        log.take(1, &[b'x'; LINE_BYTES_MAX + 1]).expect("take");
        log.finish().expect("finish");
        let text = std::fs::read_to_string(&path).expect("read");
        std::fs::remove_dir_all(&folder).expect("remove");
        let tail = |line: &str| line.split_once(' ').map(|(_, rest)| rest.chars().take(12).collect::<String>());
        let lines: Vec<_> = text.lines().filter_map(tail).collect();
        assert_eq!(lines, ["stdout F one", "stdout F two", "stderr P xxx", "stderr P x"]);
    }
}
