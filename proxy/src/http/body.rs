//! The one body type of the data path, whatever it comes from, with an observer for what is counted about it.

use super::{
    access_log::AccessLog,
    error::BodyError,
    permission::Leave,
    stats::Upload,
    tape::{Held, Taped},
    track::Tracker,
};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, ready},
};

#[derive(Default)]
pub struct Body {
    kind: Kind,
    /// Told of the first data and of the end; absent on bodies that nobody counts.
    tracker: Option<Box<Tracker>>,
    /// Written when the body is done with.
    log: Option<Box<AccessLog>>,
    /// On requests.
    upload: Option<Arc<Upload>>,
}

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Full(Bytes),
    Hyper(hyper::body::Incoming),
    /// `_in_use` tells the connection that it is.
    H2 {
        stream: h2::RecvStream,
        is_data_done: bool,
        _in_use: Option<Arc<()>>,
    },
    Taped(Box<Taped>),
    Held(Box<Held>),
    Timed(Arc<Timed>),
}

/// A response whose time somebody else than its reader watches as well: a reader that cannot pass anything on asks for
/// nothing.
pub struct Timed(Mutex<Body>);

impl Timed {
    /// Ready once the response has to end, because its time is over: it has been counted so.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<BodyError> {
        self.lock().poll_interrupt(cx)
    }

    fn lock(&self) -> MutexGuard<'_, Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Body {
    pub fn empty() -> Self {
        Self::default()
    }

    pub fn h2(stream: h2::RecvStream) -> Self {
        Self::from_h2(stream, None)
    }

    /// Holds `in_use` until the body is done with.
    pub fn h2_held(stream: h2::RecvStream, in_use: Arc<()>) -> Self {
        Self::from_h2(stream, Some(in_use))
    }

    fn from_h2(stream: h2::RecvStream, in_use: Option<Arc<()>>) -> Self {
        match stream.is_end_stream() {
            true => Self::empty(),
            false => Kind::H2 { stream, is_data_done: false, _in_use: in_use }.into(),
        }
    }

    pub fn hyper(incoming: hyper::body::Incoming) -> Self {
        match incoming.is_end_stream() {
            true => Self::empty(),
            false => Kind::Hyper(incoming).into(),
        }
    }

    pub fn taped(taped: Taped) -> Self {
        Kind::Taped(Box::new(taped)).into()
    }

    pub fn held(held: Held) -> Self {
        if held.is_end_stream() { Self::empty() } else { Kind::Held(Box::new(held)).into() }
    }

    /// For whoever watches the time of this response while nobody reads it; None where it has no such time.
    pub fn share_timeout(&mut self) -> Option<Weak<Timed>> {
        self.tracker.as_ref()?.watchdog.as_ref()?;
        let timed = Arc::new(Timed(Mutex::new(std::mem::take(self))));
        let watched = Arc::downgrade(&timed);
        self.kind = Kind::Timed(timed);
        Some(watched)
    }

    /// Whether the stream is to end that this body is the response of; for whoever cannot send more of it.
    pub fn poll_interrupt(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let Some(tracker) = &mut self.tracker else { return Poll::Pending };
        let error = ready!(tracker.poll_interrupt(cx));
        if let Some(mut tracker) = self.tracker.take() {
            tracker.fail(&error);
        }
        Poll::Ready(error)
    }

    /// Ends the body before its end.
    fn interrupt(&mut self, error: BodyError) -> Option<Result<Frame<Bytes>, BodyError>> {
        self.kind = Kind::Empty;
        Some(Err(error))
    }

    /// The stream that this body is the response of ends with the permission.
    pub fn set_permission(&mut self, permission: Leave) {
        self.tracker.get_or_insert_with(Tracker::of_nothing).permission = Some(permission);
    }

    /// The tracker is told at once if there is nothing to wait for.
    pub fn set_tracker(&mut self, mut tracker: Box<Tracker>) {
        if self.is_end_stream() {
            tracker.end(None);
        } else {
            self.tracker = Some(tracker);
        }
    }

    /// It is told of all data and of the end.
    pub fn set_upload(&mut self, upload: Arc<Upload>) {
        self.upload = Some(upload);
    }

    pub fn set_log(&mut self, log: Box<AccessLog>) {
        self.log = Some(log);
    }

    fn poll_kind(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.kind = Kind::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Kind::Hyper(incoming) => Pin::new(incoming).poll_frame(cx).map_err(BodyError::from),
            Kind::H2 { stream, is_data_done, .. } => {
                if !*is_data_done {
                    match ready!(stream.poll_data(cx)) {
                        Some(Ok(bytes)) => {
                            // What has been handed on is no longer buffered here; the next hop has its own limit.
                            let _ = stream.flow_control().release_capacity(bytes.len());
                            return Poll::Ready(Some(Ok(Frame::data(bytes))));
                        }
                        Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                        None => *is_data_done = true,
                    }
                }
                match ready!(stream.poll_trailers(cx)) {
                    Ok(trailers) => {
                        self.kind = Kind::Empty;
                        Poll::Ready(trailers.map(|t| Ok(Frame::trailers(t))))
                    }
                    Err(error) => Poll::Ready(Some(Err(error.into()))),
                }
            }
            Kind::Taped(taped) => taped.poll_frame(cx),
            Kind::Held(held) => held.poll_frame(cx),
            Kind::Timed(timed) => Pin::new(&mut *timed.lock()).poll_frame(cx),
        }
    }
}

