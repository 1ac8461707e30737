//! Command-line flags as Go's pflag reads them, because pod specs written for Linkerd's programs start ours:
//! `--name value`, `--name=value`, `-n value`, booleans as `--name` or `--name=false`, lists by comma and by repetition.

use std::collections::HashMap;

/// A flag that a command knows: its long name, its one-letter form, and whether it takes no value of its own.
pub struct Flag {
    pub name: &'static str,
    pub short: Option<char>,
    pub is_bool: bool,
}

impl Flag {
    pub const fn value(name: &'static str) -> Self {
        Self { name, short: None, is_bool: false }
    }

    pub const fn bool(name: &'static str) -> Self {
        Self { name, short: None, is_bool: true }
    }

    pub const fn short(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    values: HashMap<&'static str, Vec<String>>,
    /// What follows `--`, or starts at the first word that is no flag.
    pub rest: Vec<String>,
}

impl Arguments {
    /// Reads `args` (without the program's name). The error names the argument.
    pub fn parse(args: &[String], flags: &[Flag]) -> Result<Self, String> {
        let mut parsed = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--" || !arg.starts_with('-') || arg == "-" {
                parsed.rest.extend((arg != "--").then(|| arg.clone()));
                parsed.rest.extend(args.cloned());
                break;
            }
            let (name, inline) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (arg.as_str(), None),
            };
            let flag = flags
                .iter()
                .find(|flag| match name.strip_prefix("--") {
                    Some(long) => long == flag.name,
                    None => flag.short.is_some_and(|short| name[1..].chars().eq([short])),
                })
                .ok_or_else(|| format!("{name}: unknown flag"))?;
            let value = match inline {
                Some(value) => value,
                None if flag.is_bool => "true".to_owned(),
                None => args.next().ok_or_else(|| format!("{name}: needs a value"))?.clone(),
            };
            parsed.values.entry(flag.name).or_default().push(value);
        }
        Ok(parsed)
    }

    /// The last value given, read by `parse`.
    pub fn get<T>(&self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
        let Some(value) = self.values.get(name).and_then(|values| values.last()) else {
            return Ok(None);
        };
        parse(value).map(Some).map_err(|why| format!("--{name}: {value:?} {why}"))
    }

    pub fn get_bool(&self, name: &str) -> Result<Option<bool>, String> {
        self.get(name, |value| match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err("is neither true nor false".to_owned()),
        })
    }

    /// All items of all occurrences; empty items are skipped, since templates leave them.
    pub fn get_list<T>(&self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
        let values = self.values.get(name).into_iter().flatten();
        values
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| parse(item).map_err(|why| format!("--{name}: {item:?} {why}")))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[Flag::value("port").short('p'), Flag::value("list"), Flag::bool("ipv6")];

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>(), FLAGS)
    }

    fn number(value: &str) -> Result<u16, String> {
        value.parse().map_err(|_| "is not a number".to_owned())
    }

    #[test]
    fn reads_every_form() {
        let args = parse("--port 1 -p 2 --list=3,4 --list ,5 --ipv6=false cmd --port 9").unwrap();
        assert_eq!(args.get("port", number), Ok(Some(2)));
        assert_eq!(args.get_list("list", number), Ok(vec![3, 4, 5]));
        assert_eq!(args.get_bool("ipv6"), Ok(Some(false)));
        assert_eq!(args.rest, ["cmd", "--port", "9"]);
        assert_eq!(parse("--ipv6 -- -x").unwrap().rest, ["-x"]);
        assert_eq!(parse("--ipv6").unwrap().get_bool("ipv6"), Ok(Some(true)));
    }

    #[test]
    fn names_what_is_wrong() {
        assert_eq!(parse("--prot 1").unwrap_err(), "--prot: unknown flag");
        assert_eq!(parse("-x").unwrap_err(), "-x: unknown flag");
        assert_eq!(parse("--port").unwrap_err(), "--port: needs a value");
        let args = parse("--port a --list 1,b --ipv6=maybe").unwrap();
        assert_eq!(args.get("port", number).unwrap_err(), "--port: \"a\" is not a number");
        assert_eq!(args.get_list("list", number).unwrap_err(), "--list: \"b\" is not a number");
        assert!(args.get_bool("ipv6").is_err());
    }
}
