//! Which variable goes where, and what holds when it is not set.

use super::environment::{Environment, Problems};
use super::parse::*;
use super::*;
use crate::control::model::outbound::Backoff;

const SECOND: Duration = Duration::from_secs(1);

impl Config {
    pub fn read(env: Environment) -> Result<Self, Problems> {
        match Self::read_all(&env) {
            Some(config) if !env.has_problems() => Ok(config),
            _ => Err(env.problems()),
        }
    }

    /// Reads everything before giving up, so that all problems are found.
    fn read_all(env: &Environment) -> Option<Self> {
        let outbound = read_outbound(env);
        let inbound = read_inbound(env);
        let identity = read_identity(env);
        let control = read_control(env, &outbound);
        let tap_listen = addr(env, "CONTROL_LISTEN_ADDR", "0.0.0.0:4190");
        let admin = Admin {
            listen: addr(env, "ADMIN_LISTEN_ADDR", "127.0.0.1:4191"),
            is_shutdown_enabled: env.parse("SHUTDOWN_ENDPOINT_ENABLED", parse_bool).unwrap_or(false),
        };
        let tap = env.parse("TAP_SVC_NAME", parse_name).map(|server_name| Tap { listen: tap_listen, server_name });
        let dns = Dns {
            min_ttl: env.parse("DNS_MIN_TTL", parse_duration),
            max_ttl: env.parse("DNS_MAX_TTL", parse_duration),
        };
        let cores = read_cores(env);
        let log = Log {
            filter: env.text("LOG").unwrap_or("warn,linkerd=info").to_owned(),
            is_json: env.parse("LOG_FORMAT", parse_log_format).unwrap_or(false),
        };
        let access_log = env.parse("ACCESS_LOG", parse_access_log).flatten();
        let metrics_retain_idle = duration(env, "METRICS_RETAIN_IDLE", 600 * SECOND);
        let shutdown_grace_period = duration(env, "SHUTDOWN_GRACE_PERIOD", 120 * SECOND);
        let mark = env.parse("TULLE_PROXY_MARK", parse_number);
        Some(Self {
            outbound,
            inbound,
            admin,
            tap,
            identity: identity?,
            control: control?,
            dns,
            cores,
            log,
            access_log,
            metrics_retain_idle,
            shutdown_grace_period,
            mark,
        })
    }
}

fn read_outbound(env: &Environment) -> Outbound {
    let is_ingress = env.parse("INGRESS_MODE", parse_bool).unwrap_or(false);
    let one = addr(env, "OUTBOUND_LISTEN_ADDR", "127.0.0.1:4140");
    let listen = match env.parse("OUTBOUND_LISTEN_ADDRS", parse_addrs) {
        Some(addrs) if addrs.len() > 2 => {
            env.problem("OUTBOUND_LISTEN_ADDRS", "at most two addresses, one of each family");
            addrs
        }
        Some(addrs) if !addrs.is_empty() => addrs,
        _ => vec![one],
    };
    let mut common = direction(
        env,
        "OUTBOUND",
        listen,
        Defaults {
            connect_timeout: SECOND,
            backoff_max: 60 * SECOND,
            failfast: 3 * SECOND,
            discovery_idle: 5 * SECOND,
        },
    );
    common.max_idle_connections = number(env, "OUTBOUND_MAX_IDLE_CONNS_PER_ENDPOINT", 10_000);
    Outbound {
        common,
        is_ingress,
        hides_informational_headers: env
            .parse("OUTBOUND_DISABLE_INFORMATIONAL_HEADERS", parse_bool)
            .unwrap_or(is_ingress),
        has_hostname_labels: env.parse("OUTBOUND_METRICS_HOSTNAME_LABELS", parse_bool).unwrap_or(false),
    }
}

