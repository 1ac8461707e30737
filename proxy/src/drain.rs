//! Graceful shutdown. Every connection task holds a `Watch`; `Signal::drain` tells all of them to finish and waits until the
//! last `Watch` is dropped or the grace period is over.

use std::time::Duration;
use tokio::sync::watch;

pub struct Signal(watch::Sender<bool>);

#[derive(Clone)]
pub struct Watch(watch::Receiver<bool>);

pub fn channel() -> (Signal, Watch) {
    let (tx, rx) = watch::channel(false);
    (Signal(tx), Watch(rx))
}

impl Signal {
    /// Tells every holder to finish. True when all had let go within `grace`.
    pub async fn drain(self, grace: Duration) -> bool {
        self.0.send_replace(true);
        tokio::time::timeout(grace, self.0.closed()).await.is_ok()
    }
}

impl Watch {
    /// Resolves when draining has begun. Keep the `Watch` until the work is done: it is what the drain waits for.
    pub async fn signaled(&self) {
        let mut rx = self.0.clone();
        // An error means that the signal was dropped without draining, which is the end of the process as well.
        let _ = rx.wait_for(|draining| *draining).await;
    }

    pub fn is_draining(&self) -> bool {
        *self.0.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_for_the_last_holder() {
        let (signal, watch) = channel();
        let task = tokio::spawn(async move {
            watch.signaled().await;
            assert!(watch.is_draining());
        });
        assert!(signal.drain(Duration::from_secs(5)).await);
        task.await.expect("the holder ends by itself");
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_after_the_grace_period() {
        let (signal, watch) = channel();
        assert!(!signal.drain(Duration::from_secs(5)).await);
        drop(watch);
    }
}
