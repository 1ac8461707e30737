//! Whether a request that was let in may go on: asked again whenever the policy changes, while it waits for its response,
//! while that runs, and for as long as it is a pipe. Without a change it costs a look at a number.

use http::{HeaderMap, Method, Request, Uri};
use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
};

/// Who let a request in.
pub trait Authority: Send + Sync {
    /// Whether it would let the request in now. What it refuses it counts as ended.
    fn allows(&self, head: &Head) -> bool;

    fn changes(&self) -> &Changes;
}

/// What is kept of a request for the decision.
#[derive(Clone)]
pub struct Head {
    pub method: Method,
    pub uri: Uri,
    /// Kept only where the decision has looked at them.
    pub headers: Option<Box<HeaderMap>>,
}

impl Head {
    pub fn new<B>(request: &Request<B>, keeps_headers: bool) -> Self {
        let headers = keeps_headers.then(|| Box::new(request.headers().clone()));
        Self { method: request.method().clone(), uri: request.uri().clone(), headers }
    }
}

/// The changes of one policy, and who waits for the next.
#[derive(Default)]
pub struct Changes {
    number: AtomicU64,
    waiting: Mutex<Waiting>,
}

/// Places are used again, so that waiting seldom allocates.
#[derive(Default)]
struct Waiting {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Changes {
    /// How many there have been.
    pub fn number(&self) -> u64 {
        self.number.load(SeqCst)
    }

    /// Makes everybody who waits ask again.
    pub fn announce(&self) {
        self.number.fetch_add(1, SeqCst);
        self.lock().wakers.iter().flatten().for_each(Waker::wake_by_ref);
    }

    fn wait(&self, place: &mut Option<usize>, waker: &Waker) {
        let mut waiting = self.lock();
        let waiting = &mut *waiting;
        let at = *place.get_or_insert_with(|| {
            waiting.free.pop().unwrap_or_else(|| {
                waiting.wakers.push(None);
                waiting.wakers.len() - 1
            })
        });
        match &mut waiting.wakers[at] {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    fn leave(&self, place: usize) {
        let mut waiting = self.lock();
        waiting.wakers[place] = None;
        waiting.free.push(place);
        if waiting.free.len() == waiting.wakers.len() {
            waiting.wakers.clear();
            waiting.free.clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request's permission to go on.
pub struct Permission {
    by: Arc<dyn Authority>,
    head: Head,
    /// The number of changes that it has been asked about.
    seen: u64,
    place: Option<usize>,
}

impl Permission {
    /// `seen` is the number of changes from before the request was let in.
    pub fn new(by: Arc<dyn Authority>, head: Head, seen: u64) -> Self {
        Self { by, head, seen, place: None }
    }

    /// Whether it has ended.
    #[inline]
    pub fn is_revoked(&mut self) -> bool {
        let number = self.by.changes().number();
        if number == self.seen {
            return false;
        }
        self.seen = number;
        !self.by.allows(&self.head)
    }

    /// Ready when it ends; registers the task until then.
    pub fn poll_revoked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.by.changes().wait(&mut self.place, cx.waker());
        if self.is_revoked() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// What `future` comes to, or None if this ends before.
    pub async fn hold<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll_revoked(cx).map(|()| None),
        })
        .await
    }
}

/// The permission of the one response that an HTTP/1 connection sends. The connection asks about it as well as the
/// response: a client that reads nothing keeps the response from being asked for more.
#[derive(Default)]
pub struct Sending(Mutex<Option<Permission>>);

impl Sending {
    /// Ready when the response must not go on.
    pub fn poll_revoked(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.with(|permission| permission.poll_revoked(cx)).unwrap_or(Poll::Pending)
    }

    fn with<T>(&self, ask: impl FnOnce(&mut Permission) -> T) -> Option<T> {
        self.lock().as_mut().map(ask)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Permission>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a response goes on by.
pub enum Leave {
    Alone(Permission),
    Shared(Arc<Sending>),
}

impl Leave {
    pub fn new(permission: Permission, sending: Option<&Arc<Sending>>) -> Self {
        let Some(sending) = sending else { return Self::Alone(permission) };
        *sending.lock() = Some(permission);
        Self::Shared(sending.clone())
    }

    #[inline]
    pub fn is_revoked(&mut self) -> bool {
        match self {
            Self::Alone(permission) => permission.is_revoked(),
            Self::Shared(sending) => sending.with(Permission::is_revoked).unwrap_or(false),
        }
    }

    pub fn poll_revoked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Alone(permission) => permission.poll_revoked(cx),
            Self::Shared(sending) => sending.poll_revoked(cx),
        }
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        if let Self::Shared(sending) = self {
            *sending.lock() = None;
        }
    }
}

impl Clone for Permission {
    fn clone(&self) -> Self {
        Self { by: self.by.clone(), head: self.head.clone(), seen: self.seen, place: None }
    }
}

impl Drop for Permission {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.by.changes().leave(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use tokio::task::yield_now;

    #[derive(Default)]
    struct Door {
        is_shut: AtomicBool,
        asked: AtomicU64,
        changes: Changes,
    }

    impl Authority for Door {
        fn allows(&self, _: &Head) -> bool {
            self.asked.fetch_add(1, SeqCst);
            !self.is_shut.load(SeqCst)
        }

        fn changes(&self) -> &Changes {
            &self.changes
        }
    }

    fn permission(door: &Arc<Door>) -> Permission {
        let head = Head::new(&Request::new(()), false);
        Permission::new(door.clone(), head, door.changes.number())
    }

    #[tokio::test]
    async fn is_asked_once_for_each_change_and_ends_when_refused() {
        let door = Arc::new(Door::default());
        let mut permission = permission(&door);
        let running = tokio::spawn(async move { permission.hold(std::future::pending::<()>()).await });
        for changes in 1..3 {
            yield_now().await;
            door.changes.announce();
            yield_now().await;
            assert_eq!((door.asked.load(SeqCst), running.is_finished()), (changes, false));
        }
        door.is_shut.store(true, SeqCst);
        yield_now().await;
        assert!(!running.is_finished());
        door.changes.announce();
        assert_eq!(running.await.unwrap(), None);
        assert_eq!(door.asked.load(SeqCst), 3);
    }

    #[tokio::test]
    async fn what_is_done_first_is_not_asked_about_and_leaves_nothing() {
        let door = Arc::new(Door::default());
        let (mut one, mut other) = (permission(&door), permission(&door));
        assert_eq!(one.hold(async { 1 }).await, Some(1));
        assert_eq!(other.hold(async { yield_now().await }).await, Some(()));
        assert_eq!(door.asked.load(SeqCst), 0);
        assert_eq!(door.changes.lock().wakers.len(), 1);
        drop((one, other));
        assert!(door.changes.lock().wakers.is_empty());
    }

    #[test]
    fn a_change_while_the_request_was_let_in_is_not_missed() {
        let door = Arc::new(Door { is_shut: true.into(), ..Door::default() });
        let before = door.changes.number();
        door.changes.announce();
        let mut late = Permission::new(door.clone(), Head::new(&Request::new(()), false), before);
        assert!(late.is_revoked());
    }
}
