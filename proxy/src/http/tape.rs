//! Keeps what passes of a request's body, so that the request can be sent again, or to somebody else as well, without
//! waiting for the body before it is sent first.

use super::{Body, BodyError};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};
use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

/// What has been kept. Nothing is, once the body is longer than the limit.
#[derive(Clone)]
pub struct Tape(Arc<Mutex<State>>);

struct State {
    data: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    len: usize,
    limit: usize,
    is_complete: bool,
    is_over: bool,
    waiting: Vec<Listener>,
    /// What has not been read yet, where whoever read it has given up.
    rest: Option<Body>,
}

/// Called with a copy of the body; dropped without where there is none.
type Listener = Box<dyn FnOnce(Body) + Send>;

/// A body that is kept as it passes.
pub struct Taped {
    body: Body,
    tape: Tape,
    /// At its end, or broken.
    is_done: bool,
}

/// Frames that have been read already, and the body that they were read from.
#[derive(Default)]
pub struct Held {
    frames: VecDeque<Result<Frame<Bytes>, BodyError>>,
    rest: Option<Body>,
}

impl Tape {
    /// None where the body says that it is longer than `limit`: it is left as it is.
    pub fn record(body: &mut Body, limit: usize) -> Option<Self> {
        let is_complete = body.is_end_stream();
        if body.size_hint().lower() > limit as u64 {
            return None;
        }
        let state = State {
            data: Vec::new(),
            trailers: None,
            len: 0,
            limit,
            is_complete,
            is_over: false,
            waiting: Vec::new(),
            rest: None,
        };
        let tape = Self(Arc::new(Mutex::new(state)));
        if !is_complete {
            *body = tape.pass(std::mem::take(body));
        }
        Some(tape)
    }

    /// The body again from its beginning, unless not all of it has been kept or somebody is reading it still.
    pub fn replay(&self) -> Option<Body> {
        let mut state = self.lock();
        match state.is_over {
            true => None,
            false if state.is_complete => Some(state.copy()),
            false => {
                let rest = state.rest.take()?;
                let frames = state.data.iter().cloned().map(|data| Ok(Frame::data(data))).collect();
                Some(Body::held(Held { frames, rest: Some(self.pass(rest)) }))
            }
        }
    }

    fn pass(&self, body: Body) -> Body {
        Body::taped(Taped { body, tape: self.clone(), is_done: false })
    }

    /// Calls `listener` once all of the body has passed, unless it turns out to be too long or breaks off.
    pub fn when_complete(&self, listener: Listener) {
        let mut state = self.lock();
        match (state.is_over, state.is_complete) {
            (true, _) => {}
            (false, false) => state.waiting.push(listener),
            (false, true) => {
                let body = state.copy();
                drop(state);
                listener(body);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complete(&self) {
        let mut state = self.lock();
        state.is_complete = true;
        let waiting: Vec<_> = std::mem::take(&mut state.waiting).into_iter().map(|w| (w, state.copy())).collect();
        drop(state);
        for (listener, body) in waiting {
            listener(body);
        }
    }
}

impl State {
    fn copy(&self) -> Body {
        let data = self.data.iter().cloned().map(Frame::data);
        let frames = data.chain(self.trailers.clone().map(Frame::trailers)).map(Ok).collect();
        Body::held(Held { frames, rest: None })
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref().filter(|data| !data.is_empty()) {
            self.len += data.len();
            self.is_over |= self.len > self.limit;
            self.data.push(data.clone());
        }
        self.trailers = frame.trailers_ref().cloned();
        if self.is_over {
            self.data = Vec::new();
            self.waiting = Vec::new();
        }
    }
}

impl Taped {
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let is_end = match &frame {
            None => true,
            Some(Ok(frame)) => {
                self.tape.lock().keep(frame);
                frame.is_trailers() || self.body.is_end_stream()
            }
            Some(Err(_)) => {
                self.is_done = true;
                false
            }
        };
        if is_end && !self.is_done {
            self.is_done = true;
            self.tape.complete();
        }
        Poll::Ready(frame)
    }

    pub fn body(&self) -> &Body {
        &self.body
    }
}

impl Drop for Taped {
    fn drop(&mut self) {
        if !self.is_done {
            self.tape.lock().rest = Some(std::mem::take(&mut self.body));
        }
    }
}

impl Held {
    /// Reads on until it is known how a gRPC response ends, or that it has data: its first frame, and the next one if
    /// that is there already. The trailers, if they were reached, are beside the body.
    pub async fn peek(mut body: Body) -> (Body, Option<HeaderMap>) {
        let mut frames = VecDeque::new();
        let first = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let is_data = matches!(&first, Some(Ok(frame)) if frame.is_data());
        frames.extend(first);
        if is_data && !body.is_end_stream() {
            let next = std::future::poll_fn(|cx| match Pin::new(&mut body).poll_frame(cx) {
                Poll::Ready(frame) => Poll::Ready(frame),
                Poll::Pending => Poll::Ready(None),
            });
            frames.extend(next.await);
        }
        let last = frames.back().and_then(|frame| frame.as_ref().ok());
        let trailers = last.and_then(Frame::trailers_ref).cloned();
        (Body::held(Self { frames, rest: Some(body) }), trailers)
    }

    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match (self.frames.pop_front(), &mut self.rest) {
            (Some(frame), _) => Poll::Ready(Some(frame)),
            (None, Some(rest)) if !rest.is_end_stream() => Pin::new(rest).poll_frame(cx),
            (None, _) => Poll::Ready(None),
        }
    }

    pub fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && self.rest.as_ref().is_none_or(|rest| rest.is_end_stream())
    }

