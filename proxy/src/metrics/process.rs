//! Metrics of the process itself, read from `/proc` at every scrape.

use super::{Encoder, Family, Labels, Registry};
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

static BUILD: Family = Family::gauge("proxy_build_info", "What this proxy is.");
static RUSTLS: Family = Family::gauge("rustls_info", "What mesh TLS is made of.");
static START: Family =
    Family::gauge("process_start_time_seconds", "When the process started, in seconds since the epoch.");
static UPTIME: Family = Family::counter("process_uptime_seconds_total", "How long the process has been running.");
static CLOCK: Family =
    Family::gauge("process_clock_time_seconds", "The time of the process's clock, in seconds since the epoch.");
static CPU: Family = Family::counter("process_cpu_seconds_total", "User and system CPU time.");
static THREADS: Family = Family::gauge("process_threads", "Threads of the process.");
static FDS: Family = Family::gauge("process_open_fds", "Open file descriptors.");
static MAX_FDS: Family = Family::gauge("process_max_fds", "The limit of open file descriptors.");
static RSS: Family = Family::gauge("process_resident_memory_bytes", "Resident memory.");
static VIRTUAL: Family = Family::gauge("process_virtual_memory_bytes", "Virtual memory.");

/// Linux reports CPU time in these, whatever the kernel's own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

pub fn register(registry: &Registry) {
    let page = page_size();
    let started = SystemTime::now();
    let build = Labels::new()
        .with("version", env!("CARGO_PKG_VERSION"))
        .with("git_sha", option_env!("GIT_SHA").unwrap_or_default())
        .with("profile", if cfg!(debug_assertions) { "debug" } else { "release" })
        .with("vendor", option_env!("LINKERD2_PROXY_VENDOR").unwrap_or("tulle"))
        .with("date", option_env!("RELEASE_DATE").unwrap_or_default());
    let tls = Labels::new()
        .with("tls_suites", "TLS13_AES_128_GCM_SHA256,TLS13_AES_256_GCM_SHA384,TLS13_CHACHA20_POLY1305_SHA256")
        .with("tls_kx_groups", "X25519,secp256r1,secp384r1")
        .with("tls_rand", "ring")
        .with("tls_key_provider", "ring")
        .with("tls_fips", false);
    registry.collect(move |out| {
        one(out, &BUILD, build.as_str(), 1);
        one(out, &RUSTLS, tls.as_str(), 1);
        let since_epoch = started.duration_since(UNIX_EPOCH).unwrap_or_default();
        one(out, &START, "", since_epoch.as_secs_f64());
        one(out, &CLOCK, "", SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        one(out, &UPTIME, "", started.elapsed().unwrap_or_default().as_secs_f64());
        collect_stat(out, page);
        collect_descriptors(out);
    });
}

fn collect_stat(out: &mut Encoder, page: u64) {
    let Ok(stat) = fs::read_to_string("/proc/self/stat") else { return };
    // The second field is the program's name in parentheses and may hold anything; the third is at index 0 here.
    let Some((_, rest)) = stat.rsplit_once(')') else { return };
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    one(out, &CPU, "", (number(11) + number(12)) as f64 / TICKS_PER_SECOND);
    one(out, &THREADS, "", number(17));
    one(out, &VIRTUAL, "", number(20));
    one(out, &RSS, "", number(21) * page);
}

fn collect_descriptors(out: &mut Encoder) {
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // One of them is the one that reads the folder.
        one(out, &FDS, "", entries.count().saturating_sub(1));
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_ascii_whitespace().next());
    if let Some(soft) = soft.and_then(|s| s.parse::<u64>().ok()) {
        one(out, &MAX_FDS, "", soft);
    }
}

fn one(out: &mut Encoder, family: &Family, labels: &str, value: impl std::fmt::Display) {
    out.family(family);
    out.sample(family.name, labels, value);
}

fn page_size() -> u64 {
    // The auxiliary vector has it: pairs of native words, AT_PAGESZ is 6.
    let word = size_of::<usize>();
    let auxv = fs::read("/proc/self/auxv").unwrap_or_default();
    let pairs = auxv.chunks_exact(2 * word).map(|pair| {
        let native = |bytes: &[u8]| usize::from_ne_bytes(bytes.try_into().unwrap_or_default()) as u64;
        (native(&pair[..word]), native(&pair[word..]))
    });
    pairs.into_iter().find(|(key, _)| *key == 6).map_or(4096, |(_, size)| size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_the_process_uses() {
        let registry = Registry::new(std::time::Duration::from_secs(1));
        register(&registry);
        let text = registry.encode();
        let value = |name: &str| {
            let line = text.lines().find(|l| l.starts_with(&format!("{name} "))).expect(name);
            line.rsplit(' ').next().and_then(|v| v.parse::<f64>().ok()).expect(name)
        };
        assert!(value("process_resident_memory_bytes") > 100_000.0, "{text}");
        assert!(value("process_threads") >= 1.0 && value("process_open_fds") >= 3.0, "{text}");
        assert!(value("process_max_fds") >= 64.0 && text.contains("proxy_build_info{version="), "{text}");
    }
}
