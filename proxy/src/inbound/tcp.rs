//! Connections that pass as bytes: allowed when they come, allowed again whenever the policy changes, cut when not.

use super::{app::App, client::Client, context::Worker, metrics::Events};
use crate::transport::{Stream, copy};
use std::{io, sync::Arc};

/// Carries a connection to the application.
pub async fn forward(worker: &Worker, app: &Arc<App>, stream: Stream, client: Client) -> io::Result<()> {
    forward_to(worker, app, stream, client, async |mut stream| {
        let mut server = app.connector.connect(None).await?;
        // Whoever closes or breaks off, both sides see it by what is closed here.
        copy::copy_streams(&mut stream, &mut server).await
    })
    .await
}

/// Gives a connection to `carry` once the policy allows it, and for as long as it does.
pub async fn forward_to(
    worker: &Worker,
    app: &Arc<App>,
    mut stream: Stream,
    client: Client,
    carry: impl AsyncFnOnce(Stream) -> io::Result<()>,
) -> io::Result<()> {
    let registry = &worker.context.metrics;
    stream.set_sensor(app.class(&client.tls).transport.open());
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
    drop(policy);
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
        carried = carry(stream) => carried,
        () = forbidden => Err(io::ErrorKind::PermissionDenied.into()),
    }
}
