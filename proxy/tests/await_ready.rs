//! `await` in front of an admin server that the test plays.

use crate::support::proxy::BINARY;
use std::{
    io::{Read, Write},
    net::TcpListener,
    process::{Command, Output},
    sync::mpsc,
    thread,
};

/// Answers each request line by `answer`, and tells the lines.
fn start_admin(answer: fn(&str, u32) -> u16) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for (count, stream) in (1..).zip(listener.incoming()) {
            let mut stream = stream.unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            let line = String::from_utf8_lossy(&request[..length]).lines().next().unwrap_or_default().to_owned();
            let _ = write!(stream, "HTTP/1.1 {} Whatever\r\nContent-Length: 0\r\n\r\n", answer(&line, count));
            let _ = sender.send(line);
        }
    });
    (port, lines)
}

fn await_ready(args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(BINARY).arg("await").args(args).envs(env.iter().copied()).output().unwrap()
}

#[test]
fn waits_until_ready_and_becomes_the_command() {
    let (port, lines) = start_admin(|_, count| if count < 3 { 503 } else { 200 });
    let port = format!("--port={port}");
    let output = await_ready(&["--timeout=20s", "--backoff=5ms", &port, "--", "sh", "-c", "echo done; exit 7"], &[]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(7), &b"done\n"[..]));
    assert_eq!(lines.iter().take(3).collect::<Vec<_>>(), ["GET /ready HTTP/1.1"; 3]);
}

#[test]
fn gives_up_after_the_timeout() {
    let (port, _lines) = start_admin(|_, _| 503);
    let output = await_ready(&["-t", "30ms", "-b", "5ms", "-p", &port.to_string()], &[]);
    assert_eq!(output.status.code(), Some(69));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains(&format!("127.0.0.1:{port} was not ready within 0.03 s")), "{stderr}");
}

#[test]
fn asks_the_proxy_to_stop_when_the_command_has_ended() {
    let (port, lines) = start_admin(|_, _| 200);
    let port = port.to_string();
    let output = await_ready(&["-p", &port, "--shutdown", "sh", "-c", "kill -TERM $$"], &[]);
    assert_eq!(output.status.code(), Some(128 + 15));
    assert_eq!(lines.iter().take(2).collect::<Vec<_>>(), ["GET /ready HTTP/1.1", "POST /shutdown HTTP/1.1"]);
}

#[test]
fn passes_signals_on_to_the_command() {
    let (port, _lines) = start_admin(|_, _| 200);
    let mut child = Command::new(BINARY)
        .args(["await", "-p", &port.to_string(), "-S", "--", "sh", "-c"])
        .arg("trap 'echo told; exit 3' TERM; echo up; while :; do sleep 0.05; done")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut up = [0; 3];
    stdout.read_exact(&mut up).unwrap();
    // The shell's own: a small machine has no program of that name.
    Command::new("sh").args(["-c", &format!("kill {}", child.id())]).status().unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!((rest.as_str(), child.wait().unwrap().code()), ("told\n", Some(3)));
}

#[test]
fn does_not_wait_when_it_is_switched_off() {
    for name in ["LINKERD_AWAIT_DISABLED", "LINKERD_DISABLED"] {
        // Nothing listens there.
        let output = await_ready(&["-p", "1", "-t", "20s", "true"], &[(name, "not meshed")]);
        assert_eq!(output.status.code(), Some(0), "{name}");
    }
    assert_eq!(await_ready(&["--shutdown"], &[]).status.code(), Some(64));
    let missing = await_ready(&["no-such-program-there"], &[("LINKERD_DISABLED", "1")]);
    assert_eq!(missing.status.code(), Some(127));
}
