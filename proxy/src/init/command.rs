//! `init`: reads the flags, builds the tables, installs them.

use super::{
    netlink,
    options::{LogLevel, Options},
    rules::{Family, Table},
};
use crate::system;
use std::{fs, path::Path, process::ExitCode};

/// sysexits.h: the command line is wrong.
const EXIT_USAGE: u8 = 64;
/// The mark as the proxy is told it: a pod's specification says the same to both, and a flag wins.
const MARK_VARIABLE: &str = "TULLE_PROXY_MARK";
const CLOSE_WAIT_SYSCTL: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait";

/// Runs `init` with the arguments after the program's (and sub-command's) name. Says what it did or what failed on stderr.
pub fn run(args: &[String]) -> ExitCode {
    let options = match Options::parse(&with_mark(args, std::env::var(MARK_VARIABLE).ok())) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("init: {why}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match apply(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            log(&options, LogLevel::Error, &why);
            ExitCode::FAILURE
        }
    }
}

fn with_mark(args: &[String], mark: Option<String>) -> Vec<String> {
    let is_given = args.iter().any(|arg| arg == "--proxy-mark" || arg.starts_with("--proxy-mark="));
    let from_environment = mark.filter(|_| !is_given).map(|mark| format!("--proxy-mark={mark}"));
    args.iter().cloned().chain(from_environment).collect()
}

fn apply(options: &Options) -> Result<(), String> {
    if let Some(path) = &options.netns {
        system::enter_network_namespace(path)
            .map_err(|error| format!("enter network namespace {}: {error}", path.display()))?;
    }
    let mut families = vec![Family::Ipv4];
    if options.has_ipv6 && Path::new("/proc/net/if_inet6").exists() {
        families.push(Family::Ipv6);
    } else if options.has_ipv6 {
        log(options, LogLevel::Info, "the kernel has no IPv6: only IPv4 is redirected");
    }
    let tables: Vec<Table> = families.into_iter().map(|family| Table::new(family, options)).collect();
    let text = tables.iter().map(ToString::to_string).collect::<String>();
    if options.is_simulation {
        print!("{text}");
        return Ok(());
    }
    log(options, LogLevel::Debug, &text);
    netlink::install(&tables).map_err(|error| {
        let hint = match error.raw_os_error() {
            Some(libc::EPERM) => ": it takes the capability NET_ADMIN",
            Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP | libc::ENOENT | libc::EPROTONOSUPPORT) => {
                ": it takes a kernel with nf_tables and its nat and redirect modules"
            }
            _ => "",
        };
        format!("install nftables rules: {error}{hint}")
    })?;
    if let Some(seconds) = options.close_wait_timeout_s {
        fs::write(CLOSE_WAIT_SYSCTL, seconds.to_string())
            .map_err(|error| format!("write {seconds} to {CLOSE_WAIT_SYSCTL}: {error}"))?;
    }
    let versions = if tables.len() == 2 { "IPv4 and IPv6" } else { "IPv4" };
    let message = format!(
        "inbound TCP goes to port {}, outbound to {} ({versions})",
        options.inbound_port, options.outbound_port
    );
    log(options, LogLevel::Info, &message);
    Ok(())
}

fn log(options: &Options, level: LogLevel, message: &str) {
    if level > options.log_level {
        return;
    }
    let name = match level {
        LogLevel::Error => "error",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
    };
    if options.log_is_json {
        let escaped = message.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t");
        eprintln!("{{\"level\":\"{name}\",\"component\":\"init\",\"message\":\"{escaped}\"}}");
    } else {
        eprintln!("init: {name}: {message}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_mark_from_the_environment_unless_a_flag_gives_one() {
        let given = |args: &[&str]| {
            with_mark(&args.iter().map(|arg| arg.to_string()).collect::<Vec<_>>(), Some("7".to_owned()))
        };
        assert_eq!(given(&["--proxy-uid=1"]), ["--proxy-uid=1", "--proxy-mark=7"]);
        assert_eq!(given(&["--proxy-mark", "9"]), ["--proxy-mark", "9"]);
        assert_eq!(given(&["--proxy-mark=9"]), ["--proxy-mark=9"]);
    }
}
