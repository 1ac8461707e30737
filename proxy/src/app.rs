//! The proxy as a process: a certificate first, then the listeners, then traffic until it is told to stop.

use crate::BoxError;
use crate::admin::Admin;
use crate::config::{Certifier, Config};
use crate::control::Control;
use crate::control::client::{Client, Connector};
use crate::control::identity::{Identity, KeyAndRequest, Renewal};
use crate::control::spire::Spire;
use crate::dns::Resolver;
use crate::drain;
use crate::metrics::{Registry, process};
use crate::tls::Trust;
use crate::workers;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// sysexits.h: the configuration is wrong; the operating system failed us.
const EXIT_USAGE: u8 = 64;
const EXIT_OS: u8 = 71;

/// Runs the proxy until it is told to stop.
pub fn run() -> ExitCode {
    let config = match Config::from_env() {
        Ok(config) => Arc::new(config),
        Err(problems) => {
            eprintln!("invalid configuration:\n{problems}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    crate::logging::start(&config.log);
    crate::system::raise_open_files_limit();
    crate::dial::set_mark(config.mark);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(BoxError::from).and_then(|runtime| runtime.block_on(serve(config)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!(target: "app", "{error}");
            ExitCode::from(EXIT_OS)
        }
    }
}

async fn serve(config: Arc<Config>) -> Result<(), BoxError> {
    let metrics = Registry::new(config.metrics_retain_idle);
    process::register(&metrics);
    let admin = Admin::new(config.clone(), metrics.clone());
    let listener = TcpListener::bind(config.admin.listen)
        .await
        .map_err(|e| format!("listen on {} for the admin server: {e}", config.admin.listen))?;
    log::info!(target: "app", "Admin interface on {}", listener.local_addr()?);
    tokio::spawn(admin.clone().serve(listener));

    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (drain, watch) = drain::channel();
    let started = start(config.clone(), metrics, admin.clone(), watch);
    tokio::pin!(started);
    let mut is_started = false;
    loop {
        tokio::select! {
            result = &mut started, if !is_started => {
                result?;
                is_started = true;
                crate::system::release_start_pages();
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = admin.shutdown_requested() => break,
        }
    }
    log::info!(target: "app", "shutting down");
    if !is_started {
        return Ok(());
    }
    if !drain.drain(config.shutdown_grace_period).await {
        log::warn!(target: "app", "ended connections that were still open after {:?}", config.shutdown_grace_period);
    }
    Ok(())
}

/// Becomes somebody, then takes traffic.
async fn start(config: Arc<Config>, metrics: Registry, admin: Admin, drain: drain::Watch) -> Result<(), BoxError> {
    let trust = Arc::new(Trust::new(&config.identity.trust_anchors_pem)?);
    let (identity, publisher) = Identity::new(&config.identity);
    let connector = Connector {
        settings: Arc::new(config.control.clone()),
        resolver: Resolver::default(),
        dns: config.dns,
        registry: metrics.clone(),
        trust: trust.clone(),
        identity: identity.clone(),
    };
    let (local_id, metrics_of) = (identity.local_id().clone(), metrics.clone());
    match config.identity.certifier.clone() {
        Certifier::Service(service) => {
            let renewal = Renewal {
                client: Client::new("identity", service.addr.clone(), connector.clone()),
                pair: KeyAndRequest::load_or_make(local_id.as_str(), &service.dir)?,
                config: service,
                local_id,
                trust,
                publisher,
                metrics: metrics_of,
            };
            tokio::spawn(renewal.run());
        }
        Certifier::Spire(config) => {
            tokio::spawn(Spire { config, local_id, trust, publisher, metrics: metrics_of }.run());
        }
    }
    identity.ready().await;
    log::info!(target: "app", "Certified identity {}", identity.local_id());

    let control = Control::new(config.clone(), connector);
    control.watch_eager_ports();
    admin.join_mesh(identity.clone(), &control);
    workers::start(&config, &control, &identity, &metrics, drain)?;
    admin.set_ready();
    Ok(())
}
