//! Who is at the other end of a connection, as far as the connection proves it.

use crate::control::model::{PeerId, inbound::ClientTls};
use http::HeaderValue;
use std::{net::SocketAddr, sync::Arc};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Mesh TLS, with the client's identity if it showed one.
    Mesh(Option<PeerId>),
    /// TLS that is not for this proxy but for this name, if the client says one.
    Foreign(Option<Arc<str>>),
    None,
    /// The port is opaque: nobody looked.
    PortSkipped,
}

#[derive(Clone, Debug)]
pub struct Client {
    pub addr: SocketAddr,
    pub tls: Tls,
}

impl Client {
    pub fn tls(&self) -> ClientTls<'_> {
        match &self.tls {
            Tls::Mesh(id) => ClientTls::Mesh(id.as_ref()),
            Tls::Foreign(_) | Tls::None | Tls::PortSkipped => ClientTls::None,
        }
    }

    pub fn id(&self) -> Option<&PeerId> {
        match &self.tls {
            Tls::Mesh(id) => id.as_ref(),
            _ => None,
        }
    }

    pub fn id_header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.id()?.as_str()).ok()
    }
}
