//! Handles under a label that clients choose the value of: made when a value is first seen, and not for more values than
//! anybody can look at.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Values beyond these share the handles without one.
const NAMES_MAX: usize = 1_000;

#[derive(Debug)]
pub struct ByName<T>(Mutex<HashMap<Box<str>, Arc<T>>>);

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> ByName<T> {
    /// The handles of a value; None where there are too many.
    pub fn get(&self, name: &str, make: impl FnOnce() -> Arc<T>) -> Option<Arc<T>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handles) = known.get(name) {
            return Some(handles.clone());
        }
        if known.len() >= NAMES_MAX {
            return None;
        }
        let handles = make();
        known.insert(name.into(), handles.clone());
        Some(handles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_handles_for_so_many_values_and_no_more() {
        let names = ByName::default();
        for n in 0..NAMES_MAX {
            assert_eq!(names.get(&n.to_string(), || Arc::new(n)).as_deref(), Some(&n));
        }
        assert_eq!(names.get("another", || Arc::new(0)), None);
        assert_eq!(names.get("7", || Arc::new(0)).as_deref(), Some(&7), "the same as before");
    }
}
