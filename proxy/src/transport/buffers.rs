//! Copy buffers, lent by a pool of the thread and given back whenever a connection has nothing to move, so that an
//! idle connection holds none.

use std::cell::RefCell;

/// One TLS record and a little more; measured as the knee for copies through the proxy.
pub const BUFFER_BYTES: usize = 16 * 1024;
/// At most 1 MiB per thread is kept for reuse; a burst's surplus goes back to the allocator.
const POOLED_MAX: usize = 64;

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

pub fn take() -> Box<[u8]> {
    POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice())
}

pub fn give_back(buffer: Box<[u8]>) {
    POOL.with_borrow_mut(|pool| {
        if pool.len() < POOLED_MAX {
            pool.push(buffer);
        }
    });
}
