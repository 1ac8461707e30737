//! The `await` sub-command (also started as `linkerd-await`): waits until the proxy is ready, then runs a command in its
//! own place, or, with `--shutdown`, as a child after whose end it asks the proxy to stop.

use crate::{
    arguments::{Arguments, Flag},
    system,
};
use std::{
    env,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};
use tokio::signal::unix::{SignalKind, signal};

/// sysexits.h: the command line is wrong; the service is not there.
const EXIT_USAGE: u8 = 64;
const EXIT_UNAVAILABLE: u8 = 69;
/// Shells say these when a command cannot be run, cannot be found, was killed by signal N.
const EXIT_CANNOT_RUN: u8 = 126;
const EXIT_NOT_FOUND: u8 = 127;
const EXIT_SIGNAL: i32 = 128;

const ADMIN_PORT: u16 = 4191;
/// A failed check costs some 50 µs, and a pod's start waits for this.
const BACKOFF: Duration = Duration::from_millis(50);
/// The admin server is on this machine: it answers at once or hangs.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// A status line fits in here; the rest of an answer does not matter.
const STATUS_LINE_BYTES: usize = 64;
const DISABLED_VARIABLES: [&str; 2] = ["LINKERD_AWAIT_DISABLED", "LINKERD_DISABLED"];
/// What a supervisor sends to a container, passed on to the command.
const FORWARDED: [SignalKind; 6] = [
    SignalKind::terminate(),
    SignalKind::interrupt(),
    SignalKind::hangup(),
    SignalKind::quit(),
    SignalKind::user_defined1(),
    SignalKind::user_defined2(),
];

const FLAGS: &[Flag] = &[
    Flag::value("port").short('p'),
    Flag::value("backoff").short('b'),
    Flag::value("timeout").short('t'),
    Flag::bool("shutdown").short('S'),
    Flag::bool("verbose").short('v'),
];

#[derive(Debug, PartialEq, Eq)]
struct Options {
    admin: SocketAddr,
    backoff: Duration,
    timeout: Option<Duration>,
    shuts_down: bool,
    is_verbose: bool,
    command: Vec<String>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self, String> {
        let args = Arguments::parse(args, FLAGS)?;
        let port = args.get("port", |value| {
            value.parse().ok().filter(|port| *port != 0).ok_or_else(|| "is not a port (1 to 65535)".to_owned())
        })?;
        let options = Self {
            admin: (Ipv4Addr::LOCALHOST, port.unwrap_or(ADMIN_PORT)).into(),
            backoff: args.get("backoff", parse_duration)?.unwrap_or(BACKOFF),
            timeout: args.get("timeout", parse_duration)?,
            shuts_down: args.get_bool("shutdown")?.unwrap_or(false),
            is_verbose: args.get_bool("verbose")?.unwrap_or(false),
            command: args.rest,
        };
        if options.shuts_down && options.command.is_empty() {
            return Err("--shutdown: needs a command to wait for".to_owned());
        }
        Ok(options)
    }
}

