//! A label set, rendered as it appears between the braces of a sample.

use std::fmt::{Display, Write};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(String);

impl Labels {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one label. The name must be a valid label name; the value may be anything.
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(name);
        self.0.push_str("=\"");
        write!(Escape(&mut self.0), "{value}").expect("a String takes every write");
        self.0.push('"');
        self
    }

    /// Adds a label whose name comes from a peer: characters that a label name cannot have become `_`.
    pub fn with_foreign(self, prefix: &str, name: &str, value: impl Display) -> Self {
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
        self.with(&format!("{prefix}{name}"), value)
    }

    /// Adds all labels of another set, in its order.
    pub fn join(mut self, other: &Labels) -> Self {
        if !self.0.is_empty() && !other.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(&other.0);
        self
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

struct Escape<'a>(&'a mut String);

impl Write for Escape<'_> {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        for c in s.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_and_escapes() {
        let labels =
            Labels::new().with("a", "x\"y\\z\n").with("b", 7).join(&Labels::new()).join(&Labels::new().with("c", true));
        assert_eq!(labels.as_str(), r#"a="x\"y\\z\n",b="7",c="true""#);
        assert_eq!(Labels::new().with_foreign("dst_", "app.io/x", "1").as_str(), r#"dst_app_io_x="1""#);
    }
}
