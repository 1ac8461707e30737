//! Session persistence: a token that the client brings back names the endpoint that answered first. It is sealed with a
//! key that all proxies of the mesh have, so that it shows no address, cannot be forged or prolonged, and is understood
//! by whichever proxy the client's next request comes through.

use super::{context::Context, endpoint::HttpEndpoint, router::HttpBackend};
use crate::{
    balance::Picked,
    control::model::outbound::{SessionKind, SessionPersistence},
};
use http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, SET_COOKIE},
};
use ring::{
    aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};
use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A token is given anew once this part of its idle time is over; not with every response.
const REFRESH_PART: u64 = 10;
/// Backend, address, port, beginning, last use.
const PLAIN_LEN: usize = 4 + 16 + 2 + 8 + 8;
const TAG_LEN: usize = 16;

pub struct Session {
    config: Arc<SessionPersistence>,
    key: SessionKey,
    random: SystemRandom,
}

#[derive(Clone)]
pub struct SessionKey(Arc<LessSafeKey>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Token {
    /// Which of a rule's backends, by [`HttpBackend::id`].
    backend: u32,
    endpoint: SocketAddr,
    /// Milliseconds of the epoch.
    began: u64,
    used: u64,
}

/// Where a request's session leads.
#[derive(Clone, Copy, Debug)]
pub struct Bound(Token);

impl SessionKey {
    /// The mesh's trust anchors are what all of its proxies know and no client outside of it needs to.
    pub fn of(trust_anchors: &str) -> Self {
        let secret = digest(&SHA256, format!("tulle session {trust_anchors}").as_bytes());
        let key = UnboundKey::new(&AES_128_GCM, &secret.as_ref()[..16]).expect("a digest is longer than the key");
        Self(Arc::new(LessSafeKey::new(key)))
    }
}

impl Context {
    pub(super) fn session(&self, config: &Arc<SessionPersistence>) -> Session {
        Session { config: config.clone(), key: self.session_key.clone(), random: SystemRandom::new() }
    }
}

impl Session {
    /// The session that a request belongs to, unless its time is over.
    pub fn read(&self, headers: &HeaderMap) -> Option<Bound> {
        let token = match &self.config.kind {
            SessionKind::Header(name) => self.open(headers.get(name)?.to_str().ok()?),
            SessionKind::Cookie { name, .. } => {
                let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
                let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.split_once('='));
                pairs.find_map(|(key, value)| if key.trim() == &**name { self.open(value.trim()) } else { None })
            }
        }?;
        let now = now_ms();
        let is_over = |since: u64, timeout: Option<Duration>| {
            timeout.is_some_and(|timeout| u128::from(now.saturating_sub(since)) >= timeout.as_millis())
        };
        let is_live =
            !is_over(token.began, self.config.absolute_timeout) && !is_over(token.used, self.config.idle_timeout);
        is_live.then_some(Bound(token))
    }

    /// The endpoint of the session, if it is still there and takes requests.
    pub fn find<'a>(
        bound: Bound,
        backends: impl Iterator<Item = &'a HttpBackend>,
    ) -> Option<(&'a HttpBackend, Picked<HttpEndpoint>)> {
        let mut of_id = backends.filter(|backend| backend.id == bound.0.backend);
        of_id.find_map(|backend| Some((backend, backend.to.find(bound.0.endpoint)?)))
    }

    /// Tells the client of a session: of a new one, and of one that goes on where it needs to know.
    pub fn write(&self, bound: Option<Bound>, backend: &HttpBackend, endpoint: SocketAddr, headers: &mut HeaderMap) {
        let now = now_ms();
        let endpoint = SocketAddr::new(endpoint.ip(), endpoint.port());
        let goes_on = bound.map(|b| b.0).filter(|t| t.backend == backend.id && t.endpoint == endpoint);
        let idle_ms = self.config.idle_timeout.map(|idle| u64::try_from(idle.as_millis()).unwrap_or(u64::MAX));
        if let Some(token) = goes_on {
            let is_fresh = idle_ms.is_none_or(|idle| now.saturating_sub(token.used) < idle / REFRESH_PART);
            // A cookie is the client's to keep; a header has to be seen to be sent back.
            if is_fresh && matches!(self.config.kind, SessionKind::Cookie { .. }) {
                return;
            }
        }
        let began = goes_on.map_or(now, |token| token.began);
        let Some(text) = self.seal(Token { backend: backend.id, endpoint, began, used: now }) else { return };
        match &self.config.kind {
            SessionKind::Header(name) => {
                if let Ok(value) = HeaderValue::try_from(text) {
                    headers.insert(name, value);
                }
            }
            SessionKind::Cookie { name, is_permanent } => {
                let mut cookie = format!("{name}={text}; Path=/; HttpOnly");
                if let (true, Some(timeout)) = (*is_permanent, self.config.absolute_timeout) {
                    let left = timeout.saturating_sub(Duration::from_millis(now.saturating_sub(began)));
                    cookie += &format!("; Max-Age={}", left.as_secs());
                }
                if let Ok(value) = HeaderValue::try_from(cookie) {
                    headers.append(SET_COOKIE, value);
                }
            }
        }
    }

    fn seal(&self, token: Token) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut sealed = nonce.to_vec();
        let mut plain = token.to_bytes().to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.0.seal_in_place_append_tag(nonce, Aad::empty(), &mut plain).ok()?;
        sealed.append(&mut plain);
        Some(encode(&sealed))
    }

    fn open(&self, text: &str) -> Option<Token> {
        let mut sealed = decode(text).filter(|bytes| bytes.len() == NONCE_LEN + PLAIN_LEN + TAG_LEN)?;
        let (nonce, rest) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        Token::from_bytes(self.key.0.open_in_place(nonce, Aad::empty(), rest).ok()?)
    }
}

