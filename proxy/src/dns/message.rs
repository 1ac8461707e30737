//! DNS messages (RFC 1035, 2782, 3596): questions out, answers in. Answers come from the network and are never trusted.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

/// RFC 1035: a name is at most 255 bytes on the wire, a label at most 63.
const NAME_BYTES_MAX: usize = 255;
const LABEL_BYTES_MAX: usize = 63;
/// A compressed name of 255 bytes has at most 127 labels; more jumps than that is a loop.
const JUMPS_MAX: usize = 127;
/// Aliases that an answer may chain before the name it ends at.
const ALIASES_MAX: usize = 8;
const HEADER_BYTES: usize = 12;
const CLASS_IN: u16 = 1;
const TYPE_CNAME: u16 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordType {
    A = 1,
    Aaaa = 28,
    Srv = 33,
}

/// What a name server said to one question.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Records of the type asked for (none: the name exists without such records), and further addresses by name.
    Records {
        records: Vec<Record>,
        additional: Vec<Record>,
    },
    NoSuchName,
    /// The answer did not fit into the datagram.
    Truncated,
    /// The server failed or refused: another may do better.
    ServerFailure(u8),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Lower case, no final dot.
    pub name: String,
    pub ttl: Duration,
    pub data: Data,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    Address(IpAddr),
    Service { port: u16, target: String },
}

/// Why bytes are not an answer to the question.
#[derive(Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Another id, another question, or a question itself: keep waiting for the real answer.
    NotOurs,
    Malformed,
}

