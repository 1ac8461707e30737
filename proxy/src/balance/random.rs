//! A small random generator for choices that need no secrecy.

use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
};

thread_local! {
    // Seeded by the standard library's per-process random keys; never 0, which xorshift cannot leave.
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0) | 1);
}

/// Evenly among 0..n; 0 when `n` is 0.
#[inline]
pub fn random_below(n: usize) -> usize {
    let mut x = STATE.get();
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    STATE.set(x);
    ((u128::from(x) * n as u128) >> 64) as usize
}
