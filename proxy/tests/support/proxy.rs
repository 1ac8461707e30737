//! The built proxy as a process in a pod, with the environment that an injector gives it.

use super::{control_plane::CONTROL_PLANE, control_plane::ControlPlane, isolation, network::Pod};
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub const BINARY: &str = env!("CARGO_BIN_EXE_tulle-proxy");
const PROXY_ID: u32 = 2102;
const READY_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

pub struct Proxy {
    child: Child,
    pod: Pod,
    output: Arc<Mutex<String>>,
    dir: PathBuf,
}

/// The environment of a proxy with the identity `name`; `overrides` replace or add variables, without Linkerd's prefix.
pub fn environment(pod: &Pod, control: &ControlPlane, name: &str, overrides: &[(&str, &str)]) -> Vec<(String, String)> {
    let addr = control.addr.to_string();
    let ips = format!("{},{}", pod.v4, pod.v6);
    let mut env: Vec<(&str, String)> = [
        ("LOG", "info"),
        ("DESTINATION_SVC_ADDR", &addr),
        ("DESTINATION_SVC_NAME", CONTROL_PLANE),
        ("DESTINATION_CONTEXT", r#"{"ns":"test","nodeName":"node","pod":"pod"}"#),
        ("DESTINATION_PROFILE_NETWORKS", "10.0.0.0/8,fd00::/8"),
        ("DESTINATION_PROFILE_SUFFIXES", "svc.cluster.local."),
        ("POLICY_SVC_ADDR", &addr),
        ("POLICY_SVC_NAME", CONTROL_PLANE),
        ("POLICY_WORKLOAD", r#"{"ns":"test","pod":"pod"}"#),
        ("POLICY_CLUSTER_NETWORKS", "10.0.0.0/8,fd00::/8"),
        ("IDENTITY_SVC_ADDR", &addr),
        ("IDENTITY_SVC_NAME", CONTROL_PLANE),
        ("IDENTITY_LOCAL_NAME", name),
        ("IDENTITY_TRUST_ANCHORS", &control.authority.anchor_pem),
        ("CONTROL_LISTEN_ADDR", "[::]:4190"),
        ("ADMIN_LISTEN_ADDR", "[::]:4191"),
        ("OUTBOUND_LISTEN_ADDRS", "127.0.0.1:4140,[::1]:4140"),
        ("INBOUND_LISTEN_ADDR", "[::]:4143"),
        ("INBOUND_IPS", &ips),
        ("INBOUND_DEFAULT_POLICY", "all-unauthenticated"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into();
    for (name, value) in overrides {
        env.retain(|(known, _)| known != name);
        env.push((name, (*value).to_owned()));
    }
    env.into_iter().map(|(name, value)| (format!("LINKERD2_PROXY_{name}"), value)).collect()
}

/// The connections that the proxy of a pod makes are known by its user, or by its mark where it cannot be a user of its own.
fn exemption() -> (&'static str, String) {
    let flag = if has_user() { "--proxy-uid" } else { "--proxy-mark" };
    (flag, PROXY_ID.to_string())
}

/// Not where there is but one user, nor where the binary lies in a folder that others may not enter, such as root's home.
pub fn has_user() -> bool {
    let is_open = |folder: &Path| fs::metadata(folder).is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0);
    isolation::has_users() && Path::new(BINARY).ancestors().all(is_open)
}

/// Redirects the pod's connections to its proxy.
pub async fn redirect(pod: &Pod) {
    pod.run(|| async {
        let (flag, id) = exemption();
        let ports = ["--incoming-proxy-port", "4143", "--outgoing-proxy-port", "4140"];
        let ignored = ["--inbound-ports-to-ignore", "4190,4191", flag, &id];
        let output = Command::new(BINARY).arg("init").args(ports).args(ignored).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    })
    .await;
}

impl Proxy {
    /// Starts it behind the pod's redirect, and waits until it is ready.
    pub async fn start(pod: &Pod, control: &ControlPlane, name: &str, overrides: &[(&str, &str)]) -> Self {
        redirect(pod).await;
        let mut proxy = Self::spawn(pod, environment(pod, control, name, overrides)).await;
        proxy.ready().await;
        proxy
    }

    /// Starts it and does not wait.
    pub async fn spawn(pod: &Pod, env: Vec<(String, String)>) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let inode = fs::metadata("/proc/self/ns/net").map(|meta| std::os::unix::fs::MetadataExt::ino(&meta)).unwrap();
        let dir = std::env::temp_dir().join(format!("tulle-proxy-test-{inode}-{number}"));
        fs::create_dir_all(dir.join("identity")).unwrap();
        fs::write(dir.join("token"), "a token").unwrap();
        let mut command = Command::new(BINARY);
        command
            .env_clear()
            .env("LINKERD2_PROXY_IDENTITY_DIR", dir.join("identity"))
            .env("LINKERD2_PROXY_IDENTITY_TOKEN_FILE", dir.join("token"))
            .envs(env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if has_user() {
            command.uid(PROXY_ID).gid(PROXY_ID);
        } else {
            command.env("TULLE_PROXY_MARK", PROXY_ID.to_string());
        }
        let mut child = pod.run(move || async move { command.spawn().unwrap() }).await;
        let output = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().unwrap(), output.clone());
        collect(child.stderr.take().unwrap(), output.clone());
        Self { child, pod: pod.clone(), output, dir }
    }

    pub async fn ready(&mut self) {
        self.wait_for("readiness", async |proxy| {
            proxy.admin("GET", "/ready").await.is_some_and(|(status, _)| status == 200)
        })
        .await;
    }

    /// Polls until `is_so`; panics with the proxy's output when it ends first or takes too long.
    pub async fn wait_for(&mut self, what: &str, is_so: impl AsyncFn(&Self) -> bool) {
        let start = Instant::now();
        while !is_so(self).await {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the proxy ended with {status} before {what}:\n{}", self.output());
            }
            assert!(start.elapsed() < READY_TIMEOUT, "no {what} in {READY_TIMEOUT:?}:\n{}", self.output());
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Status and body of an answer of the admin server, asked from the node.
    pub async fn admin(&self, method: &str, path: &str) -> Option<(u16, String)> {
        request_admin(TcpStream::connect((self.pod.v4, 4191)).await.ok()?, method, path).await
    }

    /// The same, asked from inside the pod.
    pub async fn admin_locally(&self, method: &'static str, path: &'static str) -> Option<(u16, String)> {
        let ask =
            move || async move { request_admin(TcpStream::connect("127.0.0.1:4191").await.ok()?, method, path).await };
        self.pod.run(ask).await
    }

    /// The sum of all series of a family whose labels contain every one of `labels`; None without such a series.
    pub async fn metric(&self, family: &str, labels: &[&str]) -> Option<f64> {
        let (_, text) = self.admin("GET", "/metrics").await?;
        let values: Vec<f64> = text
            .lines()
            .filter(|line| line.split(['{', ' ']).next() == Some(family))
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// What it has written so far.
    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn terminate(&self) {
        // SAFETY: kill has no memory effects; the child has not been waited for.
        #[allow(unsafe_code, reason = "kill has no safe form")]
        let result = unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        assert_eq!(result, 0);
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < READY_TIMEOUT, "the proxy does not end:\n{}", self.output());
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
        if thread::panicking() {
            eprintln!("output of the proxy at {}:\n{}", self.pod.v4, self.output());
        }
    }
}

fn collect(from: impl Read + Send + 'static, to: Arc<Mutex<String>>) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            *to.lock().unwrap() += &(line + "\n");
        }
    });
}

async fn request_admin(mut stream: TcpStream, method: &str, path: &str) -> Option<(u16, String)> {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}
