//! Endpoints by key: rendezvous hashing, seeded by nothing, so that every proxy with the same endpoints sends a key to
//! the same one, and an endpoint that comes or goes moves only the keys that are its own. No endpoint takes much more
//! than its share of the requests in flight.

use super::{Member, Peer};
use std::{net::SocketAddr, sync::Arc, time::Instant};

/// The same for the same bytes in every process and version.
pub fn hash(bytes: &[u8]) -> u64 {
    // FNV-1a, whose high bits are then mixed well.
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)))
}

pub fn hash_addr(addr: SocketAddr) -> u64 {
    match addr.ip().to_canonical() {
        std::net::IpAddr::V4(ip) => hash(&[&ip.octets()[..], &addr.port().to_be_bytes()].concat()),
        std::net::IpAddr::V6(ip) => hash(&[&ip.octets()[..], &addr.port().to_be_bytes()].concat()),
    }
}

/// The finalizer of MurmurHash3.
fn mix(mut h: u64) -> u64 {
    h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

/// The key's own endpoint, or the next in its order as long as endpoints are over `load_factor` times the mean.
/// None when no endpoint takes requests.
pub fn choose<P: Peer>(
    members: &[Arc<Member<P>>],
    key: u64,
    load_factor: f64,
    now: Instant,
) -> Option<&Arc<Member<P>>> {
    let mut candidates: Vec<_> =
        members.iter().filter(|m| m.takes_by_key(now)).map(|m| (score(key, m.place), m.load.pending(), m)).collect();
    let pending: u64 = candidates.iter().map(|(_, pending, _)| u64::from(*pending)).sum();
    let limit = limit(load_factor, pending, candidates.len());
    loop {
        // Nearly always the first is taken, so that sorting would be for nothing.
        let best = candidates.iter().enumerate().max_by_key(|(_, (score, ..))| *score)?.0;
        let (_, pending, member) = candidates.swap_remove(best);
        if u64::from(pending) < limit || candidates.is_empty() {
            return Some(member);
        }
    }
}

fn score(key: u64, place: u64) -> u64 {
    mix(key ^ place)
}

/// What one of `n` endpoints may have in flight once one more request is.
fn limit(load_factor: f64, pending: u64, n: usize) -> u64 {
    (load_factor * (pending + 1) as f64 / n.max(1) as f64).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_what_they_always_were() {
        assert_eq!(hash(b""), 0xefd0_1f60_ba99_2926);
        assert_eq!(hash(b"alice"), hash(b"alice"));
        let v4: SocketAddr = "10.0.0.1:80".parse().unwrap();
        let mapped: SocketAddr = "[::ffff:10.0.0.1]:80".parse().unwrap();
        assert_eq!(hash_addr(v4), hash_addr(mapped));
    }

    #[test]
    fn keys_are_shared_evenly_and_only_those_of_an_endpoint_that_goes_move() {
        let all: Vec<u64> = (1..=10).map(|n| hash_addr(SocketAddr::from(([10, 0, 0, n], 8080)))).collect();
        let place = |of: &[u64], key: u64| of.iter().copied().max_by_key(|place| score(key, *place)).expect("some");
        let mut counts = std::collections::HashMap::new();
        for n in 0..10_000 {
            let key = hash(format!("user-{n}").as_bytes());
            let own = place(&all, key);
            *counts.entry(own).or_insert(0) += 1;
            for gone in &all {
                let left: Vec<u64> = all.iter().copied().filter(|p| p != gone).collect();
                assert_eq!(place(&left, key) == own, own != *gone);
            }
        }
        assert!(counts.values().all(|n| (850..1150).contains(n)), "{counts:?}");
    }

    #[test]
    fn a_limit_is_never_below_what_must_go_somewhere() {
        assert_eq!(limit(1.25, 0, 3), 1);
        assert_eq!(limit(1.25, 99, 10), 13);
        assert_eq!(limit(1.0, 99, 10), 10);
    }
}
