//! The messages between the node agent and this program: one JSON object per line, in both directions.

use serde::{Deserialize, Serialize};

/// What the agent asks for; `id` comes back in the reply.
#[derive(Deserialize)]
pub struct Request {
    pub id: u64,
    #[serde(flatten)]
    pub op: Op,
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "camelCase")]
pub enum Op {
    Sandbox(SandboxSpec),
    RemoveSandbox { sandbox: String },
    Start(Box<ContainerSpec>),
    Exec(Box<ExecSpec>),
    Signal { container: String, signal: i32 },
    Dial { sandbox: String, port: u16 },
}

/// A pod's network, host name and IPC. Without `network` the pod uses the node's own network.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SandboxSpec {
    pub sandbox: String,
    pub hostname: String,
    pub network: Option<Network>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    pub bridge: String,
    pub bridge_mac: [u8; 6],
    pub host_interface: String,
    /// Of the pod's own interface.
    pub mac: [u8; 6],
    /// Address and gateway, one pair for each family.
    pub addresses: Vec<Address>,
}

#[derive(Deserialize)]
pub struct Address {
    pub address: std::net::IpAddr,
    pub gateway: std::net::IpAddr,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerSpec {
    pub container: String,
    pub sandbox: String,
    /// An existing empty folder; each container mounts its root there in its own mount namespace.
    pub root: String,
    pub mounts: Vec<Mount>,
    pub read_only_root: bool,
    pub log: String,
    pub process: Process,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecSpec {
    /// Names the new process for `Signal` and for its `exit` event.
    pub exec: String,
    pub container: String,
    pub process: Process,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub cwd: String,
    /// None keeps the ids of this program (a user namespace with one uid).
    pub user: Option<User>,
    /// Capability numbers that the process may have.
    pub capabilities: Vec<u32>,
    /// Those that it keeps when it is not root.
    pub ambient: Vec<u32>,
    pub no_new_privileges: bool,
}

#[derive(Deserialize)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Mount {
    /// A folder or file of the machine, read-only. Mount points that others need below it are laid over it.
    System {
        from: String,
        to: String,
    },
    #[serde(rename_all = "camelCase")]
    Bind {
        from: String,
        to: String,
        read_only: bool,
    },
    #[serde(rename_all = "camelCase")]
    Tmpfs {
        to: String,
        mode: u32,
        bytes_max: u64,
        read_only: bool,
    },
    Symlink {
        target: String,
        to: String,
    },
    /// An empty folder in the container's own root.
    Folder {
        to: String,
        mode: u32,
    },
    Proc,
    Dev,
}

impl Mount {
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::System { to, .. } | Self::Bind { to, .. } | Self::Tmpfs { to, .. } => Some(to),
            Self::Symlink { to, .. } | Self::Folder { to, .. } => Some(to),
            Self::Proc | Self::Dev => None,
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Event<'a> {
    Ok {
        id: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        pid: Option<i32>,
    },
    Error {
        id: u64,
        message: &'a str,
        /// The program itself could not be executed, so the image or command is at fault.
        start: bool,
    },
    /// A container or exec ended. `output` is an exec's output, cut at a limit.
    #[serde(rename_all = "camelCase")]
    Exit {
        container: &'a str,
        exit_code: i32,
        signal: i32,
        #[serde(skip_serializing_if = "Option::is_none")]
        output: Option<String>,
    },
}
