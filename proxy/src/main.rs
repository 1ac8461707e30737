//! Entry of the proxy.

fn main() {}
