//! A pod's sandbox: its network, host name and IPC namespaces, held open by descriptors and gone when they close.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use crate::netlink::Netlink;
use crate::protocol::{Network, SandboxSpec};
use crate::sys;

pub struct Sandbox {
    /// None: the pod uses the node's network.
    pub net: Option<OwnedFd>,
    pub uts: OwnedFd,
    pub ipc: OwnedFd,
    /// The bridge's index and the pod's addresses, known to the node as neighbours.
    neighbours: Option<(u32, Vec<IpAddr>)>,
}

/// This program's own namespaces, to come back to.
pub struct Home {
    net: OwnedFd,
    uts: OwnedFd,
    ipc: OwnedFd,
    pub pid: OwnedFd,
    netlink: Netlink,
}

impl Home {
    pub fn open() -> io::Result<Self> {
        // Those of the machine cannot be come back to from a user namespace.
        sys::unshare(libc::CLONE_NEWUTS | libc::CLONE_NEWIPC)?;
        Ok(Self {
            net: namespace("net")?,
            uts: namespace("uts")?,
            ipc: namespace("ipc")?,
            pid: namespace("pid")?,
            netlink: Netlink::open()?,
        })
    }

    /// Runs `f` in another network namespace. Never returns outside of its own: that would mix up pods.
    fn inside<T>(&self, f: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let result = f();
        sys::setns(&self.net, libc::CLONE_NEWNET)
            .and_then(|()| sys::setns(&self.uts, libc::CLONE_NEWUTS))
            .and_then(|()| sys::setns(&self.ipc, libc::CLONE_NEWIPC))
            .expect("a process may return to the namespaces that it came from");
        result
    }

    pub fn create(&self, spec: &SandboxSpec) -> io::Result<Sandbox> {
        let (mut sandbox, netlink) = self.inside(|| {
            let net_flag = if spec.network.is_some() { libc::CLONE_NEWNET } else { 0 };
            sys::unshare(libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | net_flag)?;
            sys::sethostname(&spec.hostname)?;
            let net = spec.network.as_ref().map(|_| namespace("net")).transpose()?;
            let netlink = net.as_ref().map(|_| Netlink::open()).transpose()?;
            if net.is_some() {
                set_pod_sysctls();
            }
            Ok((Sandbox { net, uts: namespace("uts")?, ipc: namespace("ipc")?, neighbours: None }, netlink))
        })?;
        if let (Some(network), Some(net), Some(netlink)) = (&spec.network, &sandbox.net, netlink) {
            let bridge = self.connect(network, net, &netlink).map_err(|e| context("set up the pod's network", e))?;
            sandbox.neighbours = Some((bridge, network.addresses.iter().map(|pair| pair.address).collect()));
        }
        Ok(sandbox)
    }

    fn connect(&self, network: &Network, net: &OwnedFd, inside: &Netlink) -> io::Result<u32> {
        let bridge = self.netlink.index(&network.bridge).map_err(|e| context(&network.bridge, e))?;
        self.netlink
            .create_veth(&network.host_interface, bridge, "eth0", network.mac, net)
            .map_err(|e| context(&network.host_interface, e))?;
        let (lo, eth0) = (inside.index("lo")?, inside.index("eth0")?);
        inside.set_up(lo)?;
        for pair in &network.addresses {
            inside.add_host_address(eth0, pair.address).map_err(|e| context("add the address", e))?;
        }
        inside.set_up(eth0)?;
        for pair in &network.addresses {
            inside.add_link_route(eth0, pair.gateway).map_err(|e| context("add the gateway", e))?;
            inside.add_default_route(eth0, pair.gateway).map_err(|e| context("add the default route", e))?;
            inside
                .add_neighbour(eth0, pair.gateway, network.bridge_mac)
                .and_then(|()| self.netlink.add_neighbour(bridge, pair.address, network.mac))
                .map_err(|e| context("add the neighbour", e))?;
        }
        Ok(bridge)
    }

    /// Ends the pod's network. What its processes still hold goes with them.
    pub fn remove(&self, sandbox: Sandbox) {
        for (bridge, addresses) in sandbox.neighbours.iter() {
            // Already gone is as good.
            addresses.iter().for_each(|address| _ = self.netlink.remove_neighbour(*bridge, *address));
        }
    }

    /// Begins to connect to a port on the pod's loopback address.
    pub fn dial(&self, sandbox: &Sandbox, port: u16, v6: bool) -> io::Result<OwnedFd> {
        let to: IpAddr = if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        self.inside(|| {
            if let Some(net) = &sandbox.net {
                sys::setns(net, libc::CLONE_NEWNET)?;
            }
            sys::connect_nonblocking(to, port)
        })
    }
}

impl Sandbox {
    /// Moves the calling process, a child about to become a container, into the sandbox.
    pub fn enter(&self) -> io::Result<()> {
        if let Some(net) = &self.net {
            sys::setns(net, libc::CLONE_NEWNET)?;
        }
        sys::setns(&self.uts, libc::CLONE_NEWUTS)?;
        sys::setns(&self.ipc, libc::CLONE_NEWIPC)
    }
}

pub fn context(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn namespace(kind: &str) -> io::Result<OwnedFd> {
    Ok(File::open(format!("/proc/self/ns/{kind}"))?.into())
}

/// Settings that pods have on other clusters too. A kernel without one of them works as well, so failures do not count.
fn set_pod_sysctls() {
    for (key, value) in [
        ("ipv4/ip_unprivileged_port_start", "0"),
        ("ipv4/ping_group_range", "0 2147483647"),
        ("ipv6/conf/default/accept_dad", "0"),
        ("ipv6/conf/default/accept_ra", "0"),
        ("ipv6/conf/default/accept_redirects", "0"),
        ("ipv6/conf/all/accept_redirects", "0"),
    ] {
        _ = std::fs::write(format!("/proc/sys/net/{key}"), value);
    }
}
