//! Installs tables over netlink, in the message format of linux/netfilter/nf_tables.h: one batch, which the kernel applies
//! whole or not at all. Only what these rules need is written here; the crate for it lacks the redirect expression.

use super::{
    options::{PortRange, Subnet},
    rules::{Chain, Family, Hook, Match, Rule, TABLE, Table, Verdict},
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io::{self, Read, Write},
    net::IpAddr,
    time::Duration,
};

/// The kernel answers while it takes the batch; longer means that the answer is lost.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);
/// An acknowledgement repeats the message it is about; the largest of ours is below this.
const REPLY_BYTES_MAX: usize = 8192;

const NETLINK_NETFILTER: i32 = 12;
const SUBSYSTEM_NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = SUBSYSTEM_NFTABLES << 8;
const GET_TABLE: u16 = NEW_TABLE | 1;
const DELETE_TABLE: u16 = NEW_TABLE | 2;
const NEW_CHAIN: u16 = NEW_TABLE | 3;
const NEW_RULE: u16 = NEW_TABLE | 6;

const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const MESSAGE_ERROR: u16 = 2;
const NESTED: u16 = 0x8000;
const HEADER_BYTES: usize = 16;

const DSTNAT_PRIORITY: i32 = -100;
/// The loopback device has this index in every network namespace.
const LOOPBACK_INDEX: u32 = 1;
const REGISTER: u32 = 1;
const VERDICT_REGISTER: u32 = 0;
const VERDICT_RETURN: i32 = -5;

/// Puts `tables` in place of whatever tables of our name there are, in one transaction.
pub fn install(tables: &[Table]) -> io::Result<()> {
    let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(NETLINK_NETFILTER)))?;
    socket.set_read_timeout(Some(REPLY_TIMEOUT))?;
    let mut stale = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        if !tables.iter().any(|table| table.family == family) && has_table(&socket, family)? {
            stale.push(family);
        }
    }
    let batch = encode_batch(tables, &stale);
    transact(&socket, &batch)
}

