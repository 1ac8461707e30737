use super::*;
use std::{collections::HashMap, sync::Arc};
use tokio::net::TcpListener;

/// What a fake server knows: (name, type) to records as (type, ttl, data); a name not in it does not exist.
type Zone = HashMap<(&'static str, u16), Vec<(u16, u32, Vec<u8>)>>;

const A: u16 = RecordType::A as u16;
const SRV: u16 = RecordType::Srv as u16;

/// Answers over UDP (truncated when longer than 512 bytes) and TCP on one port; each UDP answer follows a forged one.
async fn start_server(zone: Zone) -> (u16, tokio::task::JoinSet<()>) {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let port = udp.local_addr().unwrap().port();
    let zone = Arc::new(zone);
    let mut tasks = tokio::task::JoinSet::new();
    let for_udp = zone.clone();
    tasks.spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = udp.recv_from(&mut buffer).await {
            let mut answer = answer(&for_udp, &buffer[..length]);
            if answer.len() > 512 {
                answer.truncate(length);
                answer[2] |= 0x02;
                answer[6..12].fill(0);
            }
            let mut forged = answer.clone();
            forged[0] ^= 0xff;
            udp.send_to(&forged, peer).await.unwrap();
            udp.send_to(&answer, peer).await.unwrap();
        }
    });
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut question).await.unwrap();
            let answer = answer(&zone, &question);
            stream.write_u16(answer.len() as u16).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    (port, tasks)
}

fn answer(zone: &Zone, question: &[u8]) -> Vec<u8> {
    let mut name = Vec::new();
    let mut at = 12;
    while question[at] != 0 {
        let end = at + 1 + usize::from(question[at]);
        name.push(std::str::from_utf8(&question[at + 1..end]).unwrap().to_owned());
        at = end;
    }
    let name = name.join(".");
    let asked = u16::from_be_bytes([question[at + 1], question[at + 2]]);
    let records = zone.iter().find(|((known, record_type), _)| *known == name && *record_type == asked);
    let exists = zone.keys().any(|(known, _)| *known == name);
    let mut out = question.to_vec();
    out[2..4].copy_from_slice(&[0x81, if exists { 0x80 } else { 0x83 }]);
    for (record_type, ttl, data) in records.map(|(_, records)| records).into_iter().flatten() {
        out[7] += 1;
        out.extend([0xc0, 12]);
        out.extend(record_type.to_be_bytes());
        out.extend([0, 1]);
        out.extend(ttl.to_be_bytes());
        out.extend((data.len() as u16).to_be_bytes());
        out.extend(data);
    }
    out
}

fn srv(port: u16, target: &str) -> Vec<u8> {
    let mut data = vec![0, 0, 0, 100];
    data.extend(port.to_be_bytes());
    target.split('.').for_each(|label| {
        data.push(label.len() as u8);
        data.extend(label.as_bytes());
    });
    data.push(0);
    data
}

fn resolver(name: &str, port: u16, resolv_conf: &str) -> (Resolver, PathBuf) {
    let dir = std::env::temp_dir().join(format!("tulle-dns-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("resolv.conf"), resolv_conf).unwrap();
    fs::write(dir.join("hosts"), "10.9.9.9 in-hosts\n").unwrap();
    let resolver =
        Resolver { resolv_conf: dir.join("resolv.conf"), hosts: dir.join("hosts"), port_override: Some(port) };
    (resolver, dir)
}

fn addrs(resolved: &Resolved) -> Vec<String> {
    resolved.addrs.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn follows_srv_and_falls_back_to_addresses() {
    let zone = Zone::from([
        (
            ("dst.l5d", SRV),
            vec![
                (SRV, 30, srv(8086, "10-42-0-7.dst.l5d")),
                (SRV, 5, srv(8086, "fd42--7.dst.l5d")),
                (SRV, 30, srv(8090, "10-42-0-8.dst.l5d")),
                (SRV, 30, srv(8086, "named.l5d")),
            ],
        ),
        (("named.l5d", A), vec![(A, 3, vec![10, 0, 0, 1])]),
        (("plain.l5d", A), vec![(A, 9, vec![10, 0, 0, 2]), (A, 8, vec![10, 0, 0, 3]), (A, 9, vec![10, 0, 0, 2])]),
    ]);
    let (port, _tasks) = start_server(zone).await;
    let (resolver, dir) = resolver("srv", port, "search l5d\nnameserver 127.0.0.1\noptions ndots:2\n");
    let found = resolver.resolve_srv_or_a("dst.l5d.", 8086).await.unwrap();
    assert_eq!(addrs(&found), ["10.42.0.7:8086", "[fd42::7]:8086", "10.0.0.1:8086"]);
    assert_eq!((found.ttl, found.source), (Duration::from_secs(3), Source::Services));
    let found = resolver.resolve_srv_or_a("plain", 80).await.unwrap();
    assert_eq!((addrs(&found), found.ttl), (vec!["10.0.0.2:80".into(), "10.0.0.3:80".into()], Duration::from_secs(8)));
    assert_eq!(found.source, Source::Addresses);
    assert_eq!(resolver.resolve_srv_or_a("none.l5d.", 80).await, Err(Error::NotFound("none.l5d.".into())));
    assert_eq!(resolver.resolve_srv_or_a("a..b", 80).await, Err(Error::BadName("a..b".into())));
    fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn asks_again_by_tcp_when_truncated_and_another_server_when_one_is_deaf() {
    let many = (0..60).map(|n| (A, 30, vec![10, 0, 0, n])).collect();
    let (port, _tasks) = start_server(Zone::from([(("many", A), many)])).await;
    // 127.0.0.2 has no listener on that port: the kernel says so at once.
    let (resolver, dir) = resolver("tcp", port, "nameserver 127.0.0.2\nnameserver 127.0.0.1\n");
    assert_eq!(resolver.resolve_srv_or_a("many.", 80).await.unwrap().addrs.len(), 60);
    fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn says_which_server_failed() {
    let (port, mut tasks) = start_server(Zone::new()).await;
    tasks.shutdown().await;
    let (resolver, dir) = resolver("dead", port, "nameserver 127.0.0.1\n");
    let error = resolver.resolve_srv_or_a("x.", 80).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(_, why) if why.contains("127.0.0.1")), "{error}");
    fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn answers_local_names_without_a_question() {
    let (resolver, dir) = resolver("local", 1, "nameserver 127.0.0.1\n");
    for (name, expected) in [
        ("localhost.", "127.0.0.1:80"),
        ("10.1.2.3", "10.1.2.3:80"),
        ("[::1]", "[::1]:80"),
        ("fd00::1", "[fd00::1]:80"),
        ("IN-hosts.", "10.9.9.9:80"),
    ] {
        assert_eq!(addrs(&resolver.resolve_srv_or_a(name, 80).await.unwrap()), [expected]);
    }
    fs::remove_dir_all(dir).unwrap();
}
