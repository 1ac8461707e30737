//! Why a connection could not be served, where that is not an error of input or output. It travels inside an `io::Error`.

use super::connect::ConnectError;
use std::{fmt, io};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No endpoint became ready in time.
    FailFast,
    /// Too many connections wait for an endpoint.
    LoadShed,
    ConnectTimeout,
    TlsDetectTimeout,
    /// The route forbids its connections.
    Forbidden,
    /// The route is one that the control plane could not make sense of.
    InvalidRoute,
    /// A gateway is asked for a name that it does not serve.
    GatewayDomainInvalid,
    /// What a gateway would forward comes from itself.
    GatewayLoop,
}

impl Failure {
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

/// The `error` label of `*_tcp_errors_total`.
pub fn label(error: &io::Error) -> &'static str {
    match (Failure::of(error), error.kind()) {
        (Some(Failure::FailFast), _) => "failfast",
        (Some(Failure::LoadShed), _) => "loadshed",
        (Some(Failure::ConnectTimeout), _) => "connect timeout",
        (Some(Failure::TlsDetectTimeout), _) => "tls detection timeout",
        (Some(Failure::Forbidden), _) => "forbidden",
        (Some(Failure::InvalidRoute), _) => "unexpected",
        (Some(Failure::GatewayDomainInvalid), _) => "gateway domain invalid",
        (Some(Failure::GatewayLoop), _) => "gateway loop",
        (None, io::ErrorKind::PermissionDenied) => "unauthorized",
        (None, io::ErrorKind::Other) => "unexpected",
        (None, _) => "i/o",
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        Self::other(failure)
    }
}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Io(error) | ConnectError::Tls(error) => error,
            ConnectError::TimedOut => Failure::ConnectTimeout.into(),
            error => Self::other(error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FailFast => "no endpoint became ready in time",
            Self::LoadShed => "too many connections wait for an endpoint",
            Self::ConnectTimeout => "connect timed out",
            Self::TlsDetectTimeout => "TLS detection timed out",
            Self::Forbidden => "the route is forbidden",
            Self::InvalidRoute => "the route is invalid",
            Self::GatewayDomainInvalid => "the gateway does not serve this name",
            Self::GatewayLoop => "the gateway would forward to itself",
        })
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_failed_apart() {
        assert_eq!(label(&Failure::FailFast.into()), "failfast");
        assert_eq!(label(&ConnectError::TimedOut.into()), "connect timeout");
        assert_eq!(label(&Failure::TlsDetectTimeout.into()), "tls detection timeout");
        // The kernel's own limit is an error of the connection.
        assert_eq!(label(&ConnectError::Io(io::ErrorKind::TimedOut.into()).into()), "i/o");
        assert_eq!(label(&io::ErrorKind::PermissionDenied.into()), "unauthorized");
        assert_eq!(label(&ConnectError::Loop.into()), "unexpected");
    }
}
