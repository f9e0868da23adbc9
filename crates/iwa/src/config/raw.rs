//! What was written: TOML tables that remember where everything stands, and every problem with it, not only the first.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use iwa_wire::explain::printable;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Something in a configuration that is wrong, or that its writer should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Which file.
    pub(crate) file: PathBuf,
    /// Line and column, from 1; `None` if it is about the whole file.
    pub(crate) at: Option<(usize, usize)>,
    /// Whether the server can run with it.
    pub(crate) severity: Severity,
    /// What is wrong: wanted, found, what to do.
    pub(crate) message: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// The server does not start.
    Error,
    /// The server starts; perhaps not as was meant.
    Warning,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some((line, column)) = self.at {
            write!(f, "{line}:{column}:")?;
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, " {severity}: {}", self.message)
    }
}

/// Where problems are collected.
pub(super) struct Report<'a> {
    file: &'a Path,
    text: &'a str,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Report<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, problems: RefCell::default() }
    }

    pub(super) fn error(&self, span: Range<usize>, message: impl Into<String>) {
        self.add(Severity::Error, Some(span), message.into());
    }

    pub(super) fn warning(&self, span: Range<usize>, message: impl Into<String>) {
        self.add(Severity::Warning, Some(span), message.into());
    }

    pub(super) fn file_error(&self, message: impl Into<String>) {
        self.add(Severity::Error, None, message.into());
    }

    pub(super) fn file_warning(&self, message: impl Into<String>) {
        self.add(Severity::Warning, None, message.into());
    }

    fn add(&self, severity: Severity, span: Option<Range<usize>>, message: String) {
        let at = span.map(|span| place(self.text, span.start));
        self.problems.borrow_mut().push(Problem { file: self.file.to_owned(), at, severity, message });
    }

    /// All problems, in the order of the file; those about the whole file last.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.at.unwrap_or((usize::MAX, 0)));
        problems
    }
}