fn read_inbound(env: &Environment) -> Inbound {
    let listen = vec![addr(env, "INBOUND_LISTEN_ADDR", "0.0.0.0:4143")];
    let mut common = direction(
        env,
        "INBOUND",
        listen,
        Defaults {
            connect_timeout: Duration::from_millis(300),
            backoff_max: 10 * SECOND,
            failfast: SECOND,
            discovery_idle: 90 * SECOND,
        },
    );
    common.max_idle_connections = number(env, "MAX_IDLE_CONNS_PER_ENDPOINT", 10_000);
    let cluster_networks = env.parse("POLICY_CLUSTER_NETWORKS", parse_networks);
    let default_policy = env.parse("INBOUND_DEFAULT_POLICY", parse_policy).unwrap_or(DefaultPolicy::AllUnauthenticated);
    use DefaultPolicy::*;
    if matches!(default_policy, ClusterAuthenticated | ClusterUnauthenticated | Audit) && cluster_networks.is_none() {
        env.problem("POLICY_CLUSTER_NETWORKS", "is required by this INBOUND_DEFAULT_POLICY");
    }
    Inbound {
        common,
        ips: env.parse("INBOUND_IPS", parse_ips).unwrap_or_default(),
        ports: env.parse("INBOUND_PORTS", parse_ports).unwrap_or_default(),
        default_policy,
        cluster_networks: cluster_networks.unwrap_or_default(),
        opaque_ports: env.parse("INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION", parse_ports).unwrap_or_default(),
        gateway_suffixes: env.parse("INBOUND_GATEWAY_SUFFIXES", parse_suffixes).unwrap_or_default(),
        has_authority_labels: env.text("INBOUND_METRICS_AUTHORITY_LABELS") == Some("unsafe"),
        profile_timeout: duration(env, "DESTINATION_PROFILE_INITIAL_TIMEOUT", Duration::from_millis(500)),
    }
}

struct Defaults {
    connect_timeout: Duration,
    backoff_max: Duration,
    failfast: Duration,
    discovery_idle: Duration,
}

fn direction(env: &Environment, side: &str, listen: Vec<SocketAddr>, defaults: Defaults) -> Direction {
    let name = |rest: &str| format!("{side}_{rest}");
    let socket = |kind: &str| SocketOptions {
        keepalive: env.parse(&name(&format!("{kind}_KEEPALIVE")), parse_duration),
        user_timeout: env.parse(&name(&format!("{kind}_USER_TIMEOUT")), parse_duration),
        backlog: None,
    };
    let mut accept = socket("ACCEPT");
    accept.backlog = env.parse(&name("TCP_LISTEN_BACKLOG"), parse_number);
    let queue = |protocol: &str| Queue {
        capacity: number(env, &name(&format!("{protocol}_QUEUE_CAPACITY")), 10_000),
        failfast_timeout: duration(env, &name(&format!("{protocol}_FAILFAST_TIMEOUT")), defaults.failfast),
    };
    Direction {
        listen,
        accept,
        connect: socket("CONNECT"),
        connect_timeout: duration(env, &name("CONNECT_TIMEOUT"), defaults.connect_timeout),
        connect_backoff: backoff(env, &name("CONNECT_EXP_BACKOFF"), Duration::from_millis(100), defaults.backoff_max),
        detect_timeout: duration(env, &name("DETECT_TIMEOUT"), 10 * SECOND),
        http_queue: queue("HTTP"),
        tcp_queue: queue("TCP"),
        max_in_flight: number(env, &name("MAX_IN_FLIGHT"), 100_000),
        max_idle_connections: 0,
        http1_idle_timeout: duration(env, &name("HTTP1_CONNECTION_POOL_IDLE_TIMEOUT"), 3 * SECOND),
        http2_server: http2_server(env, &name("SERVER_HTTP2")),
        discovery_idle_timeout: duration(env, &name("DISCOVERY_IDLE_TIMEOUT"), defaults.discovery_idle),
    }
}

fn http2_server(env: &Environment, prefix: &str) -> Http2Server {
    let name = |rest: &str| format!("{prefix}_{rest}");
    let optional = |rest: &str| env.parse(&name(rest), parse_number);
    let interval = env.parse(&name("KEEP_ALIVE_INTERVAL"), parse_duration);
    let timeout = env.parse(&name("KEEP_ALIVE_TIMEOUT"), parse_duration);
    Http2Server {
        stream_window: number(env, &name("INITIAL_STREAM_WINDOW_SIZE"), 65_535),
        connection_window: number(env, &name("INITIAL_CONNECTION_WINDOW_SIZE"), 1_048_576),
        is_adaptive: env.parse(&name("ADAPTIVE_FLOW_CONTROL"), parse_bool).unwrap_or(false),
        keep_alive: interval.zip(timeout),
        max_concurrent_streams: optional("MAX_CONCURRENT_STREAMS"),
        max_frame_size: optional("MAX_FRAME_SIZE"),
        max_header_list_size: optional("MAX_HEADER_LIST_SIZE"),
        max_pending_accept_reset_streams: optional("MAX_PENDING_ACCEPT_RESET_STREAMS"),
        max_send_buf_size: optional("MAX_SEND_BUF_SIZE"),
    }
}