    /// None where it is not known: what follows, or trailers, which need a form without a length.
    pub fn bytes(&self) -> Option<u64> {
        if !self.rest.as_ref().is_none_or(|rest| rest.is_end_stream()) {
            return None;
        }
        let len = |frame: &Result<Frame<Bytes>, _>| frame.as_ref().ok()?.data_ref().map(|data| data.len() as u64);
        self.frames.iter().map(len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    fn frames(frames: Vec<Frame<Bytes>>) -> Body {
        Body::held(Held { frames: frames.into_iter().map(Ok).collect(), rest: None })
    }

    fn data(text: &'static str) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(text.as_bytes()))
    }

    fn trailers() -> Frame<Bytes> {
        Frame::trailers(HeaderMap::from_iter([("grpc-status".parse().unwrap(), "14".parse().unwrap())]))
    }

    async fn text(body: Body) -> (Bytes, Option<HeaderMap>) {
        let all = body.collect().await.unwrap();
        let trailers = all.trailers().cloned();
        (all.to_bytes(), trailers)
    }

    #[tokio::test]
    async fn what_has_passed_can_be_had_again_with_its_trailers() {
        let mut body = frames(vec![data("ab"), data("c"), trailers()]);
        let tape = Tape::record(&mut body, 3).unwrap();
        assert!(tape.replay().is_none(), "before the end there is nothing to send");
        let first = text(body).await;
        assert_eq!((&first.0[..], first.1.is_some()), (&b"abc"[..], true));
        for _ in 0..2 {
            assert_eq!(text(tape.replay().unwrap()).await, first);
        }
    }

    #[tokio::test]
    async fn what_is_too_long_passes_and_is_not_kept() {
        let mut known = Body::from(Bytes::from_static(b"abcd"));
        assert!(Tape::record(&mut known, 3).is_none());
        let mut unknown = frames(vec![data("ab"), data("cd"), trailers()]);
        let tape = Tape::record(&mut unknown, 3).unwrap();
        tape.when_complete(Box::new(|_| panic!("not all of it is kept")));
        assert_eq!(&text(unknown).await.0[..], b"abcd");
        assert!(tape.replay().is_none());
    }

    #[tokio::test]
    async fn who_gives_up_leaves_the_rest_to_the_next() {
        let mut body = frames(vec![data("ab"), data("cd"), trailers()]);
        let tape = Tape::record(&mut body, 10).unwrap();
        body.frame().await.unwrap().unwrap();
        assert!(tape.replay().is_none(), "somebody reads it");
        drop(body);
        let mut again = tape.replay().unwrap();
        again.frame().await.unwrap().unwrap();
        drop(again);
        let (all, trailers) = text(tape.replay().unwrap()).await;
        assert_eq!((&all[..], trailers.is_some()), (&b"abcd"[..], true));
        assert_eq!(&text(tape.replay().unwrap()).await.0[..], b"abcd");
    }

    #[tokio::test]
    async fn who_waits_gets_a_copy_at_the_end_or_at_once() {
        static CALLS: AtomicU32 = AtomicU32::new(0);
        let listener = || -> Listener {
            Box::new(|body| {
                assert_eq!(body.size_hint().exact(), Some(2));
                CALLS.fetch_add(1, Relaxed);
            })
        };
        let mut body = frames(vec![data("ab")]);
        let tape = Tape::record(&mut body, 10).unwrap();
        tape.when_complete(listener());
        assert_eq!(CALLS.load(Relaxed), 0);
        text(body).await;
        tape.when_complete(listener());
        assert_eq!(CALLS.load(Relaxed), 2);
        let mut empty = Body::empty();
        assert!(Tape::record(&mut empty, 0).unwrap().replay().unwrap().is_end_stream());
    }

    #[tokio::test]
    async fn a_peek_finds_trailers_and_loses_nothing() {
        for (all, is_found) in [
            (vec![trailers()], true),
            (vec![data("a"), trailers()], true),
            (vec![data("a"), data("b"), trailers()], false),
            (vec![], false),
        ] {
            let len = all.iter().filter(|f| f.is_data()).count();
            let has_trailers = all.iter().any(Frame::is_trailers);
            let (body, found) = Held::peek(frames(all)).await;
            assert_eq!(found.is_some(), is_found);
            let (data, trailers) = text(body).await;
            assert_eq!((data.len(), trailers.is_some()), (len, has_trailers));
        }
    }
}
