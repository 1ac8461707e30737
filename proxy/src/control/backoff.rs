//! Waiting between attempts: doubling, jittered, capped.

use super::model::outbound::Backoff;
use std::time::Duration;

/// Control planes on the same machine are back soon after a restart.
const LOCAL_MAX: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct Attempts {
    backoff: Backoff,
    failed: u32,
}

impl Attempts {
    pub fn new(mut backoff: Backoff, is_local: bool) -> Self {
        if is_local {
            backoff.max = backoff.max.min(LOCAL_MAX);
        }
        Self { backoff, failed: 0 }
    }

    /// After a success the next failure waits the minimum again.
    pub fn reset(&mut self) {
        self.failed = 0;
    }

    pub async fn wait(&mut self) {
        let delay = self.backoff.delay(self.failed);
        self.failed = self.failed.saturating_add(1);
        tokio::time::sleep(delay).await;
    }
}