fn read_identity(env: &Environment) -> Option<Identity> {
    if env.text("IDENTITY_DISABLED").is_some() {
        env.problem("IDENTITY_DISABLED", "is no longer supported: identity is always on");
    }
    let anchors = env.require("IDENTITY_TRUST_ANCHORS", parse_anchors);
    let spire = SPIRE_SOCKET.into_iter().find(|name| env.text(name).is_some());
    let certifier = match spire {
        Some(name) => read_spire(env, name).map(Certifier::Spire),
        None => read_identity_service(env).map(Certifier::Service),
    };
    let names = match (env.text("IDENTITY_SERVER_ID").is_some(), env.text("IDENTITY_SERVER_NAME").is_some()) {
        (false, false) => env.require("IDENTITY_LOCAL_NAME", parse_name).map(|name| (name.clone(), name)),
        (true, false) => {
            env.problem("IDENTITY_SERVER_NAME", "is required with IDENTITY_SERVER_ID");
            None
        }
        (false, true) => {
            env.problem("IDENTITY_SERVER_ID", "is required with IDENTITY_SERVER_NAME");
            None
        }
        (true, true) => {
            let id = env.parse("IDENTITY_SERVER_ID", parse_id);
            id.zip(env.parse("IDENTITY_SERVER_NAME", parse_name))
        }
    };
    let (local_id, server_name) = names?;
    if spire.is_some() && !local_id.starts_with("spiffe://") {
        env.problem("IDENTITY_SERVER_ID", "must be a spiffe:// id where SPIRE certifies");
    }
    Some(Identity { local_id, server_name, trust_anchors_pem: anchors?, certifier: certifier? })
}

fn read_identity_service(env: &Environment) -> Option<IdentityService> {
    let dir = env.require("IDENTITY_DIR", |text| Ok(PathBuf::from(text)));
    let token_file = env.require("IDENTITY_TOKEN_FILE", |text| Ok(PathBuf::from(text)));
    let addr = control_addr(env, "IDENTITY_SVC");
    let min_refresh = duration(env, "IDENTITY_MIN_REFRESH", 10 * SECOND);
    let max_refresh = duration(env, "IDENTITY_MAX_REFRESH", 86_400 * SECOND);
    if min_refresh > max_refresh {
        env.problem("IDENTITY_MIN_REFRESH", "is greater than IDENTITY_MAX_REFRESH");
    }
    Some(IdentityService { addr: addr?, dir: dir?, token_file: token_file?, min_refresh, max_refresh })
}

const SPIRE_SOCKET: [&str; 2] = ["IDENTITY_SPIRE_SOCKET", "IDENTITY_SPIRE_WORKLOAD_API_ADDRESS"];

fn read_spire(env: &Environment, name: &str) -> Option<Spire> {
    let socket = env.require(name, parse_unix_socket)?;
    // Stock proxies read these with the prefix twice.
    let twice = "LINKERD2_PROXY_IDENTITY_SPIRE_EXP_BACKOFF";
    let is_twice = ["MIN", "MAX", "JITTER"].iter().any(|part| env.text(&format!("{twice}_{part}")).is_some());
    let prefix = if is_twice { twice } else { "IDENTITY_SPIRE_EXP_BACKOFF" };
    Some(Spire { socket, backoff: backoff(env, prefix, Duration::from_millis(100), SECOND) })
}

fn read_control(env: &Environment, outbound: &Outbound) -> Option<ControlPlane> {
    let destination = control_addr(env, "DESTINATION_SVC");
    let policy = control_addr(env, "POLICY_SVC");
    let policy_workload = env.require("POLICY_WORKLOAD", |text| Ok(Arc::from(text)));
    let optional = |name: &str| env.parse(name, parse_optional_duration).flatten();
    let stream = StreamLimits {
        initial: optional("CONTROL_STREAM_INITIAL_TIMEOUT"),
        idle: optional("CONTROL_STREAM_IDLE_TIMEOUT"),
        lifetime: optional("CONTROL_STREAM_LIFETIME"),
    };
    let is_ordered = |a: Option<Duration>, b: Option<Duration>| a.zip(b).is_none_or(|(a, b)| a <= b);
    if !is_ordered(stream.initial, stream.idle)
        || !is_ordered(stream.idle, stream.lifetime)
        || !is_ordered(stream.initial, stream.lifetime)
    {
        env.problem("CONTROL_STREAM_INITIAL_TIMEOUT", "INITIAL_TIMEOUT, IDLE_TIMEOUT and LIFETIME must not decrease");
    }
    let suffixes = env.parse("DESTINATION_PROFILE_SUFFIXES", parse_suffixes);
    let networks = env.parse("DESTINATION_PROFILE_NETWORKS", parse_networks).unwrap_or_default();
    let http2_client = Http2Client {
        stream_window: number(env, "HTTP2_INITIAL_STREAM_WINDOW_SIZE", 65_535),
        connection_window: number(env, "HTTP2_INITIAL_CONNECTION_WINDOW_SIZE", 1_048_576),
    };
    Some(ControlPlane {
        destination: destination?,
        policy: policy?,
        destination_context: env.text("DESTINATION_CONTEXT").unwrap_or_default().into(),
        policy_workload: policy_workload?,
        profile_suffixes: suffixes.unwrap_or_else(|| Suffixes(vec!["svc.cluster.local".into()])),
        profile_networks: networks,
        stream,
        http2_client,
        connect: outbound.common.connect,
        connect_timeout: outbound.common.connect_timeout,
        backoff: outbound.common.connect_backoff,
    })
}

