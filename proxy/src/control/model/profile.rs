//! What a ServiceProfile adds to routes: labels, response classes and a retry budget.

use crate::metrics::Labels;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct ProfileRoute {
    /// `rt_NAME="value"` for each of the route's labels.
    pub labels: Labels,
    pub response_classes: Vec<ResponseClass>,
}

#[derive(Clone, Debug)]
pub struct ResponseClass {
    pub condition: ResponseCondition,
    pub is_failure: bool,
}

#[derive(Clone, Debug)]
pub enum ResponseCondition {
    All(Vec<ResponseCondition>),
    Any(Vec<ResponseCondition>),
    Not(Box<ResponseCondition>),
    Status(std::ops::RangeInclusive<u16>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    pub ratio: f32,
    pub min_per_second: u32,
    pub ttl: Duration,
}

impl ProfileRoute {
    /// Whether a response with this status is a failure; `None` when no class says so.
    pub fn classify(&self, status: http::StatusCode) -> Option<bool> {
        self.response_classes.iter().find(|c| c.condition.matches(status)).map(|c| c.is_failure)
    }
}

impl ResponseCondition {
    fn matches(&self, status: http::StatusCode) -> bool {
        match self {
            Self::All(list) => list.iter().all(|c| c.matches(status)),
            Self::Any(list) => list.iter().any(|c| c.matches(status)),
            Self::Not(inner) => !inner.matches(status),
            Self::Status(range) => range.contains(&status.as_u16()),
        }
    }
}
