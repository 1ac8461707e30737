//! The threads of the data path. Each has a runtime, listeners and connections of its own; the first is the thread
//! that calls. What holds for the proxy as a whole is in the contexts that they share.

use crate::{
    BoxError,
    config::Config,
    control::{Control, identity::Identity},
    drain, inbound,
    metrics::Registry,
    outbound,
    transport::listen,
};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::net::TcpListener;

/// What every worker works with.
#[derive(Clone)]
struct Shared {
    inbound: Arc<inbound::Context>,
    outbound: Arc<outbound::Context>,
    drain: drain::Watch,
}

/// Begins to take traffic. All listeners are bound when this returns.
pub fn start(
    config: &Arc<Config>,
    control: &Control,
    identity: &Identity,
    metrics: &Registry,
    drain: drain::Watch,
) -> Result<(), BoxError> {
    let outbound = outbound::Context::new(config.clone(), control.clone(), identity.clone(), metrics.clone());
    let shared = Shared { inbound: inbound::Context::new(&outbound), outbound, drain };
    shared.clone().serve()?;
    for addr in &config.inbound.common.listen {
        log::info!(target: "app", "Inbound interface on {addr}");
    }
    for addr in &config.outbound.common.listen {
        log::info!(target: "app", "Outbound interface on {addr}");
    }
    for number in 1..config.cores.workers {
        start_thread(number, shared.clone())?;
    }
    Ok(())
}

fn start_thread(number: usize, shared: Shared) -> Result<(), BoxError> {
    let (started, outcome) = std::sync::mpsc::sync_channel(1);
    std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(started.send(Err(error.into()))),
        };
        runtime.block_on(async {
            let _ = started.send(shared.serve());
            // The connections of this thread go on until the process ends, which waits for them.
            std::future::pending::<()>().await;
        });
    })?;
    outcome.recv()?
}

impl Shared {
    /// Binds and serves on the runtime that calls.
    fn serve(self) -> Result<(), BoxError> {
        let config = self.inbound.config.clone();
        for addr in &config.inbound.common.listen {
            let listener = bind(*addr, config.inbound.common.accept.backlog)?;
            tokio::spawn(inbound::serve(listener, self.inbound.clone(), self.drain.clone()));
        }
        for addr in &config.outbound.common.listen {
            match bind(*addr, config.outbound.common.accept.backlog) {
                Ok(listener) => {
                    tokio::spawn(outbound::serve(listener, self.outbound.clone(), self.drain.clone()));
                }
                // A machine without IPv6 has no [::1].
                Err(Bind { error, .. }) if addr.is_ipv6() && error.kind() == io::ErrorKind::AddrNotAvailable => {
                    log::warn!(target: "app", "Outbound interface not on {addr}: {error}");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Bind {
    addr: SocketAddr,
    error: io::Error,
}

fn bind(addr: SocketAddr, backlog: Option<u32>) -> Result<TcpListener, Bind> {
    listen::bind(addr, backlog).map_err(|error| Bind { addr, error })
}

impl std::fmt::Display for Bind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "listen on {}: {}", self.addr, self.error)
    }
}

impl std::error::Error for Bind {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
