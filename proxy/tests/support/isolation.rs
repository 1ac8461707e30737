//! Runs a test again as a child process in fresh namespaces, where it may make networks, and all of it vanishes with it.

use std::{
    env,
    future::Future,
    process::{Command, Stdio},
};

const INSIDE: &str = "TULLE_TEST_ISOLATED";

/// Runs `body` in a network namespace of its own (and a user namespace when not root). Says why when it cannot, and passes.
#[macro_export]
macro_rules! isolated {
    ($body:expr) => {{
        fn here() {}
        $crate::support::isolation::run(std::any::type_name_of_val(&here), $body)
    }};
}

/// `name` is the path of a function inside the test: `proxy::init::redirects::here`.
pub fn run<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F) {
    if env::var_os(INSIDE).is_some() {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(body());
        return;
    }
    let unshare = unshare_flags();
    if let Err(why) = &unshare {
        eprintln!("skipped: {why}");
        return;
    }
    let test = name.split_once("::").unwrap().1.trim_end_matches("::here");
    let output = Command::new("unshare")
        .args(unshare.unwrap())
        .args(["--kill-child", "--fork"])
        .arg(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{test} in its namespaces:\n{text}");
}

fn unshare_flags() -> Result<&'static [&'static str], String> {
    let mut why = String::new();
    for flags in [&["--net", "--pid"][..], &["--user", "--map-root-user", "--net", "--pid"]] {
        match Command::new("unshare").args(flags).args(["--fork", "nft", "list", "ruleset"]).output() {
            Ok(output) if output.status.success() => return Ok(flags),
            Ok(output) => why = String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => why = error.to_string(),
        }
    }
    Err(format!("no network namespace with nftables can be made here: {}", why.trim()))
}

/// Whether more users than one exist here, so that a process can be the proxy's by its user.
pub fn has_users() -> bool {
    !std::fs::read_to_string("/proc/self/uid_map").unwrap().trim().ends_with(" 1")
}
