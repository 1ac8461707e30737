//! The few rtnetlink requests that a pod's network needs: a veth pair into a namespace, addresses, routes.
//! Layouts: linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::sys;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const NLA_F_NESTED: u16 = 0x8000;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const IFF_UP: u32 = 1;

pub type Mac = [u8; 6];

/// A netlink socket stays in the namespace that it was made in.
pub struct Netlink {
    fd: OwnedFd,
}

impl Netlink {
    pub fn open() -> io::Result<Self> {
        Ok(Self { fd: sys::netlink_socket()? })
    }

    pub fn index(&self, name: &str) -> io::Result<u32> {
        let mut m = Message::new(RTM_GETLINK, NLM_F_REQUEST);
        m.link_header(0, 0);
        m.string(IFLA_IFNAME, name);
        let reply = self.exchange(m)?;
        let index = reply.get(20..24).and_then(|b| b.try_into().ok()).map(i32::from_ne_bytes);
        index.and_then(|i| u32::try_from(i).ok()).ok_or_else(|| io::Error::other("short netlink reply"))
    }

    /// Makes a veth pair: `name` here, attached to `bridge` and up; `peer` with the address
    /// `mac` in the namespace `netns`.
    pub fn create_veth(&self, name: &str, bridge: u32, peer: &str, mac: Mac, netns: &OwnedFd) -> io::Result<()> {
        let mut m = Message::new(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
        m.link_header(0, IFF_UP);
        m.string(IFLA_IFNAME, name);
        m.u32(IFLA_MASTER, bridge);
        let info = m.nest(IFLA_LINKINFO);
        m.string(IFLA_INFO_KIND, "veth");
        let data = m.nest(IFLA_INFO_DATA);
        let other = m.nest(VETH_INFO_PEER);
        m.link_header(0, 0);
        m.string(IFLA_IFNAME, peer);
        m.attribute(IFLA_ADDRESS, &mac);
        m.u32(IFLA_NET_NS_FD, netns.as_raw_fd() as u32);
        m.end(other);
        m.end(data);
        m.end(info);
        self.exchange(m).map(drop)
    }

    pub fn set_up(&self, index: u32) -> io::Result<()> {
        let mut m = Message::new(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK);
        m.link_header(index, IFF_UP);
        self.exchange(m).map(drop)
    }

    /// Adds the address alone, without a network: /32 or /128, with no duplicate detection.
    pub fn add_host_address(&self, index: u32, address: IpAddr) -> io::Result<()> {
        let mut m = Message::new(RTM_NEWADDR, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
        m.bytes(&[family(address), prefix(address), IFA_F_NODAD, 0]);
        m.bytes(&index.to_ne_bytes());
        m.ip(IFA_LOCAL, address);
        m.ip(IFA_ADDRESS, address);
        self.exchange(m).map(drop)
    }

    /// A route to one neighbour on the link, with no gateway.
    pub fn add_link_route(&self, index: u32, to: IpAddr) -> io::Result<()> {
        const SCOPE_LINK: u8 = 253;
        let mut m = Message::route(to, prefix(to), SCOPE_LINK);
        m.ip(RTA_DST, to);
        m.u32(RTA_OIF, index);
        self.exchange(m).map(drop)
    }

    pub fn add_default_route(&self, index: u32, gateway: IpAddr) -> io::Result<()> {
        let mut m = Message::route(gateway, 0, 0);
        m.ip(RTA_GATEWAY, gateway);
        m.u32(RTA_OIF, index);
        self.exchange(m).map(drop)
    }

    /// A neighbour that is known for good, so that nobody has to ask for it.
    pub fn add_neighbour(&self, index: u32, ip: IpAddr, mac: Mac) -> io::Result<()> {
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        let mut m = Message::neighbour(RTM_NEWNEIGH, flags, index, ip);
        m.attribute(NDA_LLADDR, &mac);
        self.exchange(m).map(drop)
    }

    pub fn remove_neighbour(&self, index: u32, ip: IpAddr) -> io::Result<()> {
        self.exchange(Message::neighbour(RTM_DELNEIGH, NLM_F_REQUEST | NLM_F_ACK, index, ip)).map(drop)
    }

    /// Sends one request and returns the first reply, or the error that it carries.
    fn exchange(&self, message: Message) -> io::Result<Vec<u8>> {
        const NLMSG_ERROR: u16 = 2;
        sys::write_all(self.fd.as_raw_fd(), &message.finish())?;
        let mut reply = vec![0u8; 32768];
        let n = sys::read(self.fd.as_raw_fd(), &mut reply)?;
        reply.truncate(n);
        let kind = reply.get(4..6).map(|b| u16::from_ne_bytes([b[0], b[1]]));
        let code = reply.get(16..20).and_then(|b| b.try_into().ok()).map(i32::from_ne_bytes);
        match (kind, code) {
            (Some(NLMSG_ERROR), Some(0)) => Ok(reply),
            (Some(NLMSG_ERROR), Some(code)) => Err(io::Error::from_raw_os_error(-code)),
            (Some(_), Some(_)) => Ok(reply),
            _ => Err(io::Error::other("short netlink reply")),
        }
    }
}

struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0u8; 16];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        Self { bytes }
    }

    fn route(of: IpAddr, prefix: u8, scope: u8) -> Self {
        const TABLE_MAIN: u8 = 254;
        const PROTOCOL_BOOT: u8 = 3;
        const UNICAST: u8 = 1;
        let mut m = Self::new(RTM_NEWROUTE, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
        m.bytes(&[family(of), prefix, 0, 0, TABLE_MAIN, PROTOCOL_BOOT, scope, UNICAST, 0, 0, 0, 0]);
        m
    }

    fn neighbour(kind: u16, flags: u16, index: u32, ip: IpAddr) -> Self {
        const PERMANENT: u16 = 0x80;
        let mut m = Self::new(kind, flags);
        m.bytes(&[family(ip), 0, 0, 0]);
        m.bytes(&index.to_ne_bytes());
        m.bytes(&PERMANENT.to_ne_bytes());
        m.bytes(&[0, 0]);
        m.ip(NDA_DST, ip);
        m
    }

    fn link_header(&mut self, index: u32, up: u32) {
        self.bytes(&[0; 4]);
        self.bytes(&index.to_ne_bytes());
        self.bytes(&up.to_ne_bytes());
        self.bytes(&up.to_ne_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.bytes(&(4 + value.len() as u16).to_ne_bytes());
        self.bytes(&kind.to_ne_bytes());
        self.bytes(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn string(&mut self, kind: u16, value: &str) {
        self.attribute(kind, &[value.as_bytes(), &[0]].concat());
    }

    fn u32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    fn ip(&mut self, kind: u16, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => self.attribute(kind, &ip.octets()),
            IpAddr::V6(ip) => self.attribute(kind, &ip.octets()),
        }
    }

    fn nest(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes(&[0, 0]);
        self.bytes(&(kind | NLA_F_NESTED).to_ne_bytes());
        start
    }

    fn end(&mut self, start: usize) {
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn finish(mut self) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes
    }
}

fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

fn prefix(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}
