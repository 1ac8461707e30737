//! How many requests the proxy works on at once, whatever the number of its workers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

#[derive(Clone)]
pub struct InFlight {
    count: Arc<AtomicUsize>,
    max: usize,
}

/// Held until the response's headers are there.
pub struct Permit(Arc<AtomicUsize>);

impl InFlight {
    pub fn new(max: usize) -> Self {
        Self { count: Arc::default(), max }
    }

    pub fn acquire(&self) -> Option<Permit> {
        let before = self.count.fetch_add(1, Relaxed);
        let permit = Permit(self.count.clone());
        (before < self.max).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_across_threads_and_gives_back() {
        let limit = InFlight::new(2);
        let other = limit.clone();
        let first = limit.acquire();
        let second = std::thread::spawn(move || other.acquire()).join().unwrap();
        assert!(first.is_some() && second.is_some());
        assert!(limit.acquire().is_none());
        drop(second);
        assert!(limit.acquire().is_some());
    }
}
