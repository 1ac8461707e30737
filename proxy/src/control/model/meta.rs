//! The Kubernetes resource (or built-in default) that a policy, route or backend comes from, as metric labels know it.

use crate::metrics::Labels;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Meta {
    pub group: Box<str>,
    pub kind: Box<str>,
    pub namespace: Box<str>,
    pub name: Box<str>,
    pub section: Box<str>,
    /// 0 when the resource has none.
    pub port: u16,
}

impl Meta {
    /// Something that no resource defines; `kind` is `default`.
    pub fn default_named(name: &str) -> Self {
        Self { name: name.into(), ..Self::of_kind("default") }
    }

    /// With nothing else said.
    pub fn of_kind(kind: &str) -> Self {
        Self { group: "".into(), kind: kind.into(), namespace: "".into(), name: "".into(), section: "".into(), port: 0 }
    }

    /// `parent_group`, `parent_kind`, `parent_namespace`, `parent_name`, `parent_port`, `parent_section_name`.
    pub fn parent_labels(&self) -> Labels {
        self.labels("parent_").with("parent_port", self.port_label()).with("parent_section_name", &self.section)
    }

    /// `route_group`, `route_kind`, `route_namespace`, `route_name`.
    pub fn route_labels(&self) -> Labels {
        self.labels("route_")
    }

    /// `backend_group`, `backend_kind`, `backend_namespace`, `backend_name`, `backend_port`, `backend_section_name`.
    pub fn backend_labels(&self) -> Labels {
        self.labels("backend_").with("backend_port", self.port_label()).with("backend_section_name", &self.section)
    }

    /// `PREFIXgroup`, `PREFIXkind`, `PREFIXname`: what the inbound side says of a server (`srv_`, `parent_`), route or
    /// authorization.
    pub fn short_labels(&self, prefix: &str) -> Labels {
        Labels::new()
            .with(&format!("{prefix}group"), &self.group)
            .with(&format!("{prefix}kind"), &self.kind)
            .with(&format!("{prefix}name"), &self.name)
    }

    fn labels(&self, prefix: &str) -> Labels {
        Labels::new()
            .with(&format!("{prefix}group"), &self.group)
            .with(&format!("{prefix}kind"), &self.kind)
            .with(&format!("{prefix}namespace"), &self.namespace)
            .with(&format!("{prefix}name"), &self.name)
    }

    fn port_label(&self) -> String {
        if self.port == 0 { String::new() } else { self.port.to_string() }
    }
}
