//! A Service that grows and shrinks under load: what is asked meanwhile is answered, and nothing waits for pods that go.

use crate::{
    isolated,
    mesh::{BOT, WEB, meshed_endpoint},
    support::{
        control_plane::ControlPlane,
        network::{Network, Pod},
        policy,
        proxy::Proxy,
    },
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use linkerd2_proxy_api::destination as dst;
use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

const PORT: u16 = 8080;
const SERVICE: &str = "10.96.0.1:80";
const PATH: &str = "web.test.svc.cluster.local:80";
const CONNECTIONS: usize = 8;
/// The slowest answer on a busy machine; whatever waits for a pod that goes waits for seconds.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// A pod with a proxy, whose application drains when it is told to.
struct Replica {
    addr: SocketAddr,
    proxy: Proxy,
    leave: watch::Sender<bool>,
}

#[derive(Default)]
struct Load {
    answered: AtomicU64,
    slowest_ms: AtomicU64,
    is_over: AtomicBool,
}

async fn replica(network: &mut Network, control: &ControlPlane) -> Replica {
    let pod = network.add_pod().await;
    let addr = SocketAddr::new(pod.v4.into(), PORT);
    let (leave, leaving) = watch::channel(false);
    pod.start(move |up| async move {
        let listener = TcpListener::bind(addr).await.unwrap();
        let _ = up.send(());
        let mut closing = leaving.clone();
        loop {
            let stream = tokio::select! {
                Ok((stream, _)) = listener.accept() => stream,
                Ok(_) = closing.wait_for(|leaves| *leaves) => break,
            };
            tokio::spawn(serve(stream, leaving.clone()));
        }
        drop(listener);
        std::future::pending().await
    })
    .await;
    let proxy = Proxy::start(&pod, control, WEB, &[]).await;
    Replica { addr, proxy, leave }
}

async fn serve(stream: TcpStream, mut leaving: watch::Receiver<bool>) {
    let answer = service_fn(|_: Request<hyper::body::Incoming>| async {
        tokio::time::sleep(Duration::from_millis(2)).await;
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"answer"))))
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        Ok(_) = leaving.wait_for(|leaves| *leaves) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// Asks on eight connections until it is over.
async fn ask(client: Pod, load: Arc<Load>) {
    let asking = (0..CONNECTIONS).map(|_| {
        let (client, load) = (client.clone(), load.clone());
        tokio::spawn(async move { client.run(move || ask_on_one(load)).await })
    });
    for each in asking.collect::<Vec<_>>() {
        each.await.unwrap();
    }
}

async fn ask_on_one(load: Arc<Load>) {
    let stream = TokioIo::new(TcpStream::connect(SERVICE).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    while !load.is_over.load(Relaxed) {
        let started = Instant::now();
        sender.ready().await.unwrap();
        let request = Request::get("/").header("host", "web").body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{:?}", response.headers());
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "answer");
        load.slowest_ms.fetch_max(started.elapsed().as_millis() as u64, Relaxed);
        load.answered.fetch_add(1, Relaxed);
    }
}

#[test]
fn scaling_up_and_down_under_load_delays_no_request() {
    isolated!(|| async {
        let mut network = Network::new();
        let control = ControlPlane::start().await;
        control.set_policy(SERVICE.parse().unwrap(), Ok(policy::balanced(PATH)));
        let client = network.add_pod().await;
        let mut outbound = Proxy::start(&client, &control, BOT, &[]).await;
        let mut replicas = vec![replica(&mut network, &control).await, replica(&mut network, &control).await];
        let set = |replicas: &[Replica]| {
            let endpoint = |replica: &Replica| {
                let hint = dst::protocol_hint::Protocol::H2(dst::protocol_hint::H2 {});
                meshed_endpoint(replica.addr, Some(hint), false)
            };
            control.set_endpoints(PATH, replicas.iter().map(endpoint).collect());
        };
        set(&replicas);
        let load = Arc::new(Load::default());
        let asking = tokio::spawn(ask(client, load.clone()));
        let some_more = async |outbound: &mut Proxy| {
            let before = load.answered.load(Relaxed);
            outbound.wait_for("answers", async |_| load.answered.load(Relaxed) > before + 300).await;
        };
        for _ in 0..3 {
            replicas.push(replica(&mut network, &control).await);
        }
        set(&replicas);
        for replica in &mut replicas {
            replica.proxy.wait_for("requests", async |p| p.metric("response_total", &[]).await > Some(10.0)).await;
        }
        // As in a cluster: out of the Service, then the application drains, then its proxy does, then the pod is gone.
        let mut gone = replicas.split_off(2);
        set(&replicas);
        some_more(&mut outbound).await;
        for replica in &gone {
            replica.leave.send_replace(true);
        }
        some_more(&mut outbound).await;
        for replica in &mut gone {
            replica.proxy.terminate();
            assert!(replica.proxy.ended().await.success());
        }
        drop(gone);
        some_more(&mut outbound).await;
        load.is_over.store(true, Relaxed);
        asking.await.unwrap();
        let slowest = Duration::from_millis(load.slowest_ms.load(Relaxed));
        assert!(slowest < ANSWER_MAX, "{slowest:?} for one answer");
    });
}
