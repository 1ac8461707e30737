//! What every text that an expression matches begins with, so that expressions can be looked up by it and few of them
//! have to be tried.

use super::{Condition, PathMatch, RequestMatch};
use regex_lite::Regex;
use std::collections::HashMap;

/// As much as tells expressions apart; what is longer is cut off.
const LITERAL_LEN_MAX: usize = 64;

/// Values by what a path has to begin with.
#[derive(Debug)]
pub struct ByLiteral<T> {
    lists: HashMap<Box<str>, Vec<T>>,
    lens: Vec<usize>,
}

impl<T> Default for ByLiteral<T> {
    fn default() -> Self {
        Self { lists: HashMap::new(), lens: Vec::new() }
    }
}

impl<T> ByLiteral<T> {
    pub fn insert(&mut self, literal: String, value: T) {
        if !self.lens.contains(&literal.len()) {
            self.lens.push(literal.len());
        }
        self.lists.entry(literal.into()).or_default().push(value);
    }

    /// The lists of what may match a path.
    pub fn get<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a [T]> {
        self.lens.iter().filter_map(|len| self.lists.get(path.get(..*len)?).map(Vec::as_slice))
    }

    pub fn lists_mut(&mut self) -> impl Iterator<Item = &mut Vec<T>> {
        self.lists.values_mut()
    }
}

impl RequestMatch {
    /// What the path of every request begins with that this matches, as far as that is easily seen.
    pub(super) fn literal(&self) -> String {
        let of_path = match &self.path {
            Some(PathMatch::Regex(regex)) => of_regex(regex),
            _ => String::new(),
        };
        let of_condition = self.condition.as_ref().map(Condition::literal).unwrap_or_default();
        if of_condition.len() > of_path.len() { of_condition } else { of_path }
    }
}

impl Condition {
    fn literal(&self) -> String {
        match self {
            Self::All(list) => list.iter().map(Self::literal).max_by_key(String::len).unwrap_or_default(),
            Self::Any(list) if list.len() == 1 => list[0].literal(),
            Self::Path(regex) => of_regex(regex),
            Self::Any(_) | Self::Not(_) | Self::Method(_) => String::new(),
        }
    }
}

/// Of one that `whole_regex` has made.
fn of_regex(regex: &Regex) -> String {
    let Some(pattern) = regex.as_str().strip_prefix("^(?:").and_then(|rest| rest.strip_suffix(")$")) else {
        return String::new();
    };
    let mut literal = String::new();
    if pattern.contains('|') {
        return literal;
    }
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => match chars.next() {
                Some(escaped) if escaped.is_ascii_punctuation() => escaped,
                _ => break,
            },
            '.' | '^' | '$' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' => break,
            c if c.is_ascii() => c,
            _ => break,
        };
        // What may be left out, or repeated, is no part of it.
        if matches!(chars.peek(), Some('*' | '+' | '?' | '{')) || literal.len() == LITERAL_LEN_MAX {
            break;
        }
        literal.push(c);
    }
    literal
}

#[cfg(test)]
mod tests {
    use super::{super::whole_regex, *};

    fn of(pattern: &str) -> String {
        of_regex(&whole_regex(pattern).unwrap())
    }

    #[test]
    fn is_what_all_that_matches_begins_with() {
        let table = [
            ("/books/\\d+/edit", "/books/"),
            ("/a\\.b", "/a.b"),
            ("/ab*", "/a"),
            ("/ab?c", "/a"),
            ("/ab{0}", "/a"),
            ("/a|/b", ""),
            ("(?i)/a", ""),
            ("/a(b|c)", ""),
            ("/a[bc]", "/a"),
            ("", ""),
            ("\\x2f", ""),
            ("/é", "/"),
        ];
        for (pattern, literal) in table {
            assert_eq!(of(pattern), literal, "{pattern}");
        }
        assert_eq!(of(&"/".repeat(100)).len(), LITERAL_LEN_MAX);
    }

    #[test]
    fn a_conditions_is_the_longest_that_must_be() {
        let path = |pattern| Condition::Path(whole_regex(pattern).unwrap());
        let both = Condition::All(vec![Condition::Method(http::Method::GET), path("/a/.*"), path("/a/b/.*")]);
        assert_eq!(both.literal(), "/a/b/");
        assert_eq!(Condition::Any(vec![path("/a"), path("/b")]).literal(), "");
        assert_eq!(Condition::Not(Box::new(path("/a"))).literal(), "");
    }
}