/// Line and column, in characters, of a byte.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// A table that is read key by key; what nobody asked for is a problem in the end.
pub(super) struct Section<'a> {
    report: &'a Report<'a>,
    /// As it is written: `[authentication.windows]`.
    title: String,
    span: Range<usize>,
    table: Option<&'a DeTable<'a>>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Section<'a> {
    pub(super) fn root(report: &'a Report<'a>, table: &'a DeTable<'a>) -> Self {
        Self { report, title: "the file".to_owned(), span: 0..0, table: Some(table), asked: RefCell::default() }
    }

    /// Whether it was written at all.
    pub(super) const fn is_written(&self) -> bool {
        self.table.is_some()
    }

    /// Where it begins.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Whether it lets visitors in who do not sign in. Looks only; what is wrong with it is told when it is read.
    pub(super) fn says_anonymous(&self) -> bool {
        fn says(table: &DeTable<'_>) -> bool {
            table.iter().any(|(key, value)| match (key.get_ref().as_ref(), value.get_ref()) {
                ("anonymous", DeValue::Boolean(anonymous)) => *anonymous,
                ("sign-in", DeValue::String(word)) => !word.eq_ignore_ascii_case("required"),
                ("when", DeValue::Table(clause)) => says(clause),
                ("when", DeValue::Array(clauses)) => {
                    clauses.iter().any(|clause| matches!(clause.get_ref(), DeValue::Table(clause) if says(clause)))
                }
                _ => false,
            })
        }
        self.table.is_some_and(says)
    }

    /// The title without its brackets; that of the whole file has none.
    fn name(&self) -> Option<&str> {
        self.title.starts_with('[').then(|| self.title.trim_matches(['[', ']']))
    }

    /// The section of this name below; one that was not written is empty.
    pub(super) fn section(&self, key: &'static str) -> Section<'a> {
        let title = match self.name() {
            Some(title) => format!("[{title}.{key}]"),
            None => format!("[{key}]"),
        };
        let table = self.value(key).and_then(|value| match value.get_ref() {
            DeValue::Table(table) => Some((table, value.span())),
            _ => {
                self.wrong(value, key, &format!("a section {title}"));
                None
            }
        });
        let span = table.as_ref().map_or(0..0, |(_, span)| span.clone());
        Section { report: self.report, title, span, table: table.map(|(table, _)| table), asked: RefCell::default() }
    }

    /// The sections of this name, `[[key]]`, or one inline table in their place.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'a>> {
        let section = |value: &'a Spanned<DeValue<'a>>, title: String| match value.get_ref() {
            DeValue::Table(table) => Some(Section {
                report: self.report,
                title,
                span: value.span(),
                table: Some(table),
                asked: RefCell::default(),
            }),
            _ => {
                self.wrong(value, key, "a table");
                None
            }
        };
        match self.value(key) {
            None => Vec::new(),
            Some(value) => match value.get_ref() {
                DeValue::Array(array) => {
                    let above = self.name();
                    let title = above.map_or_else(|| format!("[[{key}]]"), |above| format!("[[{above}.{key}]]"));
                    array.iter().filter_map(|value| section(value, title.clone())).collect()
                }
                _ => section(value, key.to_owned()).into_iter().collect(),
            },
        }
    }

    pub(super) fn boolean(&self, key: &'static str) -> Option<At<bool>> {
        self.read(key, "true or false", |value| match value {
            DeValue::Boolean(boolean) => Ok(*boolean),
            _ => Err(None),
        })
    }

    pub(super) fn string(&self, key: &'static str) -> Option<At<&'a str>> {
        self.read(key, "a text in quotes", |value| match value {
            DeValue::String(text) => Ok(text.as_ref()),
            _ => Err(None),
        })
    }

    /// A text with a meaning of its own; `wanted` says which texts have one.
    pub(super) fn parsed<T, E: fmt::Display>(
        &self,
        key: &'static str,
        wanted: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<At<T>> {
        self.read(key, wanted, |value| match value {
            DeValue::String(text) => parse(text).map_err(|error| Some(error.to_string())),
            _ => Err(None),
        })
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<At<T>> {
        let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let wanted = all.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        self.parsed(key, &format!("one of {wanted}"), |text| {
            let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
            found.map(|&(_, value)| value).ok_or_else(|| closest(text, &all).unwrap_or_default())
        })
    }

    /// A list of texts. One text stands for a list of one, or for several with commas, as IIS writes them.
    pub(super) fn strings(&self, key: &'static str) -> Option<At<Vec<At<&'a str>>>> {
        let value = self.value(key)?;
        let mut texts = Vec::new();
        match value.get_ref() {
            DeValue::String(text) => {
                texts.extend(text.split(',').map(|text| At { value: text.trim(), span: value.span() }));
            }
            DeValue::Array(array) => {
                for entry in array {
                    match entry.get_ref() {
                        DeValue::String(text) => texts.push(At { value: text.as_ref(), span: entry.span() }),
                        _ => self.wrong(entry, key, "a list of texts in quotes"),
                    }
                }
            }
            _ => self.wrong(value, key, "a list of texts in quotes"),
        }
        Some(At { value: texts, span: value.span() })
    }

    /// A section whose keys are names of the writer's own, and its values texts.
    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<(&'a str, At<&'a str>)>> {
        let value = self.value(key)?;
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong(value, key, "a table such as { name = \"text\" }");
            return None;
        };
        let mut texts = Vec::new();
        for (name, value) in table {
            match value.get_ref() {
                DeValue::String(text) => {
                    texts.push((name.get_ref().as_ref(), At { value: text.as_ref(), span: value.span() }))
                }
                _ => self.wrong(value, key, "a text in quotes"),
            }
        }
        Some(texts)
    }

    /// A whole number of at least `least`.
    pub(super) fn number(&self, key: &'static str, least: u64) -> Option<At<u64>> {
        self.read(key, &format!("a whole number of at least {least}"), |value| match value {
            DeValue::Integer(integer) => integer_of(integer).filter(|&number| number >= least).ok_or(None),
            _ => Err(None),
        })
    }

    /// A duration: seconds, or a text such as `"5 min"`.
    pub(super) fn duration(&self, key: &'static str) -> Option<At<std::time::Duration>> {
        self.read(key, "a duration such as \"300 s\", \"5 min\" or \"36 h\"", |value| match value {
            DeValue::Integer(integer) => integer_of(integer).map(std::time::Duration::from_secs).ok_or(None),
            DeValue::String(text) => super::value::duration(text).ok_or(None),
            _ => Err(None),
        })
    }

    /// A size: bytes, or a text such as `"64 KiB"`.
    pub(super) fn size(&self, key: &'static str) -> Option<At<u64>> {
        self.read(key, "a size such as 65536, \"64 KiB\" or \"20 MiB\"", |value| match value {
            DeValue::Integer(integer) => integer_of(integer).ok_or(None),
            DeValue::String(text) => super::value::size(text).ok_or(None),
            _ => Err(None),
        })
    }

    /// Ends the reading: keys that nobody asked for are problems.
    pub(super) fn finish(self) {
        let Some(table) = self.table else { return };
        let asked = self.asked.into_inner();
        let known: Vec<_> = asked.iter().copied().collect();
        for key in table.keys().filter(|key| !asked.contains(key.get_ref().as_ref())) {
            let hint = did_you_mean(key.get_ref(), &known);
            let message = format!("there is no `{}` in {}{hint}", printable(key.get_ref()), self.title);
            self.report.error(key.span(), message);
        }
    }

    fn value(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().insert(key);
        self.table?.get(key)
    }

    fn read<T>(
        &self,
        key: &'static str,
        wanted: &str,
        read: impl FnOnce(&'a DeValue<'a>) -> Result<T, Option<String>>,
    ) -> Option<At<T>> {
        let value = self.value(key)?;
        match read(value.get_ref()) {
            Ok(found) => Some(At { value: found, span: value.span() }),
            Err(None) => {
                self.wrong(value, key, wanted);
                None
            }
            Err(Some(why)) => {
                let found = found(value.get_ref());
                self.report.error(value.span(), format!("{key}: wanted {wanted}; found {found}{}", joined(&why)));
                None
            }
        }
    }

    fn wrong(&self, value: &Spanned<DeValue<'_>>, key: &str, wanted: &str) {
        self.report.error(value.span(), format!("{key}: wanted {wanted}; found {}", found(value.get_ref())));
    }
}

/// A reason as the end of a sentence.
fn joined(why: &str) -> String {
    if why.is_empty() || why.starts_with(';') || why.starts_with(':') { why.to_owned() } else { format!(": {why}") }
}

/// A value in words.
fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{}\"", printable(text)),
        DeValue::Integer(integer) => integer.to_string(),
        DeValue::Float(float) => float.to_string(),
        DeValue::Boolean(boolean) => boolean.to_string(),
        DeValue::Datetime(datetime) => datetime.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

fn integer_of(integer: &toml::de::DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// "; did you mean ...?" if one of the known words is close, otherwise what there is.
pub(super) fn did_you_mean(word: &str, known: &[&str]) -> String {
    closest(word, known).unwrap_or_else(|| match known {
        [] => String::new(),
        _ => format!("; there are {}", known.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")),
    })
}

/// "; did you mean ...?" if one of the known words is close.
fn closest(word: &str, known: &[&str]) -> Option<String> {
    let word = word.to_lowercase().replace('_', "-");
    let (distance, known) = known.iter().map(|known| (distance(&word, &known.to_lowercase()), *known)).min()?;
    (distance <= 1 + word.chars().count() / 4).then(|| format!("; did you mean `{known}`?"))
}

/// How many letters must be put in, left out, exchanged or swapped to make one word of the other (Damerau and Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let at = |row: &[usize], place: usize| row.get(place).copied().unwrap_or(usize::MAX - 64);
            let mut least = (at(&row, j) + 1).min(at(&above, j + 1) + 1).min(at(&above, j) + usize::from(x != y));
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(&y) && b.get(j - 1) == Some(&x);
            if swapped {
                least = least.min(at(&before, j - 1) + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_close() {
        assert_eq!(did_you_mean("keytba", &["keytab", "rc4"]), "; did you mean `keytab`?");
        assert_eq!(did_you_mean("clock_skew", &["keytab", "clock-skew"]), "; did you mean `clock-skew`?");
        assert_eq!(did_you_mean("zzz", &["keytab", "rc4"]), "; there are `keytab`, `rc4`");
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn a_place_counts_characters() {
        assert_eq!(place("ä = 1\nö = ü", 12), (2, 5));
        assert_eq!(place("", 0), (1, 1));
    }
}
