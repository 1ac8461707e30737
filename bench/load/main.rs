//! Servers and load for the benchmark. The answers are lines of JSON on stdout.
//!
//!   tulle-load serve PORT...                             HTTP/1.1 on each PORT, HTTP/2 and gRPC on the next, echo on the one after
//!   tulle-load run KIND ADDR CONCURRENCY SECONDS         closed loop: as many requests as CONCURRENCY in flight, always
//!   tulle-load pace ADDR CONNECTIONS PER_SECOND SECONDS  open loop over HTTP/1.1: requests start on time, whatever the answers do
//!
//! `run` and `pace` first warm up, say `{"warm":true}`, and wait for a line on stdin, so that CPU time can be read in between.
//! They keep their connections until stdin ends.

mod closed_loop;
mod exchange;
mod open_loop;
mod serve;
mod tally;

use std::{env, error::Error, process::ExitCode, time::Duration};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tulle-load {}: {error}", args.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<(), Box<dyn Error>> {
    let seconds = |text: &str| -> Result<Duration, Box<dyn Error>> { Ok(Duration::try_from_secs_f64(text.parse()?)?) };
    match args {
        ["serve", ports @ ..] => {
            let ports = ports.iter().map(|port| port.parse()).collect::<Result<Vec<u16>, _>>()?;
            runtime()?.block_on(serve::serve(&ports))?;
        }
        ["run", kind, addr, concurrency, duration] => {
            let (addr, concurrency) = (addr.parse()?, concurrency.parse()?);
            runtime()?.block_on(closed_loop::run(kind, addr, concurrency, seconds(duration)?))?;
        }
        ["pace", addr, connections, rate, duration] => {
            open_loop::run(addr.parse()?, connections.parse()?, rate.parse()?, seconds(duration)?)?;
        }
        _ => {
            return Err(
                "usage: serve PORT... | run KIND ADDR CONCURRENCY SECONDS | pace ADDR CONNECTIONS PER_SECOND SECONDS"
                    .into(),
            );
        }
    }
    Ok(())
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