/// One question with recursion desired. `name` has no final dot. None when it is not a name that DNS can carry.
pub fn encode_question(id: u16, name: &str, record_type: RecordType) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(HEADER_BYTES + name.len() + 6);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&[0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        if label.is_empty() || label.len() > LABEL_BYTES_MAX || !label.is_ascii() {
            return None;
        }
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    if out.len() - HEADER_BYTES > NAME_BYTES_MAX {
        return None;
    }
    out.extend_from_slice(&(record_type as u16).to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    Some(out)
}

/// Reads the answer to `question` (as encoded above).
pub fn parse_answer(message: &[u8], question: &[u8]) -> Result<Answer, Rejected> {
    let header = message.get(..HEADER_BYTES).ok_or(Rejected::Malformed)?;
    let is_response = header[2] & 0x80 != 0;
    if header[..2] != question[..2] || !is_response {
        return Err(Rejected::NotOurs);
    }
    let mut reader = Reader { message, at: HEADER_BYTES };
    let question_type = check_question(&mut reader, header, question)?;
    let name = Reader { message: question, at: HEADER_BYTES }.name()?;
    if header[2] & 0x02 != 0 {
        return Ok(Answer::Truncated);
    }
    match header[3] & 0x0f {
        0 => {}
        3 => return Ok(Answer::NoSuchName),
        code => return Ok(Answer::ServerFailure(code)),
    }
    let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let mut answers = Vec::new();
    let mut aliases = Vec::new();
    for _ in 0..count(6) {
        match reader.record()? {
            Raw::Record(record) => answers.push(record),
            Raw::Alias { name, target, ttl } => aliases.push((name, target, ttl)),
            Raw::Other => {}
        }
    }
    for _ in 0..count(8) {
        reader.record()?;
    }
    let mut additional = Vec::new();
    for _ in 0..count(10) {
        if let Raw::Record(record) = reader.record()? {
            additional.push(record);
        }
    }
    Ok(Answer::Records { records: follow_aliases(name, question_type, answers, &aliases), additional })
}

/// The question must come back as it was asked. Names compare without case.
fn check_question(reader: &mut Reader<'_>, header: &[u8], question: &[u8]) -> Result<u16, Rejected> {
    if header[4..6] != [0, 1] {
        return Err(Rejected::NotOurs);
    }
    let start = reader.at;
    reader.name()?;
    let record_type = reader.u16()?;
    let class = reader.u16()?;
    if class != CLASS_IN || !reader.message[start..reader.at].eq_ignore_ascii_case(&question[HEADER_BYTES..]) {
        return Err(Rejected::NotOurs);
    }
    Ok(record_type)
}

/// Keeps the records of the asked type that belong to the name or to what it is an alias of.
fn follow_aliases(
    name: String,
    record_type: u16,
    answers: Vec<Record>,
    aliases: &[(String, String, Duration)],
) -> Vec<Record> {
    let mut owner = name;
    let mut ttl_max = Duration::MAX;
    for _ in 0..ALIASES_MAX {
        let Some((_, target, ttl)) = aliases.iter().find(|(from, _, _)| *from == owner) else {
            break;
        };
        owner.clone_from(target);
        ttl_max = ttl_max.min(*ttl);
    }
    let is_wanted = |data: &Data| match data {
        Data::Address(IpAddr::V4(_)) => record_type == RecordType::A as u16,
        Data::Address(IpAddr::V6(_)) => record_type == RecordType::Aaaa as u16,
        Data::Service { .. } => record_type == RecordType::Srv as u16,
    };
    answers
        .into_iter()
        .filter(|record| record.name == owner && is_wanted(&record.data))
        .map(|record| Record { ttl: record.ttl.min(ttl_max), ..record })
        .collect()
}

enum Raw {
    Record(Record),
    Alias { name: String, target: String, ttl: Duration },
    Other,
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn bytes(&mut self, count: usize) -> Result<&[u8], Rejected> {
        let end = self.at.checked_add(count).ok_or(Rejected::Malformed)?;
        let bytes = self.message.get(self.at..end).ok_or(Rejected::Malformed)?;
        self.at = end;
        Ok(bytes)
    }

    fn u16(&mut self) -> Result<u16, Rejected> {
        let bytes = self.bytes(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, Rejected> {
        Ok(u32::from(self.u16()?) << 16 | u32::from(self.u16()?))
    }

    /// A name, with compression followed; lower case, no final dot.
    fn name(&mut self) -> Result<String, Rejected> {
        let mut name = String::new();
        let mut at = self.at;
        let mut end = None;
        let mut jumps = 0;
        loop {
            let length = usize::from(*self.message.get(at).ok_or(Rejected::Malformed)?);
            match length {
                0 => break,
                1..=LABEL_BYTES_MAX => {
                    let label = self.message.get(at + 1..at + 1 + length).ok_or(Rejected::Malformed)?;
                    if name.len() + 1 + length > NAME_BYTES_MAX {
                        return Err(Rejected::Malformed);
                    }
                    if !name.is_empty() {
                        name.push('.');
                    }
                    name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
                    at += 1 + length;
                }
                _ if length & 0xc0 == 0xc0 => {
                    let low = *self.message.get(at + 1).ok_or(Rejected::Malformed)?;
                    end.get_or_insert(at + 2);
                    jumps += 1;
                    if jumps > JUMPS_MAX {
                        return Err(Rejected::Malformed);
                    }
                    at = (length & 0x3f) << 8 | usize::from(low);
                }
                _ => return Err(Rejected::Malformed),
            }
        }
        self.at = end.unwrap_or(at + 1);
        Ok(name)
    }

    fn record(&mut self) -> Result<Raw, Rejected> {
        let name = self.name()?;
        let record_type = self.u16()?;
        let class = self.u16()?;
        // RFC 2181: a TTL with the top bit set counts as zero.
        let ttl = Duration::from_secs(u64::from(i32::try_from(self.u32()?).unwrap_or(0).unsigned_abs()));
        let length = usize::from(self.u16()?);
        let start = self.at;
        let end = start + length;
        if end > self.message.len() {
            return Err(Rejected::Malformed);
        }
        let raw = if class == CLASS_IN { self.data(name, record_type, ttl, length)? } else { Raw::Other };
        if self.at > end {
            return Err(Rejected::Malformed);
        }
        self.at = end;
        Ok(raw)
    }

    fn data(&mut self, name: String, record_type: u16, ttl: Duration, length: usize) -> Result<Raw, Rejected> {
        let data = if record_type == RecordType::A as u16 {
            let octets: [u8; 4] = self.bytes(length)?.try_into().map_err(|_| Rejected::Malformed)?;
            Data::Address(Ipv4Addr::from(octets).into())
        } else if record_type == RecordType::Aaaa as u16 {
            let octets: [u8; 16] = self.bytes(length)?.try_into().map_err(|_| Rejected::Malformed)?;
            Data::Address(Ipv6Addr::from(octets).into())
        } else if record_type == RecordType::Srv as u16 {
            self.bytes(4)?;
            let port = self.u16()?;
            Data::Service { port, target: self.name()? }
        } else if record_type == TYPE_CNAME {
            return Ok(Raw::Alias { name, target: self.name()?, ttl });
        } else {
            return Ok(Raw::Other);
        };
        Ok(Raw::Record(Record { name, ttl, data }))
    }
}

#[cfg(test)]
mod tests;
