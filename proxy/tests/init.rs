//! `init` in network namespaces: the rules that the kernel holds, and where connections go.

use crate::{
    isolated,
    support::network::{Network, Pod},
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    os::unix::process::CommandExt,
    process::{Command, Output},
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};

const BINARY: &str = env!("CARGO_BIN_EXE_tulle-proxy");
const PROXY_UID: u32 = 2102;

fn init(args: &str) -> Output {
    let base = ["init", "--incoming-proxy-port", "4143", "--outgoing-proxy-port", "4140"];
    Command::new(BINARY).args(base).args(args.split_whitespace()).output().unwrap()
}

fn init_ok(args: &str) {
    let output = init(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn nft(args: &[&str]) -> String {
    let output = Command::new("nft").args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The rules as nft's JSON has them: chain, expressions and comment, in order, without handles.
fn rules(family: &str) -> Vec<Value> {
    let ruleset: Value = serde_json::from_str(&nft(&["-j", "list", "ruleset"])).unwrap();
    let rules = ruleset["nftables"].as_array().unwrap().iter().filter_map(|item| item.get("rule"));
    rules
        .filter(|rule| rule["family"] == family)
        .map(|rule| serde_json::json!([rule["chain"], rule["expr"], rule["comment"]]))
        .collect()
}

const FULL: &str = "--proxy-uid 2102 --proxy-gid 2103 --proxy-mark 0x7e --inbound-ports-to-ignore 4190,4191,25,4567-4600 \
                    --outbound-ports-to-ignore 443,6443 --subnets-to-ignore 10.64.0.0/10,fd00:1::/33 --ipv6";

#[test]
fn writes_the_rules_that_nft_reads_back() {
    isolated!(|| async {
        init_ok(FULL);
        // Without /etc/protocols nft shows numbers.
        let first = nft(&["list", "ruleset"]).replace("meta l4proto 6 ", "meta l4proto tcp ");
        let [v4, v6] = [rules("ip"), rules("ip6")];
        // nft itself, fed with what --simulate prints, makes the same rules.
        let text = String::from_utf8(init(&format!("{FULL} --simulate")).stdout).unwrap();
        assert_eq!(text.trim(), first.trim());
        nft(&["flush", "ruleset"]);
        nft(&[&text]);
        assert_eq!((rules("ip"), rules("ip6")), (v4.clone(), v6));
        let compare =
            |left: Value, right: Value| serde_json::json!({"match": {"op": "==", "left": left, "right": right}});
        let port = serde_json::json!({"payload": {"protocol": "tcp", "field": "dport"}});
        let expected = [
            ("prerouting", compare(port.clone(), 25.into()), serde_json::json!({"return": null})),
            (
                "prerouting",
                compare(port.clone(), serde_json::json!({"range": [4190, 4191]})),
                serde_json::json!({"return": null}),
            ),
        ];
        for (rule, (chain, condition, verdict)) in v4.iter().zip(expected) {
            assert_eq!(*rule, serde_json::json!([chain, [condition, verdict], "ignore port"]));
        }
        let redirects = v4.iter().filter_map(|rule| rule[1][1]["redirect"]["port"].as_u64());
        assert_eq!(redirects.collect::<Vec<_>>(), [4143, 4140]);
        assert_eq!(v4.len(), 12);
    });
}

#[test]
fn replaces_what_an_earlier_run_wrote() {
    isolated!(|| async {
        init_ok(FULL);
        let first = nft(&["list", "ruleset"]);
        init_ok(FULL);
        assert_eq!(nft(&["list", "ruleset"]), first);
        init_ok("--proxy-uid 2102 --ipv6=false");
        assert_eq!((rules("ip").len(), rules("ip6").len()), (4, 0));
    });
}

#[test]
fn leaves_everything_as_it_was_when_an_argument_is_wrong() {
    isolated!(|| async {
        init_ok(FULL);
        let before = nft(&["list", "ruleset"]);
        let output = init("--proxy-uid 2102 --inbound-ports-to-ignore 1,x");
        assert_eq!(output.status.code(), Some(64));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr, "init: --inbound-ports-to-ignore: \"x\" is not a port (1 to 65535)\n");
        assert_eq!(nft(&["list", "ruleset"]), before);
    });
}

#[test]
fn says_what_is_missing_without_privileges() {
    isolated!(|| async {
        if !crate::support::proxy::has_user() {
            return;
        }
        let args = ["init", "--incoming-proxy-port", "4143", "--outgoing-proxy-port", "4140"];
        let output = Command::new(BINARY).args(args).uid(PROXY_UID).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("capability NET_ADMIN"), "{stderr}");
    });
}

/// Listens in a pod and tells each peer, by closing after one line, which port it reached and which it meant.
async fn start_listener(pod: &Pod, port: u16) {
    pod.start(move |up| async move {
        let listener = TcpListener::bind(("::", port)).await.unwrap();
        up.send(()).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let socket = socket2::SockRef::from(&stream);
            let peer = stream.peer_addr().unwrap();
            let is_v4 = peer.ip().to_canonical().is_ipv4();
            let meant = if is_v4 { socket.original_dst_v4() } else { socket.original_dst_v6() };
            // Where nothing is tracked, nothing was redirected.
            let meant = meant.map_or_else(|_| stream.local_addr().unwrap(), |meant| meant.as_socket().unwrap());
            let line = format!("{port} {}", SocketAddr::new(meant.ip().to_canonical(), meant.port()));
            let _ = stream.writable().await;
            let _ = stream.try_write(line.as_bytes());
        }
    })
    .await;
}

