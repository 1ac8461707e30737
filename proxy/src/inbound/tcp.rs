//! Connections that pass as bytes: allowed when they come, allowed again whenever the policy changes, cut when not.

use super::{app::App, client::Client, context::Worker, metrics::Events};
use crate::{
    drain,
    transport::{Stream, copy},
};
use std::{io, sync::Arc};

pub async fn forward(
    worker: &Worker,
    app: &Arc<App>,
    mut stream: Stream,
    client: Client,
    _drain: drain::Watch,
) -> io::Result<()> {
    let registry = &worker.context.metrics;
    let mut changes = app.policy.clone();
    let policy = changes.borrow_and_update().clone();
    let events = Events { registry, addr: app.addr, policy: &policy };
    match policy.check(client.addr.ip(), client.tls()) {
        Some(authz) => events.tcp_allowed(&client, authz),
        None => {
            events.tcp_denied(&client);
            return Err(io::ErrorKind::PermissionDenied.into());
        }
    }
    let mut server = app.connector.connect(None).await?;
    let forbidden = async {
        loop {
            if changes.changed().await.is_err() {
                // No more changes can come.
                std::future::pending::<()>().await;
            }
            let policy = changes.borrow_and_update().clone();
            if policy.check(client.addr.ip(), client.tls()).is_none() {
                Events { registry, addr: app.addr, policy: &policy }.tcp_terminated(&client);
                return;
            }
        }
    };
    tokio::select! {
        // Whoever closes or breaks off, both sides see it by what is closed here.
        _ = copy::copy_streams(&mut stream, &mut server) => Ok(()),
        () = forbidden => Err(io::ErrorKind::PermissionDenied.into()),
    }
}
