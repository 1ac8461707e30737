//! The log: one line per record on stdout, plain or JSON, filtered by target. The filter has the syntax that Linkerd's users
//! know (`warn,linkerd=info,[{headers}]=off`); its directives about spans are accepted and mean nothing here.

use log::{Level, LevelFilter, Log, Metadata, Record};
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Instant;

static LOGGER: OnceLock<Logger> = OnceLock::new();

struct Logger {
    started: Instant,
    is_json: bool,
    filter: RwLock<Filter>,
}

/// Which records are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    text: String,
    default: LevelFilter,
    /// By target; the longest that fits counts.
    targets: Vec<(String, LevelFilter)>,
}

/// Starts logging. A filter that cannot be understood is replaced by the default one, and that is logged.
pub fn start(config: &crate::config::Log) {
    let parsed = Filter::parse(&config.filter);
    let filter = parsed.clone().unwrap_or_else(|_| Filter::default());
    let max = filter.max();
    let logger = Logger { started: Instant::now(), is_json: config.is_json, filter: RwLock::new(filter) };
    if LOGGER.set(logger).is_ok()
        && let Some(logger) = LOGGER.get()
        && log::set_logger(logger).is_ok()
    {
        log::set_max_level(max);
    }
    if let Err(error) = parsed {
        log::warn!(target: "logging", "ignored LINKERD2_PROXY_LOG: {error}");
    }
}

/// The filter in force, as it was given.
pub fn filter() -> String {
    let filter = LOGGER.get().map(|logger| logger.filter.read().unwrap_or_else(PoisonError::into_inner).text.clone());
    filter.unwrap_or_default()
}

/// Replaces the filter.
pub fn set_filter(text: &str) -> Result<(), String> {
    let filter = Filter::parse(text)?;
    if let Some(logger) = LOGGER.get() {
        log::set_max_level(filter.max());
        *logger.filter.write().unwrap_or_else(PoisonError::into_inner) = filter;
    }
    Ok(())
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            text: "warn,linkerd=info".to_owned(),
            default: LevelFilter::Warn,
            targets: vec![("linkerd".to_owned(), LevelFilter::Info)],
        }
    }
}

impl Filter {
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut filter = Self { text: text.trim().to_owned(), default: LevelFilter::Error, targets: Vec::new() };
        for directive in directives(text) {
            if directive.contains(['[', '{']) {
                continue;
            }
            match directive.split_once('=') {
                Some((target, level)) if is_target(target) => {
                    filter.targets.push((target.to_owned(), parse_level(level)?))
                }
                None => match parse_level(directive) {
                    Ok(level) => filter.default = level,
                    Err(_) if is_target(directive) => filter.targets.push((directive.to_owned(), LevelFilter::Trace)),
                    Err(error) => return Err(error),
                },
                Some((target, _)) => return Err(format!("{target:?} is not a target")),
            }
        }
        // Longest first, and of equals the last one given.
        filter.targets.reverse();
        filter.targets.sort_by_key(|(target, _)| std::cmp::Reverse(target.len()));
        Ok(filter)
    }

    fn level(&self, target: &str) -> LevelFilter {
        let fits = |named: &str| {
            // Linkerd's modules have long names: linkerd_app_outbound is our outbound.
            matches!(named, "linkerd" | "linkerd2_proxy" | "tulle")
                || named.starts_with("linkerd") && named.contains(target)
        };
        let exact = self.targets.iter().find(|(named, _)| named == target);
        let level = exact.or_else(|| self.targets.iter().find(|(named, _)| fits(named)));
        level.map_or(self.default, |(_, level)| *level)
    }

    fn max(&self) -> LevelFilter {
        self.targets.iter().map(|(_, level)| *level).max().unwrap_or(LevelFilter::Off).max(self.default)
    }
}

/// Splits at commas outside brackets and braces.
fn directives(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0i32;
    let split = text.split(move |c: char| {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth <= 0
    });
    split.map(str::trim).filter(|directive| !directive.is_empty())
}

fn is_target(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-' | '.'))
}

fn parse_level(text: &str) -> Result<LevelFilter, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "off" | "0" => Ok(LevelFilter::Off),
        "error" | "1" => Ok(LevelFilter::Error),
        "warn" | "2" => Ok(LevelFilter::Warn),
        "info" | "3" => Ok(LevelFilter::Info),
        "debug" | "4" => Ok(LevelFilter::Debug),
        "trace" | "5" => Ok(LevelFilter::Trace),
        _ => Err(format!("{text:?} is not a level")),
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let filter = self.filter.read().unwrap_or_else(PoisonError::into_inner);
        metadata.level() <= filter.level(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = self.line(record.level(), record.target(), &record.args().to_string());
        // There is nowhere to say that stdout is gone.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

impl Logger {
    fn line(&self, level: Level, target: &str, message: &str) -> String {
        let elapsed = self.started.elapsed().as_secs_f64();
        if self.is_json {
            let message = json_string(message);
            return format!(
                "{{\"timestamp\":\"[{elapsed:>12.6}s]\",\"level\":\"{level}\",\"fields\":{{\"message\":{message}}},\"target\":\"{target}\"}}\n"
            );
        }
        format!("[{elapsed:>12.6}s] {level:>5} {target}: {message}\n")
    }
}

/// A JSON string literal.
pub fn json_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => write!(out, "\\u{:04x}", c as u32).expect("a String takes every write"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_injectors_filter_is_understood() {
        let filter = Filter::parse("warn,linkerd=info,hickory=error,[{headers}]=off,[{request}]=off").expect("valid");
        assert_eq!(filter.level("outbound"), LevelFilter::Info);
        assert_eq!(filter.max(), LevelFilter::Info);
    }

    #[test]
    fn longer_targets_win_and_linkerds_modules_mean_ours() {
        let filter = Filter::parse("error,linkerd=info,linkerd_app_outbound=debug,policy=trace").expect("valid");
        assert_eq!(filter.level("outbound"), LevelFilter::Debug);
        assert_eq!(filter.level("inbound"), LevelFilter::Info);
        assert_eq!(filter.level("policy"), LevelFilter::Trace);
    }

    #[test]
    fn span_directives_are_skipped_and_nonsense_is_refused() {
        assert!(Filter::parse("info,linkerd[span{a=\"x,y\"}]=debug,[{}]=trace,").is_ok());
        for bad in ["info,linkerd=loud", "=info", "a b=info", "x y"] {
            assert!(Filter::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn strings_are_escaped_for_json() {
        assert_eq!(json_string("a\"b\\c\n\u{1}é"), "\"a\\\"b\\\\c\\n\\u0001é\"");
    }
}