impl From<Kind> for Body {
    fn from(kind: Kind) -> Self {
        Self { kind, ..Self::default() }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::empty() } else { Kind::Full(bytes).into() }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = match (this.poll_kind(cx), &mut this.tracker) {
            (Poll::Pending, None) => return Poll::Pending,
            (Poll::Pending, Some(tracker)) => {
                let error = ready!(tracker.poll_interrupt(cx));
                this.interrupt(error)
            }
            (Poll::Ready(Some(Ok(frame))), Some(tracker)) => match tracker.interrupts() {
                Some(error) => this.interrupt(error),
                None => Some(Ok(frame)),
            },
            (Poll::Ready(frame), _) => frame,
        };
        if let (Some(log), Some(Ok(frame))) = (&mut this.log, &frame) {
            log.data(frame.data_ref().map_or(0, Bytes::len));
        }
        if let Some(upload) = &this.upload {
            match &frame {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        upload.data(data.len());
                    }
                    if frame.is_trailers() || this.kind.is_end_stream() {
                        upload.end();
                    }
                }
                Some(Err(_)) | None => upload.end(),
            }
        }
        let Some(tracker) = &mut this.tracker else { return Poll::Ready(frame) };
        match frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    tracker.data(data.len());
                }
                if let Some(trailers) = frame.trailers_ref() {
                    tracker.end(Some(trailers));
                    this.tracker = None;
                } else if this.kind.is_end_stream() {
                    tracker.end(None);
                    this.tracker = None;
                }
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                tracker.end(None);
                this.tracker = None;
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                let rescued = tracker.fail(&error);
                this.tracker = None;
                match rescued {
                    Some(trailers) => {
                        this.kind = Kind::Empty;
                        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
                    }
                    None => Poll::Ready(Some(Err(error))),
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.kind.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Hyper(incoming) => incoming.size_hint(),
            Kind::H2 { .. } => SizeHint::default(),
            Kind::Taped(taped) => taped.body().size_hint(),
            Kind::Held(held) => held.bytes().map_or_else(SizeHint::default, SizeHint::with_exact),
            Kind::Timed(timed) => timed.lock().size_hint(),
        }
    }
}

impl Kind {
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Hyper(incoming) => incoming.is_end_stream(),
            Self::H2 { stream, .. } => stream.is_end_stream(),
            Self::Taped(taped) => taped.body().is_end_stream(),
            Self::Held(held) => held.is_end_stream(),
            Self::Timed(timed) => timed.lock().is_end_stream(),
        }
    }
}