impl Token {
    fn to_bytes(self) -> [u8; PLAIN_LEN] {
        let ip = match self.endpoint.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut bytes = [0; PLAIN_LEN];
        let (backend, rest) = bytes.split_at_mut(4);
        let (addr, rest) = rest.split_at_mut(16);
        let (port, rest) = rest.split_at_mut(2);
        let (began, used) = rest.split_at_mut(8);
        backend.copy_from_slice(&self.backend.to_be_bytes());
        addr.copy_from_slice(&ip.octets());
        port.copy_from_slice(&self.endpoint.port().to_be_bytes());
        began.copy_from_slice(&self.began.to_be_bytes());
        used.copy_from_slice(&self.used.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (backend, rest) = bytes.split_first_chunk()?;
        let (addr, rest) = rest.split_first_chunk::<16>()?;
        let (port, rest) = rest.split_first_chunk()?;
        let (began, used) = rest.split_first_chunk()?;
        let ip = IpAddr::V6(Ipv6Addr::from(*addr)).to_canonical();
        Some(Self {
            backend: u32::from_be_bytes(*backend),
            endpoint: SocketAddr::new(ip, u16::from_be_bytes(*port)),
            began: u64::from_be_bytes(*began),
            used: u64::from_be_bytes(used.try_into().ok()?),
        })
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base64 for URLs, without padding: every character may be in a cookie.
fn encode(bytes: &[u8]) -> String {
    let group = |chunk: &[u8]| {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..=chunk.len()).map(move |n| char::from(DIGITS[(word >> (18 - 6 * n) & 63) as usize])).collect::<Vec<_>>()
    };
    bytes.chunks(3).flat_map(group).collect()
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut word, mut bits) = (0u32, 0);
    for c in text.bytes() {
        let digit = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        word = (word << 6 | u32::from(digit)) & 0xFF_FFFF;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(kind: SessionKind, idle: Option<Duration>) -> Session {
        let config = SessionPersistence { kind, absolute_timeout: Some(Duration::from_secs(60)), idle_timeout: idle };
        Session { config: Arc::new(config), key: SessionKey::of("anchors"), random: SystemRandom::new() }
    }

    fn header() -> SessionKind {
        SessionKind::Header("x-session".parse().unwrap())
    }

    fn token(endpoint: &str, age_ms: u64) -> Token {
        let then = now_ms() - age_ms;
        Token { backend: 7, endpoint: endpoint.parse().unwrap(), began: then, used: then }
    }

    fn read(session: &Session, text: &str) -> Option<Token> {
        let headers = match &session.config.kind {
            SessionKind::Header(name) => HeaderMap::from_iter([(name.clone(), text.parse().unwrap())]),
            SessionKind::Cookie { name, .. } => {
                HeaderMap::from_iter([(COOKIE, format!("a=b; {name}={text}; c=d").parse().unwrap())])
            }
        };
        session.read(&headers).map(|bound| bound.0)
    }

    #[test]
    fn a_token_names_its_endpoint_and_does_not_show_it() {
        let cookie = SessionKind::Cookie { name: "id".into(), is_permanent: false };
        for endpoint in ["10.1.2.3:8080", "[fd00::1]:80"] {
            for session in [session(header(), None), session(cookie.clone(), None)] {
                let token = token(endpoint, 0);
                let text = session.seal(token).unwrap();
                assert_eq!(read(&session, &text), Some(token));
                assert!(!decode(&text).unwrap().windows(3).any(|w| w == [10, 1, 2]));
                let again = session.seal(token).unwrap();
                assert_ne!(text, again, "nobody can tell whose sessions share an endpoint");
            }
        }
    }

    #[test]
    fn what_was_changed_made_up_or_sealed_by_others_is_no_session() {
        let session = session(header(), None);
        let text = session.seal(token("10.0.0.1:80", 0)).unwrap();
        let mut other = text.clone().into_bytes();
        other[20] = if other[20] == b'A' { b'B' } else { b'A' };
        for bad in [String::from_utf8(other).unwrap(), text[1..].to_owned(), "10.0.0.1:80".into(), String::new()] {
            assert_eq!(read(&session, &bad), None, "{bad}");
        }
        let stranger = Session { key: SessionKey::of("other anchors"), ..self::session(header(), None) };
        assert_eq!(read(&stranger, &text), None);
    }

    #[test]
    fn sessions_end_with_their_times() {
        let session = session(header(), Some(Duration::from_secs(10)));
        let at = |age_ms| read(&session, &session.seal(token("10.0.0.1:80", age_ms)).unwrap()).is_some();
        assert!(at(9_000) && !at(10_000), "idle");
        let used = Token { used: now_ms(), ..token("10.0.0.1:80", 59_000) };
        assert!(read(&session, &session.seal(used).unwrap()).is_some());
        let old = Token { used: now_ms(), ..token("10.0.0.1:80", 60_000) };
        assert!(read(&session, &session.seal(old).unwrap()).is_none());
    }
}
