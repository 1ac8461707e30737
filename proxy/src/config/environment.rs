//! Reading variables one by one while remembering everything that is wrong.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

pub const PREFIX: &str = "LINKERD2_PROXY_";
/// Names with this prefix are our own and have no other.
const OWN_PREFIX: &str = "TULLE_";

pub struct Environment {
    values: HashMap<String, String>,
    problems: RefCell<Vec<String>>,
}

/// Everything that was wrong, one line each.
#[derive(Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<String>);

impl Environment {
    pub fn of_process() -> Self {
        // A variable that is not Unicode is none of ours; ours are checked below.
        Self::new(
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.to_string_lossy().into_owned()))),
        )
    }

    pub fn new(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { values: values.into_iter().collect(), problems: RefCell::default() }
    }

    /// The variable's text, when it is set. Linkerd's prefix is added.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(&full_name(name)).map(String::as_str)
    }

    /// The parsed value; `None` when the variable is unset or wrong, and then the problem is remembered.
    pub fn parse<T>(&self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match parse(self.text(name)?) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problem(name, problem);
                None
            }
        }
    }

    /// As `parse`, but unset is a problem too.
    pub fn require<T>(&self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        if self.text(name).is_none() {
            self.problem(name, "is required");
        }
        self.parse(name, parse)
    }

    pub fn problem(&self, name: &str, problem: impl fmt::Display) {
        self.problems.borrow_mut().push(format!("{}: {problem}", full_name(name)));
    }

    /// The problems so far, if any.
    pub fn problems(self) -> Problems {
        Problems(self.problems.into_inner())
    }

    pub fn has_problems(&self) -> bool {
        !self.problems.borrow().is_empty()
    }
}

fn full_name(name: &str) -> String {
    if name.starts_with(OWN_PREFIX) { name.to_owned() } else { format!("{PREFIX}{name}") }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}
