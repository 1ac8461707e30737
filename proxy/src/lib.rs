//! The Tulle proxy.
