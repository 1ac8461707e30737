//! What can go wrong with a request, and the answer to it: one table for both directions.

use super::{Body, timeouts::TimedOut};
use crate::{BoxError, transport::connect::ConnectError};
use http::{HeaderName, HeaderValue, Response, StatusCode, Version, header};
use std::{error::Error as _, fmt, io};

pub static L5D_PROXY_ERROR: HeaderName = HeaderName::from_static("l5d-proxy-error");
pub static L5D_PROXY_CONNECTION: HeaderName = HeaderName::from_static("l5d-proxy-connection");
static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Why a request got no answer from its server.
#[derive(Debug)]
pub enum Error {
    /// No endpoint became ready in time.
    FailFast,
    /// Too many requests in flight.
    LoadShed,
    Connect(ConnectError),
    /// The connection failed after the request was sent, or broke HTTP.
    Upstream(BodyError),
    /// A backend that cannot be obeyed or that has no kind.
    NoBackend,
    RequiredIdentity,
    NoRoute,
    Unauthorized,
    RateLimited,
    GatewayLoop,
    BadRequest(&'static str),
    /// A failure that a route's filter asks for.
    Injected {
        status: StatusCode,
        message: Box<str>,
    },
    InjectedGrpc {
        code: u16,
        message: Box<str>,
    },
    Redirect {
        status: StatusCode,
        location: HeaderValue,
    },
    InvalidPolicy(Box<str>),
    /// A time that the route gives was over.
    TimedOut(TimedOut),
}

/// Why a body ended early.
#[derive(Debug)]
pub enum BodyError {
    H2(h2::Error),
    Hyper(hyper::Error),
    TimedOut(TimedOut),
    /// The policy no longer allows what runs; the code to reset its stream with.
    Revoked(h2::Reason),
    Other(BoxError),
}

impl BodyError {
    /// The reset code to pass on, when the peer chose one.
    pub fn reason(&self) -> Option<h2::Reason> {
        match self {
            Self::H2(error) => error.reason(),
            Self::Hyper(error) => {
                let mut source = error.source();
                while let Some(error) = source {
                    if let Some(error) = error.downcast_ref::<h2::Error>() {
                        return error.reason();
                    }
                    if let Some(error) = error.downcast_ref::<BodyError>() {
                        return error.reason();
                    }
                    source = error.source();
                }
                None
            }
            Self::Revoked(reason) => Some(*reason),
            Self::TimedOut(_) | Self::Other(_) => None,
        }
    }

    /// Whether the peer reset this stream, and not the connection.
    pub fn is_reset(&self) -> bool {
        matches!(self, Self::H2(error) if error.is_reset() && error.is_remote())
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::H2(error) => error.fmt(f),
            Self::Hyper(error) => error.fmt(f),
            Self::TimedOut(why) => why.fmt(f),
            Self::Revoked(_) => Error::Unauthorized.fmt(f),
            Self::Other(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::H2(error) => Some(error),
            Self::Hyper(error) => Some(error),
            Self::TimedOut(_) | Self::Revoked(_) => None,
            Self::Other(error) => Some(&**error),
        }
    }
}

impl From<h2::Error> for BodyError {
    fn from(error: h2::Error) -> Self {
        Self::H2(error)
    }
}

impl From<hyper::Error> for BodyError {
    fn from(error: hyper::Error) -> Self {
        Self::Hyper(error)
    }
}

impl From<io::Error> for BodyError {
    fn from(error: io::Error) -> Self {
        Self::Other(error.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailFast => f.write_str("no endpoint became ready in time"),
            Self::LoadShed => f.write_str("too many requests in flight"),
            Self::Connect(error) => error.fmt(f),
            Self::Upstream(error) => error.fmt(f),
            Self::NoBackend => f.write_str("the route has no backend"),
            Self::RequiredIdentity => f.write_str("the server does not have the required identity"),
            Self::NoRoute => f.write_str("no route matches the request"),
            Self::Unauthorized => f.write_str("client not authorized"),
            Self::RateLimited => f.write_str("rate limit exceeded"),
            Self::GatewayLoop => f.write_str("the gateway would forward to itself"),
            Self::BadRequest(message) => f.write_str(message),
            Self::Injected { message, .. } | Self::InjectedGrpc { message, .. } => f.write_str(message),
            Self::Redirect { .. } => f.write_str("redirected"),
            Self::InvalidPolicy(message) => write!(f, "invalid policy: {message}"),
            Self::TimedOut(why) => why.fmt(f),
        }
    }
}

/// What the answer to a failed request depends on.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    pub version: Version,
    pub is_grpc: bool,
    /// An HTTP/1 request that another proxy carries over HTTP/2.
    pub is_carried: bool,
    /// Whether `l5d-proxy-*` and messages may be shown.
    pub emit_headers: bool,
}

