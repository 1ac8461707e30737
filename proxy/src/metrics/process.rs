//! process metrics