fn has_table(socket: &Socket, family: Family) -> io::Result<bool> {
    let mut batch = Batch::default();
    batch.message(GET_TABLE, ACKNOWLEDGE, family_number(family), |attributes| attributes.text(1, TABLE));
    match transact(socket, &batch) {
        Ok(()) => Ok(true),
        // No such table, or no such family in this kernel.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EAFNOSUPPORT | libc::EOPNOTSUPP)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Sends the batch and waits for the acknowledgement of its last message or for the first error.
fn transact(socket: &Socket, batch: &Batch) -> io::Result<()> {
    let mut socket = socket;
    socket.write_all(&batch.bytes)?;
    let mut buffer = [0; REPLY_BYTES_MAX];
    loop {
        let length = socket.read(&mut buffer)?;
        let mut rest = &buffer[..length];
        while let Some((reply, after)) = split_message(rest) {
            rest = after;
            let word = |at: usize| Some(u32::from_ne_bytes(reply.get(at..at + 4)?.try_into().ok()?));
            let (Some(kind), Some(sequence)) = (word(4).map(|word| word as u16), word(8)) else {
                continue;
            };
            let code = word(HEADER_BYTES).unwrap_or_default() as i32;
            if kind == MESSAGE_ERROR && code != 0 {
                return Err(io::Error::from_raw_os_error(-code));
            }
            if kind == MESSAGE_ERROR && sequence == batch.awaited {
                return Ok(());
            }
        }
    }
}

fn split_message(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let message = bytes.get(..length.max(HEADER_BYTES))?;
    Some((message, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn encode_batch(tables: &[Table], stale: &[Family]) -> Batch {
    let mut batch = Batch::default();
    batch.message(BATCH_BEGIN, 0, 0, |_| {});
    for family in stale {
        batch.message(DELETE_TABLE, 0, family_number(*family), |attributes| attributes.text(1, TABLE));
    }
    for table in tables {
        let family = family_number(table.family);
        // Made so that it can be deleted, whether it was there or not, and made anew.
        batch.message(NEW_TABLE, CREATE, family, |attributes| attributes.text(1, TABLE));
        batch.message(DELETE_TABLE, 0, family, |attributes| attributes.text(1, TABLE));
        batch.message(NEW_TABLE, CREATE, family, |attributes| attributes.text(1, TABLE));
        for chain in &table.chains {
            batch.message(NEW_CHAIN, CREATE, family, |attributes| encode_chain(attributes, chain));
            for rule in &chain.rules {
                batch.message(NEW_RULE, CREATE | APPEND, family, |attributes| {
                    encode_rule(attributes, chain, rule);
                });
            }
        }
    }
    batch.acknowledge_last();
    batch.message(BATCH_END, 0, 0, |_| {});
    batch
}

fn family_number(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 2,
        Family::Ipv6 => 10,
    }
}

fn encode_chain(attributes: &mut Attributes, chain: &Chain) {
    let hook_number = match chain.hook {
        Hook::Prerouting => 0,
        Hook::Output => 3,
    };
    attributes.text(1, TABLE);
    attributes.text(3, chain.hook.name());
    attributes.nested(4, |hook| {
        hook.number(1, hook_number);
        hook.number(2, DSTNAT_PRIORITY as u32);
    });
    attributes.text(7, "nat");
}

fn encode_rule(attributes: &mut Attributes, chain: &Chain, rule: &Rule) {
    attributes.text(1, TABLE);
    attributes.text(2, chain.hook.name());
    attributes.nested(4, |list| {
        encode_match(list, &rule.condition);
        match rule.verdict {
            Verdict::Return => list.expression("immediate", |data| {
                data.number(1, VERDICT_REGISTER);
                data.nested(2, |value| value.nested(2, |verdict| verdict.number(1, VERDICT_RETURN as u32)));
            }),
            Verdict::Redirect(port) => {
                list.expression("immediate", |data| {
                    data.number(1, REGISTER);
                    data.value(2, &port.to_be_bytes());
                });
                list.expression("redir", |data| data.number(1, REGISTER));
            }
        }
    });
    // nft keeps a comment as a type, a length and a string with its end.
    let mut comment = vec![0, rule.comment.len() as u8 + 1];
    comment.extend(rule.comment.bytes());
    comment.push(0);
    attributes.bytes(7, &comment);
}

fn encode_match(list: &mut Attributes, condition: &Match) {
    match condition {
        Match::Mark(mark) => list.meta_is(3, &mark.to_ne_bytes()),
        Match::ToLoopback => list.meta_is(5, &LOOPBACK_INDEX.to_ne_bytes()),
        Match::SocketUid(uid) => list.meta_is(10, &uid.to_ne_bytes()),
        Match::SocketGid(gid) => list.meta_is(11, &gid.to_ne_bytes()),
        Match::Tcp => list.meta_is(16, &[libc::IPPROTO_TCP as u8]),
        Match::TcpPort(PortRange(first, last)) => {
            list.meta_is(16, &[libc::IPPROTO_TCP as u8]);
            list.payload(TRANSPORT_HEADER, 2, 2);
            if first == last {
                list.compare(&first.to_be_bytes());
            } else {
                list.expression("range", |data| {
                    data.number(1, REGISTER);
                    data.number(2, 0);
                    data.value(3, &first.to_be_bytes());
                    data.value(4, &last.to_be_bytes());
                });
            }
        }
        Match::From(subnet) => encode_source(list, subnet),
    }
}

const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;

fn encode_source(list: &mut Attributes, Subnet { address, prefix }: &Subnet) {
    let (offset, address) = match address {
        IpAddr::V4(address) => (12, address.octets().to_vec()),
        IpAddr::V6(address) => (8, address.octets().to_vec()),
    };
    let mask: Vec<u8> = (0..address.len())
        .map(|at| {
            let bits = usize::from(*prefix).saturating_sub(at * 8).min(8);
            !(0xff_u16 >> bits) as u8
        })
        .collect();
    let network: Vec<u8> = address.iter().zip(&mask).map(|(byte, mask)| byte & mask).collect();
    list.payload(NETWORK_HEADER, offset, address.len() as u32);
    list.expression("bitwise", |data| {
        data.number(1, REGISTER);
        data.number(2, REGISTER);
        data.number(3, mask.len() as u32);
        data.value(4, &mask);
        data.value(5, &vec![0; mask.len()]);
    });
    list.compare(&network);
}

/// Netlink messages, one after the other.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    last: usize,
    count: u32,
    awaited: u32,
}

impl Batch {
    fn message(&mut self, kind: u16, flags: u16, family: u8, write: impl FnOnce(&mut Attributes)) {
        self.last = self.bytes.len();
        self.count += 1;
        let flags = flags | REQUEST;
        if flags & ACKNOWLEDGE != 0 {
            self.awaited = self.count;
        }
        // The head of a batch names the subsystem, other messages leave it zero.
        let resource = if kind == BATCH_BEGIN || kind == BATCH_END { SUBSYSTEM_NFTABLES } else { 0 };
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(self.count.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        write(&mut Attributes(&mut self.bytes));
        let length = (self.bytes.len() - self.last) as u32;
        self.bytes[self.last..self.last + 4].copy_from_slice(&length.to_ne_bytes());
    }

    fn acknowledge_last(&mut self) {
        self.bytes[self.last + 6] |= ACKNOWLEDGE.to_ne_bytes()[0];
        self.bytes[self.last + 7] |= ACKNOWLEDGE.to_ne_bytes()[1];
        self.awaited = self.count;
    }
}

/// Attributes: length, type, payload, padded to four bytes. Numbers are big-endian.
struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    fn bytes(&mut self, kind: u16, payload: &[u8]) {
        self.0.extend((payload.len() as u16 + 4).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(payload);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn text(&mut self, kind: u16, text: &str) {
        self.bytes(kind, &[text.as_bytes(), &[0]].concat());
    }

    fn number(&mut self, kind: u16, number: u32) {
        self.bytes(kind, &number.to_be_bytes());
    }

    fn nested(&mut self, kind: u16, write: impl FnOnce(&mut Attributes)) {
        let start = self.0.len();
        self.bytes(kind | NESTED, &[]);
        write(&mut Attributes(self.0));
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn value(&mut self, kind: u16, value: &[u8]) {
        self.nested(kind, |data| data.bytes(1, value));
    }

    fn expression(&mut self, name: &str, write: impl FnOnce(&mut Attributes)) {
        self.nested(1, |element| {
            element.text(1, name);
            element.nested(2, write);
        });
    }

    fn payload(&mut self, base: u32, offset: u32, length: u32) {
        self.expression("payload", |data| {
            data.number(1, REGISTER);
            data.number(2, base);
            data.number(3, offset);
            data.number(4, length);
        });
    }

    fn compare(&mut self, value: &[u8]) {
        self.expression("cmp", |data| {
            data.number(1, REGISTER);
            data.number(2, 0);
            data.value(3, value);
        });
    }

    fn meta_is(&mut self, key: u32, value: &[u8]) {
        self.expression("meta", |data| {
            data.number(1, REGISTER);
            data.number(2, key);
        });
        self.compare(value);
    }
}
