//! What a run counted, and its one line of JSON.

use std::{
    io::{self, Write},
    time::Duration,
};

#[derive(Default)]
pub struct Tally {
    latencies_ns: Vec<u64>,
    errors: Vec<String>,
}

impl Tally {
    pub fn count(&mut self, latency: Duration) {
        self.latencies_ns.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub fn fail(&mut self, error: &dyn std::fmt::Display) {
        self.errors.push(error.to_string());
    }

    pub fn merge(&mut self, other: Self) {
        self.latencies_ns.extend(other.latencies_ns);
        self.errors.extend(other.errors);
    }

    pub fn print(mut self, elapsed: Duration) {
        self.latencies_ns.sort_unstable();
        let quantile = |share: f64| {
            let at = (self.latencies_ns.len() as f64 * share) as usize;
            let ns = self.latencies_ns.get(at.min(self.latencies_ns.len().saturating_sub(1)));
            ns.map_or(0.0, |ns| *ns as f64 / 1000.0)
        };
        let first_error = self.errors.first().map_or(String::new(), |error| error.replace(['"', '\\', '\n'], "'"));
        println!(
            "{{\"requests\":{},\"errors\":{},\"firstError\":\"{first_error}\",\"seconds\":{:.6},\
             \"latencyUs\":{{\"p50\":{:.1},\"p90\":{:.1},\"p99\":{:.1}}}}}",
            self.latencies_ns.len(),
            self.errors.len(),
            elapsed.as_secs_f64(),
            quantile(0.5),
            quantile(0.9),
            quantile(0.99),
        );
    }
}

/// Says that the load is warm and waits for the word to go on.
pub fn wait_for_go() -> io::Result<()> {
    println!("{{\"warm\":true}}");
    io::stdout().flush()?;
    let mut line = String::new();
    io::stdin().read_line(&mut line).map(drop)
}

/// Waits until nobody needs the connections any more.
pub fn wait_for_end() -> io::Result<()> {
    io::stdout().flush()?;
    io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
}
