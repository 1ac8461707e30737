//! Values of one worker that are kept for a while after their last user, so that what comes next finds them warm.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

/// Sweeps are at least this far apart, whatever the idle time.
const SWEEP_MIN: Duration = Duration::from_millis(100);

pub struct IdleCache<K, V> {
    entries: Mutex<HashMap<K, (Arc<V>, Instant)>>,
    idle: Duration,
}

impl<K: Eq + Hash + Send + 'static, V: Send + Sync + 'static> IdleCache<K, V> {
    pub fn new(idle: Duration) -> Arc<Self> {
        Arc::new(Self { entries: Mutex::default(), idle })
    }

    pub fn get(&self, key: &K) -> Option<Arc<V>> {
        self.lock().get(key).map(|(value, _)| value.clone())
    }

    /// The value that is there already, or this one. Forgotten once nobody else has held it for the idle time.
    pub fn get_or_insert(self: &Arc<Self>, key: K, value: impl FnOnce() -> Arc<V>) -> Arc<V> {
        let mut entries = self.lock();
        let is_first = entries.is_empty();
        let value = entries.entry(key).or_insert_with(|| (value(), Instant::now())).0.clone();
        if is_first {
            tokio::spawn(sweep(Arc::downgrade(self), self.idle.max(SWEEP_MIN)));
        }
        value
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, (Arc<V>, Instant)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs while there are entries.
async fn sweep<K: Eq + Hash + Send + 'static, V: Send + Sync + 'static>(cache: Weak<IdleCache<K, V>>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(cache) = cache.upgrade() else { return };
        let mut entries = cache.lock();
        let now = Instant::now();
        entries.retain(|_, (value, used)| {
            if Arc::strong_count(value) > 1 {
                *used = now;
            }
            now - *used < cache.idle
        });
        if entries.is_empty() {
            entries.shrink_to_fit();
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_what_is_held_and_forgets_the_rest() {
        let cache = IdleCache::new(Duration::from_millis(1));
        let held = cache.get_or_insert(1, || Arc::new("held"));
        let dropped = Arc::downgrade(&cache.get_or_insert(2, || Arc::new("idle")));
        while dropped.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(cache.get(&1).is_some_and(|v| Arc::ptr_eq(&v, &held)));
    }
}