/// Runs `await` with the arguments after the program's (and sub-command's) name.
///
/// The exit code is the command's; 0 without one; 64 for a bad command line; 69 when the proxy was not ready in time.
pub fn run(args: &[String]) -> ExitCode {
    let options = match Options::parse(args) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("await: {why}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let disabled = DISABLED_VARIABLES.into_iter().find(|name| env::var_os(name).is_some_and(|value| !value.is_empty()));
    if let Some(name) = disabled {
        eprintln!("await: not waiting for the proxy: {name} is set");
    } else if !wait_until_ready(&options) {
        let seconds = options.timeout.unwrap_or_default().as_secs_f32();
        eprintln!("await: the proxy at {} was not ready within {seconds} s", options.admin);
        return ExitCode::from(EXIT_UNAVAILABLE);
    }
    let Some((program, args)) = options.command.split_first() else {
        return ExitCode::SUCCESS;
    };
    let mut command = Command::new(program);
    command.args(args);
    if !options.shuts_down {
        return cannot_run(program, &command.exec());
    }
    let code = run_child(program, command);
    if disabled.is_none()
        && let Err(error) = request(options.admin, "POST", "/shutdown")
    {
        eprintln!("await: shut the proxy down: {error}");
    }
    code
}

/// False when the timeout came first.
fn wait_until_ready(options: &Options) -> bool {
    let start = Instant::now();
    loop {
        match request(options.admin, "GET", "/ready") {
            Ok(200) => return true,
            Ok(status) if options.is_verbose => eprintln!("await: not ready: status {status}"),
            Err(error) if options.is_verbose => eprintln!("await: not ready: {error}"),
            _ => {}
        }
        if options.timeout.is_some_and(|timeout| start.elapsed() + options.backoff > timeout) {
            return false;
        }
        thread::sleep(options.backoff);
    }
}

/// One request to the admin server; the status of the answer.
fn request(admin: SocketAddr, method: &str, path: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&admin, REQUEST_TIMEOUT)?;
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    let host = format!("localhost:{}", admin.port());
    let text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(text.as_bytes())?;
    let mut answer = Vec::with_capacity(STATUS_LINE_BYTES);
    let mut limited = stream.take(STATUS_LINE_BYTES as u64);
    while !answer.contains(&b'\n') && io::copy(&mut (&mut limited).take(1), &mut answer)? > 0 {}
    let line = String::from_utf8_lossy(&answer);
    let status = line.split(' ').nth(1).and_then(|status| status.trim().parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer"))
}

/// Runs the command as a child, passes signals on to it, and gives its exit code.
fn run_child(program: &str, mut command: Command) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return cannot_run(program, &error),
    };
    let outcome = runtime.block_on(async {
        // Before the child starts, so that no signal falls between.
        let mut child_ended = signal(SignalKind::child())?;
        let (sender, mut forwarded) = tokio::sync::mpsc::channel(FORWARDED.len());
        for kind in FORWARDED {
            let mut received = signal(kind)?;
            let sender = sender.clone();
            tokio::spawn(async move { while received.recv().await.is_some() && sender.send(kind).await.is_ok() {} });
        }
        let mut child = command.spawn()?;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok::<_, io::Error>(status);
            }
            tokio::select! {
                _ = child_ended.recv() => {}
                Some(kind) = forwarded.recv() => system::send_signal(&child, kind.as_raw_value())?,
            }
        }
    });
    match outcome {
        Ok(status) => {
            let code = status.code().or_else(|| status.signal().map(|signal| EXIT_SIGNAL + signal));
            ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
        }
        Err(error) => cannot_run(program, &error),
    }
}

fn cannot_run(program: &str, error: &io::Error) -> ExitCode {
    eprintln!("await: run {program}: {error}");
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { EXIT_NOT_FOUND } else { EXIT_CANNOT_RUN })
}

/// A number with a unit (`ms`, `s`, `m`, `h`), or several after each other; bare numbers are seconds.
fn parse_duration(value: &str) -> Result<Duration, String> {
    let error = || "is not a duration such as 500ms, 30s or 2m".to_owned();
    let mut total = Duration::ZERO;
    let mut rest = value.trim();
    if rest.is_empty() {
        return Err(error());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().map_err(|_| error())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit_ms = match &rest[..unit] {
            "ms" => 1,
            "" | "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(error()),
        };
        rest = &rest[unit..];
        let part = Duration::from_millis(number.checked_mul(unit_ms).ok_or_else(error)?);
        total = total.checked_add(part).ok_or_else(error)?;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn reads_flags_and_the_command_behind_them() {
        let options = parse("--timeout=2m --port=4191 -S -- sh -c x").unwrap();
        assert_eq!(options.timeout, Some(Duration::from_secs(120)));
        assert_eq!((options.admin.port(), options.shuts_down), (4191, true));
        assert_eq!(options.command, ["sh", "-c", "x"]);
        assert_eq!(parse("sh -t 1").unwrap().command, ["sh", "-t", "1"]);
    }

    #[test]
    fn names_what_is_wrong() {
        assert_eq!(parse("--shutdown").unwrap_err(), "--shutdown: needs a command to wait for");
        assert_eq!(parse("-p 0").unwrap_err(), "--port: \"0\" is not a port (1 to 65535)");
        for value in ["", "x", "1d", "99999999999999999999s", "18446744073709551615h"] {
            assert!(parse_duration(value).is_err(), "{value}");
        }
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
    }
}
