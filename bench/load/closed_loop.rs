//! The closed loop: every worker sends its next request when the answer to the last has come.

use crate::{
    exchange::{Echo, Exchange, Http1, Http2, Result},
    tally::{self, Tally},
};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    task::{JoinSet, LocalSet},
    time::Instant,
};

/// Long enough for handshakes, discovery and the caches of everything in between.
const WARM_UP: Duration = Duration::from_millis(300);

/// `concurrency` connections with one request in flight each; for gRPC, as many streams on one connection.
pub async fn run(kind: &str, addr: SocketAddr, concurrency: usize, duration: Duration) -> Result<()> {
    let local = LocalSet::new();
    local
        .run_until(async {
            match kind {
                "http1" => {
                    let mut workers = Vec::new();
                    for _ in 0..concurrency {
                        workers.push(Http1::open(addr).await?);
                    }
                    measure(workers, duration).await
                }
                "http2" => {
                    let mut workers = Vec::new();
                    for _ in 0..concurrency {
                        workers.push(Http2::open(addr, false).await?);
                    }
                    measure(workers, duration).await
                }
                "grpc" => measure(vec![Http2::open(addr, true).await?; concurrency], duration).await,
                "echo" => {
                    let mut workers = Vec::new();
                    for _ in 0..concurrency {
                        workers.push(Echo::open(addr).await?);
                    }
                    measure(workers, duration).await
                }
                _ => Err(format!("{kind}: not http1, http2, grpc or echo").into()),
            }
        })
        .await
}

async fn measure<E: Exchange + 'static>(workers: Vec<E>, duration: Duration) -> Result<()> {
    let (workers, _) = drive(workers, WARM_UP).await;
    tally::wait_for_go()?;
    let start = Instant::now();
    let (_workers, tally) = drive(workers, duration).await;
    tally.print(start.elapsed());
    tally::wait_for_end()?;
    Ok(())
}

/// Lets all workers run for a while, and gives them back.
async fn drive<E: Exchange + 'static>(workers: Vec<E>, duration: Duration) -> (Vec<E>, Tally) {
    let end = Instant::now() + duration;
    let mut running = JoinSet::new();
    for mut worker in workers {
        running.spawn_local(async move {
            let mut tally = Tally::default();
            let mut start = Instant::now();
            while start < end {
                if let Err(error) = worker.once().await {
                    tally.fail(&error);
                    break;
                }
                let now = Instant::now();
                tally.count(now - start);
                start = now;
            }
            (worker, tally)
        });
    }
    let mut total = Tally::default();
    let mut workers = Vec::new();
    while let Some(Ok((worker, tally))) = running.join_next().await {
        total.merge(tally);
        workers.push(worker);
    }
    (workers, total)
}
