//! Pods as network namespaces: each has an IPv4 and an IPv6 address and a veth to the node, which is the namespace that the
//! test runs in, and which routes between them. Code enters a pod on a thread of its own.
#![allow(unsafe_code, reason = "unshare and setns have no safe form")]

use std::{
    fs::{self, File},
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd,
    process::Command,
    sync::Arc,
    thread,
};
use tokio::sync::oneshot;

/// The node's own addresses, reached from every pod.
pub const NODE_V4: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
pub const NODE_V6: Ipv6Addr = Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 1);

pub struct Network {
    pods: u8,
}

#[derive(Clone)]
pub struct Pod {
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
    namespace: Arc<File>,
}

impl Network {
    /// Makes the namespace that the test runs in the node.
    pub fn new() -> Self {
        ip(&["link set lo up", "addr add 10.99.0.1/32 dev lo", "addr add fd99::1/128 dev lo nodad"]);
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        Self { pods: 0 }
    }

    pub async fn add_pod(&mut self) -> Pod {
        self.pods += 1;
        let number = self.pods;
        let namespace = thread::spawn(|| {
            // SAFETY: unshare changes this thread alone, and it ends after having opened its new namespace.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        let namespace = Arc::new(namespace.join().unwrap());
        let v4 = Ipv4Addr::new(10, 42, 0, number);
        let v6 = Ipv6Addr::new(0xfd42, 0, 0, 0, 0, 0, 0, number.into());
        let veth = format!("link add v{number} type veth peer name eth0 netns /proc/self/fd/0");
        let added = Command::new("ip").args(veth.split(' ')).stdin(namespace.try_clone().unwrap()).status();
        assert!(added.unwrap().success());
        ip(&[&format!("addr add fe80::1/64 dev v{number} nodad"), &format!("link set v{number} up")]);
        let pod = Pod { v4, v6, namespace };
        pod.run(move || async move {
            ip(&[
                "link set lo up",
                &format!("addr add {v4}/32 dev eth0"),
                &format!("addr add {v6}/128 dev eth0 nodad"),
                "link set eth0 up",
                "route add default via 10.99.0.1 dev eth0 onlink",
                "route add default via fe80::1 dev eth0",
            ]);
        })
        .await;
        ip(&[&format!("route add {v4} dev v{number}"), &format!("route add {v6} dev v{number}")]);
        pod
    }
}

impl Pod {
    /// Runs a future in the pod, on a thread and a runtime of its own, to its end.
    pub async fn run<F, T>(&self, body: impl FnOnce() -> F + Send + 'static) -> T
    where
        F: Future<Output = T>,
        T: Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let namespace = self.namespace.clone();
        thread::spawn(move || {
            // SAFETY: setns changes this thread alone and reads an open descriptor.
            assert_eq!(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let local = tokio::task::LocalSet::new();
            let _ = sender.send(local.block_on(&runtime, body()));
        });
        receiver.await.expect("the future in the pod panicked")
    }

    /// Starts something in the pod that runs until the test ends, once `body` has sent that it is up.
    pub async fn start<F, T>(&self, body: impl FnOnce(oneshot::Sender<T>) -> F + Send + 'static) -> T
    where
        F: Future<Output = ()>,
        T: Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let pod = self.clone();
        tokio::spawn(async move { pod.run(move || body(sender)).await });
        receiver.await.expect("what was started in the pod ended")
    }

    pub fn ip(&self, is_v6: bool) -> IpAddr {
        if is_v6 { self.v6.into() } else { self.v4.into() }
    }
}

/// Runs `ip` once for several commands in the calling thread's namespace.
pub fn ip(commands: &[&str]) {
    use std::io::Write;
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for command in commands {
        writeln!(stdin, "{command}").unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "ip {commands:?}: {}", String::from_utf8_lossy(&output.stderr));
}
