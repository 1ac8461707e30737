//! The open loop: each connection has a thread and a schedule. A request that must wait for the one before it counts from
//! when it was due, so that a stall shows in every request that it delayed; a timer that wakes late does not count.

use crate::{
    exchange::{self, Result},
    tally::{self, Tally},
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

const WARM_UP: Duration = Duration::from_millis(500);
const ANSWER_BYTES_MAX: usize = 4096;

pub fn run(addr: SocketAddr, connections: u32, rate: u32, duration: Duration) -> Result<()> {
    let streams = (0..connections).map(|_| TcpStream::connect(addr)).collect::<std::io::Result<Vec<_>>>()?;
    for stream in &streams {
        stream.set_nodelay(true)?;
    }
    drive(&streams, rate, WARM_UP);
    tally::wait_for_go()?;
    let start = Instant::now();
    let tally = drive(&streams, rate, duration);
    tally.print(start.elapsed());
    tally::wait_for_end()?;
    Ok(())
}

fn drive(streams: &[TcpStream], rate: u32, duration: Duration) -> Tally {
    let start = Instant::now();
    let period = Duration::from_secs(1) * streams.len() as u32 / rate;
    let mut total = Tally::default();
    thread::scope(|scope| {
        let threads: Vec<_> = streams
            .iter()
            .enumerate()
            .map(|(at, stream)| {
                let first = start + period * at as u32 / streams.len() as u32;
                scope.spawn(move || pace(stream, first, period, start + duration))
            })
            .collect();
        for thread in threads {
            total.merge(thread.join().expect("the loop does not panic"));
        }
    });
    total
}

fn pace(mut stream: &TcpStream, first: Instant, period: Duration, end: Instant) -> Tally {
    let request = exchange::request_text();
    let mut tally = Tally::default();
    let mut due = first;
    while due < end {
        let wait = due.saturating_duration_since(Instant::now());
        thread::sleep(wait);
        let from = if wait.is_zero() { due } else { Instant::now() };
        if let Err(error) = stream.write_all(&request).map_err(Into::into).and_then(|()| receive(stream)) {
            tally.fail(&error);
            break;
        }
        tally.count(from.elapsed());
        due += period;
    }
    tally
}

fn receive(mut stream: &TcpStream) -> Result<()> {
    let mut buffer = [0; ANSWER_BYTES_MAX];
    let mut length = 0;
    while exchange::answer_bytes(&buffer[..length])?.is_none() {
        match stream.read(&mut buffer[length..])? {
            0 => return Err("the connection ended before the answer did".into()),
            count => length += count,
        }
    }
    Ok(())
}