fn control_addr(env: &Environment, service: &str) -> Option<ControlAddr> {
    let name = format!("{service}_NAME");
    let (host, port) = env.require(&format!("{service}_ADDR"), parse_host_port)?;
    let is_local = host.trim_end_matches('.') == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    let identity =
        if is_local { env.parse(&name, parse_name).and(None) } else { Some(env.require(&name, parse_name)?) };
    Some(ControlAddr { host: host.into(), port, identity })
}

fn read_cores(env: &Environment) -> Cores {
    let machine = std::thread::available_parallelism().map_or(1, usize::from);
    let min = env.parse("CORES_MIN", parse_number).or_else(|| env.parse("CORES", parse_number)).unwrap_or(1);
    let max: Option<usize> = env.parse("CORES_MAX", parse_number);
    let ratio = env.parse("CORES_MAX_RATIO", parse_ratio);
    let by_ratio = ratio.map(|ratio| (machine as f64 * ratio).round() as usize);
    let most = match (max, by_ratio) {
        (Some(max), _) => max,
        (None, Some(by_ratio)) => by_ratio,
        (None, None) => 1,
    };
    Cores { workers: most.max(min).clamp(1, machine.max(1)) }
}

fn backoff(env: &Environment, prefix: &str, min: Duration, max: Duration) -> Backoff {
    let backoff = Backoff {
        min: duration(env, &format!("{prefix}_MIN"), min),
        max: duration(env, &format!("{prefix}_MAX"), max),
        jitter: env.parse(&format!("{prefix}_JITTER"), parse_number).unwrap_or(0.1),
        respect_retry_after: false,
    };
    if backoff.min > backoff.max || backoff.min.is_zero() {
        env.problem(&format!("{prefix}_MIN"), "must be above 0 and at most the maximum");
    }
    if !(0.0..=100.0).contains(&backoff.jitter) {
        env.problem(&format!("{prefix}_JITTER"), "must be between 0 and 100");
    }
    backoff
}

fn addr(env: &Environment, name: &str, default: &str) -> SocketAddr {
    env.parse(name, parse_addr).unwrap_or_else(|| default.parse().expect("the default is an address and port"))
}

fn duration(env: &Environment, name: &str, default: Duration) -> Duration {
    env.parse(name, parse_duration).unwrap_or(default)
}