struct Answer {
    status: StatusCode,
    grpc: u16,
    close: bool,
}

impl Error {
    fn answer(&self) -> Answer {
        let answer = |status, grpc, close| Answer { status, grpc, close };
        match self {
            Self::FailFast => answer(StatusCode::GATEWAY_TIMEOUT, DEADLINE_EXCEEDED, true),
            Self::Connect(error) if error.is_timeout() => answer(StatusCode::GATEWAY_TIMEOUT, DEADLINE_EXCEEDED, true),
            Self::LoadShed => answer(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, true),
            Self::Connect(_) | Self::Upstream(_) | Self::NoBackend | Self::RequiredIdentity => {
                answer(StatusCode::BAD_GATEWAY, UNAVAILABLE, true)
            }
            Self::NoRoute => answer(StatusCode::NOT_FOUND, NOT_FOUND, false),
            Self::Unauthorized => answer(StatusCode::FORBIDDEN, PERMISSION_DENIED, false),
            Self::RateLimited => answer(StatusCode::TOO_MANY_REQUESTS, RESOURCE_EXHAUSTED, false),
            Self::GatewayLoop => answer(StatusCode::LOOP_DETECTED, ABORTED, true),
            Self::BadRequest(_) => answer(StatusCode::BAD_REQUEST, INVALID_ARGUMENT, true),
            Self::Injected { status, .. } => answer(*status, FAILED_PRECONDITION, false),
            // The status is for who does not speak gRPC, and must not take a failure for a success.
            Self::InjectedGrpc { code, .. } => answer(StatusCode::INTERNAL_SERVER_ERROR, *code, false),
            Self::Redirect { status, .. } => answer(*status, NOT_FOUND, false),
            Self::InvalidPolicy(_) => answer(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL, true),
            Self::TimedOut(why) => {
                answer(StatusCode::GATEWAY_TIMEOUT, DEADLINE_EXCEEDED, matches!(why, TimedOut::Profile))
            }
        }
    }

    /// Whether the endpoint that was asked is to blame.
    pub fn is_endpoints(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Upstream(_))
    }

    /// The HTTP status and the gRPC code that it is answered with.
    pub fn statuses(&self) -> (u16, u16) {
        let answer = self.answer();
        (answer.status.as_u16(), answer.grpc)
    }

    /// The value of the `error` label of `*_http_errors_total`; `None` for answers that are no failures of the proxy.
    pub fn label(&self) -> Option<&'static str> {
        Some(match self {
            Self::FailFast => "failfast",
            Self::LoadShed => "loadshed",
            Self::Connect(error) if error.is_timeout() => "connect timeout",
            Self::Connect(_) => "i/o",
            Self::Upstream(error) if error.reason().is_some() => return None,
            Self::Upstream(_) => "i/o",
            Self::Unauthorized => "unauthorized",
            Self::RequiredIdentity => "identity required",
            Self::GatewayLoop => "gateway loop",
            Self::NoBackend | Self::InvalidPolicy(_) => "unexpected",
            Self::TimedOut(_) => "response timeout",
            _ => return None,
        })
    }

    /// The reset to pass on instead of an answer.
    pub fn reset(&self) -> Option<h2::Reason> {
        match self {
            Self::Upstream(error) if error.is_reset() => error.reason(),
            _ => None,
        }
    }

    /// The answer, or the code to reset the stream with when an HTTP/2 peer did so.
    pub fn respond(self, asker: Asker) -> Result<Response<Body>, h2::Reason> {
        let is_h2 = asker.version == Version::HTTP_2 && !asker.is_carried;
        if is_h2 && let Some(reason) = self.reset() {
            return Err(reason);
        }
        let Answer { status, grpc, close } = self.answer();
        let mut response = Response::new(Body::empty());
        *response.version_mut() = asker.version;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        let message = asker.emit_headers.then(|| message_value(&self)).flatten();
        if asker.is_grpc {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(GRPC_STATUS.clone(), HeaderValue::from(grpc));
            if let Some(message) = &message {
                headers.insert(GRPC_MESSAGE.clone(), message.clone());
            }
        }
        if let Some(message) = message {
            headers.insert(L5D_PROXY_ERROR.clone(), message);
        }
        if close && !is_h2 && !asker.is_carried {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if close && asker.emit_headers {
            headers.insert(L5D_PROXY_CONNECTION.clone(), HeaderValue::from_static("close"));
        }
        if !asker.is_grpc {
            if let Self::Redirect { location, .. } = &self {
                headers.insert(header::LOCATION, location.clone());
            }
            *response.status_mut() = status;
        }
        Ok(response)
    }
}

