//! Entry of the proxy: one binary, whose name or first argument says which of its programs runs.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let mut args = env::args();
    let name = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    match (name.rsplit('/').next(), rest.first().map(String::as_str)) {
        (Some("linkerd2-proxy-init"), _) => tulle_proxy::init::run(&rest),
        (Some("linkerd-await"), _) => tulle_proxy::await_ready::run(&rest),
        (_, Some("init")) => tulle_proxy::init::run(&rest[1..]),
        (_, Some("await")) => tulle_proxy::await_ready::run(&rest[1..]),
        (_, Some("--version" | "version")) => {
            println!("tulle-proxy {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        _ => tulle_proxy::app::run(),
    }
}
