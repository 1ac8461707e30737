//! One line per request on standard output, as Apache's combined log or as JSON.

use super::Body;
use crate::config;
use http::{HeaderMap, Request, Response, Version};
use std::{
    fmt::Write as _,
    io::Write as _,
    net::SocketAddr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// A request that is to be logged when its response has ended.
pub struct AccessLog {
    format: config::AccessLog,
    client_addr: String,
    client_id: String,
    method: String,
    uri: String,
    host: String,
    version: Version,
    referer: String,
    user_agent: String,
    trace_id: String,
    request_bytes: String,
    status: u16,
    response_bytes: u64,
    began: SystemTime,
    started: Instant,
    processing: Duration,
}

impl AccessLog {
    /// `None` when nothing is to be logged.
    pub fn begin(
        format: Option<config::AccessLog>,
        client: SocketAddr,
        client_id: Option<&str>,
        request: &Request<Body>,
    ) -> Option<Box<Self>> {
        let format = format?;
        let headers = request.headers();
        let host = request.uri().authority().map(|a| a.to_string()).unwrap_or_else(|| text(headers, "host"));
        Some(Box::new(Self {
            format,
            client_addr: client.to_string(),
            client_id: client_id.unwrap_or_default().to_owned(),
            method: request.method().to_string(),
            uri: request.uri().to_string(),
            host,
            version: request.version(),
            referer: text(headers, "referer"),
            user_agent: text(headers, "user-agent"),
            trace_id: trace_id(headers),
            request_bytes: text(headers, "content-length"),
            status: 0,
            response_bytes: 0,
            began: SystemTime::now(),
            started: Instant::now(),
            processing: Duration::ZERO,
        }))
    }

    /// Logs the request when the response's body has ended.
    pub fn attach(mut self: Box<Self>, response: &mut Response<Body>) {
        self.status = response.status().as_u16();
        self.processing = self.started.elapsed();
        response.body_mut().set_log(self);
    }

    pub fn data(&mut self, bytes: usize) {
        self.response_bytes += bytes as u64;
    }

    fn line(&self) -> String {
        match self.format {
            config::AccessLog::Apache => self.apache(),
            config::AccessLog::Json => self.json(),
        }
    }

    fn apache(&self) -> String {
        let id = if self.client_id.is_empty() { "-" } else { &self.client_id };
        let mut line = format!("{} {id} - [{}] \"{} ", self.client_addr, timestamp(self.began), self.method,);
        escape(&mut line, &self.uri);
        let _ = write!(line, " {:?}\" {} {} \"", self.version, self.status, self.response_bytes);
        escape(&mut line, &self.referer);
        line.push_str("\" \"");
        escape(&mut line, &self.user_agent);
        line.push_str("\"\n");
        line
    }

    fn json(&self) -> String {
        let mut line = String::from("{");
        let version = format!("{:?}", self.version);
        let time = timestamp(self.began);
        let strings = [
            ("client.addr", &self.client_addr),
            ("client.id", &self.client_id),
            ("host", &self.host),
            ("method", &self.method),
            ("request_bytes", &self.request_bytes),
            ("timestamp", &time),
            ("trace_id", &self.trace_id),
            ("uri", &self.uri),
            ("user_agent", &self.user_agent),
            ("version", &version),
        ];
        for (name, value) in strings {
            let _ = write!(line, "\"{name}\":\"");
            escape(&mut line, value);
            line.push_str("\",");
        }
        let _ = writeln!(
            line,
            "\"status\":{},\"response_bytes\":{},\"processing_ns\":{},\"total_ns\":{}}}",
            self.status,
            self.response_bytes,
            self.processing.as_nanos(),
            self.started.elapsed().as_nanos()
        );
        line
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        if self.status != 0 {
            // A log that cannot be written must not stop traffic.
            let _ = std::io::stdout().lock().write_all(self.line().as_bytes());
        }
    }
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned()).unwrap_or_default()
}

fn trace_id(headers: &HeaderMap) -> String {
    let traceparent = text(headers, "traceparent");
    match traceparent.split('-').nth(1) {
        Some(id) => id.to_owned(),
        None => text(headers, "x-b3-traceid"),
    }
}

fn escape(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

/// RFC 3339 with milliseconds, in UTC.
fn timestamp(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Civil date from days since the epoch, by 400-year eras that begin in March.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60,
        since.subsec_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_dates_and_escapes() {
        assert_eq!(timestamp(UNIX_EPOCH + Duration::from_millis(1_709_210_096_789)), "2024-02-29T12:34:56.789Z");
        let mut out = String::new();
        escape(&mut out, "a\"b\\c\n");
        assert_eq!(out, "a\\\"b\\\\c\\u000a");
    }
}