/// What the listener at the other end says.
async fn ask(to: (IpAddr, u16)) -> io::Result<String> {
    use tokio::io::AsyncReadExt;
    let connected = tokio::time::timeout(Duration::from_secs(5), TcpStream::connect(to)).await?;
    let mut line = String::new();
    connected?.read_to_string(&mut line).await?;
    Ok(line)
}

#[test]
fn redirects_connections_that_come_in() {
    isolated!(|| async {
        let mut network = Network::new();
        let (pod, other) = (network.add_pod().await, network.add_pod().await);
        let ignored = format!("--proxy-uid 2102 --inbound-ports-to-ignore 81-82 --subnets-to-ignore {}/32", other.v4);
        pod.run(move || async move { init_ok(&ignored) }).await;
        for port in [80, 81, 4143] {
            start_listener(&pod, port).await;
        }
        for is_v6 in [false, true] {
            let ip = pod.ip(is_v6);
            let line = |port: u16, meant| format!("{port} {}", SocketAddr::new(ip, meant));
            assert_eq!(ask((ip, 80)).await.unwrap(), line(4143, 80), "redirected");
            assert_eq!(ask((ip, 81)).await.unwrap(), line(81, 81), "skipped by port");
            assert_eq!(ask((ip, 9999)).await.unwrap(), line(4143, 9999), "redirected whoever listens");
            let from_other = other.run(move || ask((ip, 80))).await.unwrap();
            assert_eq!(from_other, if is_v6 { line(4143, 80) } else { line(80, 80) }, "skipped by subnet");
        }
    });
}

#[test]
fn redirects_connections_that_go_out() {
    isolated!(|| async {
        let mut network = Network::new();
        let (pod, other) = (network.add_pod().await, network.add_pod().await);
        pod.run(|| async { init_ok("--proxy-uid 2102 --proxy-mark 7 --outbound-ports-to-ignore 81") }).await;
        for port in [80, 81] {
            start_listener(&other, port).await;
        }
        for port in [80, 4140] {
            start_listener(&pod, port).await;
        }
        for is_v6 in [false, true] {
            let (own, ip) = (pod.ip(is_v6), other.ip(is_v6));
            let answers = pod.run(move || async move {
                let mut answers = BTreeSet::new();
                answers.insert(("redirected", ask((ip, 80)).await.unwrap()));
                answers.insert(("skipped by port", ask((ip, 81)).await.unwrap()));
                answers.insert(("to itself", ask((own, 80)).await.unwrap()));
                answers.insert(("by mark", ask_marked((ip, 80).into(), 7).await.unwrap()));
                answers.insert(("by another mark", ask_marked((ip, 80).into(), 8).await.unwrap()));
                answers
            });
            let meant = |ip, port| SocketAddr::new(ip, port);
            let expected = BTreeSet::from([
                ("redirected", format!("4140 {}", meant(ip, 80))),
                ("skipped by port", format!("81 {}", meant(ip, 81))),
                ("to itself", format!("80 {}", meant(own, 80))),
                ("by mark", format!("80 {}", meant(ip, 80))),
                ("by another mark", format!("4140 {}", meant(ip, 80))),
            ]);
            assert_eq!(answers.await, expected);
        }
    });
}

async fn ask_marked(to: SocketAddr, mark: u32) -> io::Result<String> {
    use tokio::io::AsyncReadExt;
    let socket = if to.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
    socket2::SockRef::from(&socket).set_mark(mark)?;
    let mut line = String::new();
    socket.connect(to).await?.read_to_string(&mut line).await?;
    Ok(line)
}

#[test]
fn leaves_connections_of_the_proxys_user_alone() {
    isolated!(|| async {
        if !crate::support::isolation::has_users() {
            return eprintln!("skipped: this user namespace has one user");
        }
        let mut network = Network::new();
        let (pod, other) = (network.add_pod().await, network.add_pod().await);
        start_listener(&other, 80).await;
        start_listener(&pod, 4140).await;
        let ip = other.v4;
        let reached = pod.run(move || async move {
            init_ok("--proxy-uid 2102");
            let read = |uid| {
                let script = format!("exec 3<>/dev/tcp/{ip}/80; cat <&3");
                let output = Command::new("bash").args(["-c", &script]).uid(uid).output().unwrap();
                String::from_utf8(output.stdout).unwrap()
            };
            [read(PROXY_UID), read(PROXY_UID + 1)]
        });
        assert_eq!(reached.await, [format!("80 {ip}:80"), format!("4140 {ip}:80")]);
    });
}