fn number<T: std::str::FromStr>(env: &Environment, name: &str, default: T) -> T {
    env.parse(name, parse_number).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &[(&str, &str)]) -> Result<Config, Problems> {
        let anchor = rcgen::generate_simple_self_signed(["anchor".to_owned()]).expect("a certificate").cert.pem();
        let required = [
            ("DESTINATION_SVC_ADDR", "linkerd-dst-headless.linkerd.svc.cluster.local.:8086"),
            ("DESTINATION_SVC_NAME", "destination.linkerd.serviceaccount.identity.linkerd.cluster.local"),
            ("POLICY_SVC_ADDR", "localhost.:8090"),
            ("IDENTITY_SVC_ADDR", "127.0.0.1:8080"),
            ("POLICY_WORKLOAD", "ns:pod"),
            ("IDENTITY_DIR", "/identity"),
            ("IDENTITY_TRUST_ANCHORS", anchor.as_str()),
            ("IDENTITY_TOKEN_FILE", "/token"),
            ("IDENTITY_LOCAL_NAME", "web.ns.serviceaccount.identity.linkerd.cluster.local"),
        ];
        let all = required.iter().chain(more).map(|(k, v)| (format!("LINKERD2_PROXY_{k}"), (*v).to_owned()));
        Config::read(Environment::new(all))
    }

    fn problem(more: &[(&str, &str)]) -> String {
        read(more).expect_err("a problem").to_string()
    }

    #[test]
    fn what_is_not_set_has_the_contracts_default() {
        let config = read(&[]).expect("valid");
        assert_eq!(config.outbound.common.listen, [SocketAddr::from(([127, 0, 0, 1], 4140))]);
        assert_eq!(config.inbound.common.connect_timeout, Duration::from_millis(300));
        assert_eq!(config.inbound.common.discovery_idle_timeout, 90 * SECOND);
        assert_eq!(config.inbound.default_policy, DefaultPolicy::AllUnauthenticated);
        assert_eq!((config.shutdown_grace_period, config.metrics_retain_idle), (120 * SECOND, 600 * SECOND));
        assert!(config.tap.is_none() && config.access_log.is_none() && config.cores.workers == 1);
    }

    #[test]
    fn services_of_this_machine_need_no_identity() {
        let config = read(&[]).expect("valid");
        assert!(config.control.destination.identity.is_some());
        assert!(config.control.policy.identity.is_none());
        let Certifier::Service(service) = config.identity.certifier else { panic!("there is no SPIRE") };
        assert!(service.addr.identity.is_none());
        assert!(problem(&[("POLICY_SVC_ADDR", "policy:8090")]).contains("LINKERD2_PROXY_POLICY_SVC_NAME: is required"));
    }

    #[test]
    fn spire_replaces_the_identity_service() {
        let ids = [("IDENTITY_SERVER_ID", "spiffe://td/web"), ("IDENTITY_SERVER_NAME", "web.example")];
        for text in ["unix:///run/spire.sock", "unix:/run/spire.sock", "/run/spire.sock"] {
            let config = read(&[&ids[..], &[("IDENTITY_SPIRE_SOCKET", text)]].concat()).expect("valid");
            let Certifier::Spire(spire) = config.identity.certifier else { panic!("SPIRE is set") };
            assert_eq!((spire.socket, spire.backoff.max), ("/run/spire.sock".into(), SECOND), "{text}");
        }
        let spire = ("IDENTITY_SPIRE_WORKLOAD_API_ADDRESS", "unix:/run/spire.sock");
        let twice = ("LINKERD2_PROXY_IDENTITY_SPIRE_EXP_BACKOFF_MAX", "5s");
        let config = read(&[&ids[..], &[spire, twice]].concat()).expect("valid");
        assert!(matches!(config.identity.certifier, Certifier::Spire(spire) if spire.backoff.max == 5 * SECOND));
        assert!(problem(&[spire]).contains("IDENTITY_SERVER_ID: must be a spiffe:// id"));
        assert!(problem(&[("IDENTITY_SPIRE_SOCKET", "tcp://x:1")]).contains("IDENTITY_SPIRE_SOCKET"));
    }

    #[test]
    fn listen_addresses_win_over_the_single_one() {
        let config = read(&[("OUTBOUND_LISTEN_ADDR", "127.0.0.1:1"), ("OUTBOUND_LISTEN_ADDRS", "127.0.0.1:2,[::1]:2")]);
        assert_eq!(config.expect("valid").outbound.common.listen.len(), 2);
    }

    #[test]
    fn values_that_contradict_each_other_are_problems() {
        assert!(problem(&[("INBOUND_DEFAULT_POLICY", "cluster-authenticated")]).contains("POLICY_CLUSTER_NETWORKS"));
        assert!(problem(&[("IDENTITY_SERVER_ID", "spiffe://td/x")]).contains("IDENTITY_SERVER_NAME"));
        let backwards = [("CONTROL_STREAM_INITIAL_TIMEOUT", "5m"), ("CONTROL_STREAM_IDLE_TIMEOUT", "3s")];
        assert!(problem(&backwards).contains("CONTROL_STREAM_INITIAL_TIMEOUT"));
        let both = problem(&[("INBOUND_MAX_IN_FLIGHT", "-1"), ("OUTBOUND_DETECT_TIMEOUT", "10")]);
        assert_eq!(both.lines().count(), 2, "{both}");
    }

    #[test]
    fn empty_stream_limits_are_none() {
        let config = read(&[("CONTROL_STREAM_LIFETIME", ""), ("CONTROL_STREAM_IDLE_TIMEOUT", "5m")]).expect("valid");
        assert_eq!((config.control.stream.lifetime, config.control.stream.idle), (None, Some(300 * SECOND)));
    }
}