/// Trailers that end a gRPC response whose server has gone.
pub fn grpc_trailers(error: &BodyError) -> Option<http::HeaderMap> {
    if error.is_reset() {
        return None;
    }
    let mut trailers = http::HeaderMap::with_capacity(2);
    let code = match error {
        BodyError::TimedOut(_) => DEADLINE_EXCEEDED,
        BodyError::Revoked(_) => PERMISSION_DENIED,
        BodyError::H2(_) | BodyError::Hyper(_) | BodyError::Other(_) => UNAVAILABLE,
    };
    trailers.insert(GRPC_STATUS.clone(), HeaderValue::from(code));
    Some(trailers)
}

fn message_value(error: &Error) -> Option<HeaderValue> {
    let text: String = error.to_string().chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect();
    HeaderValue::try_from(text).ok()
}

const INVALID_ARGUMENT: u16 = 3;
const DEADLINE_EXCEEDED: u16 = 4;
const NOT_FOUND: u16 = 5;
const PERMISSION_DENIED: u16 = 7;
const RESOURCE_EXHAUSTED: u16 = 8;
const FAILED_PRECONDITION: u16 = 9;
const ABORTED: u16 = 10;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;

#[cfg(test)]
mod tests {
    use super::*;

    const H1: Asker = Asker { version: Version::HTTP_11, is_grpc: false, is_carried: false, emit_headers: true };

    #[test]
    fn answers_by_the_table() {
        let table = [
            (Error::FailFast, 504, "4", true),
            (Error::LoadShed, 503, "14", true),
            (Error::Connect(ConnectError::TimedOut), 504, "4", true),
            (Error::Connect(ConnectError::Io(io::ErrorKind::ConnectionRefused.into())), 502, "14", true),
            (Error::NoBackend, 502, "14", true),
            (Error::NoRoute, 404, "5", false),
            (Error::Unauthorized, 403, "7", false),
            (Error::RateLimited, 429, "8", false),
            (Error::GatewayLoop, 508, "10", true),
            (Error::InvalidPolicy("x".into()), 500, "13", true),
            (Error::TimedOut(TimedOut::Request), 504, "4", false),
            (Error::TimedOut(TimedOut::Profile), 504, "4", true),
        ];
        for (error, status, grpc, close) in table {
            let label = format!("{error:?}");
            let grpc_asker = Asker { version: Version::HTTP_2, is_grpc: true, ..H1 };
            let as_grpc = error.clone_for_test().respond(grpc_asker).unwrap();
            assert_eq!(as_grpc.status(), 200, "{label}");
            assert_eq!(as_grpc.headers()[&GRPC_STATUS], grpc, "{label}");
            assert_eq!(as_grpc.headers().contains_key(&L5D_PROXY_CONNECTION), close, "{label}");
            let plain = error.respond(H1).unwrap();
            assert_eq!(plain.status(), status, "{label}");
            for name in [&header::CONNECTION, &L5D_PROXY_CONNECTION] {
                assert_eq!(plain.headers().get(name).is_some_and(|v| v == "close"), close, "{label}");
            }
            assert!(plain.headers().contains_key(&L5D_PROXY_ERROR), "{label}");
        }
    }

    #[test]
    fn says_nothing_to_strangers() {
        let response = Error::Unauthorized.respond(Asker { emit_headers: false, is_grpc: true, ..H1 }).unwrap();
        assert!(!response.headers().contains_key(&L5D_PROXY_ERROR));
        assert!(!response.headers().contains_key(&GRPC_MESSAGE));
    }

    impl Error {
        fn clone_for_test(&self) -> Self {
            match self {
                Self::FailFast => Self::FailFast,
                Self::LoadShed => Self::LoadShed,
                Self::Connect(ConnectError::TimedOut) => Self::Connect(ConnectError::TimedOut),
                Self::Connect(_) => Self::Connect(ConnectError::Io(io::ErrorKind::ConnectionRefused.into())),
                Self::NoBackend => Self::NoBackend,
                Self::NoRoute => Self::NoRoute,
                Self::Unauthorized => Self::Unauthorized,
                Self::RateLimited => Self::RateLimited,
                Self::GatewayLoop => Self::GatewayLoop,
                Self::TimedOut(why) => Self::TimedOut(*why),
                _ => Self::InvalidPolicy("x".into()),
            }
        }
    }
}
