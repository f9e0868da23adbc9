//! Reader of the corpus of real wire data: header lines, an empty line, base64 or hexadecimal.
//!
//! The corpus is data of others and stands outside this repository: at `$IWA_CORPUS`, or in `shared/corpus` beside the
//! repository or its parent. A test that finds none prints that it was left out.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// One item: bytes from the wire and what is known of them.
#[derive(Clone, Debug)]
pub struct Item {
    /// `folder/file.txt`.
    pub name: String,
    /// What the bytes are: `spnego-init`, `ticket` ...
    pub kind: String,
    /// Whether they follow their format.
    pub expect: Expect,
    /// Whether readers reasonably differ: then only a crash is a failure.
    pub borderline: bool,
    /// All header lines, in order.
    pub headers: Vec<(String, String)>,
    /// The bytes.
    pub data: Vec<u8>,
}

/// What a reader of the layer that `kind` names must say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// It must be read.
    Valid,
    /// It must be refused.
    Malformed,
}

impl Item {
    /// The value of a header line.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The bytes of a header line that is hexadecimal.
    #[must_use]
    pub fn hex_header(&self, name: &str) -> Option<Vec<u8>> {
        self.header(name).and_then(hex)
    }

    /// The key of a header `<role>key-etype<N>`: `item.keys("")` gives `key-etypeN`, `item.keys("session-")` gives
    /// `session-key-etypeN`.
    #[must_use]
    pub fn keys(&self, role: &str) -> Vec<(i32, Vec<u8>)> {
        let prefix = format!("{role}key-etype");
        let read = |(name, value): &(String, String)| {
            let etype = name.strip_prefix(&prefix)?.parse().ok()?;
            Some((etype, hex(value.split_whitespace().next()?)?))
        };
        self.headers.iter().filter_map(read).collect()
    }

    fn read(root: &Path, path: &Path) -> Result<Self, String> {
        let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
        let text = fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
        let mut headers = Vec::new();
        for line in head.lines() {
            let (header, value) = line.split_once(':').ok_or_else(|| format!("{name}: no colon in {line:?}"))?;
            headers.push((header.to_owned(), value.trim().to_owned()));
        }
        let mut item =
            Self { name, kind: String::new(), expect: Expect::Valid, borderline: false, headers, data: Vec::new() };
        item.kind = item.header("kind").unwrap_or_default().to_owned();
        item.expect = match item.header("expect") {
            Some(expect) if expect.starts_with("malformed") => Expect::Malformed,
            _ => Expect::Valid,
        };
        item.borderline = item.header("borderline").is_some();
        let digits: String = body.split_whitespace().collect();
        let data = match item.header("encoding") {
            Some("hex") => hex(&digits),
            _ => STANDARD.decode(&digits).ok(),
        };
        item.data = data.ok_or_else(|| format!("{}: the data cannot be decoded", item.name))?;
        match item.header("length").map(str::parse::<usize>) {
            Some(Ok(length)) if length == item.data.len() => Ok(item),
            _ => Err(format!("{}: {} bytes, not as its header says", item.name, item.data.len())),
        }
    }
}

/// Every item, in the order of their names; `None` if there is no corpus here, after saying so.
///
/// # Panics
/// If `IWA_CORPUS` is set and names none, or an item cannot be read.
#[must_use]
pub fn load() -> Option<Vec<Item>> {
    let Some(root) = root() else {
        println!("LEFT OUT: no corpus (set IWA_CORPUS to its folder)");
        return None;
    };
    let mut items = Vec::new();
    for folder in entries(&root).into_iter().filter(|path| path.is_dir()) {
        for path in entries(&folder) {
            if path.extension().is_some_and(|extension| extension == "txt") {
                match Item::read(&root, &path) {
                    Ok(item) => items.push(item),
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
    Some(items)
}

/// Every item of one kind; empty (after saying so) if there is no corpus here.
///
/// # Panics
/// As [`load`].
#[must_use]
pub fn of_kind(kind: &str) -> Vec<Item> {
    load().unwrap_or_default().into_iter().filter(|item| item.kind == kind).collect()
}

/// The folder of the corpus, if there is one.
///
/// # Panics
/// If `IWA_CORPUS` is set and names no folder with an index.
#[must_use]
pub fn root() -> Option<PathBuf> {
    if let Some(set) = std::env::var_os("IWA_CORPUS") {
        let path = PathBuf::from(set);
        assert!(path.join("INDEX.tsv").is_file(), "IWA_CORPUS names a folder without INDEX.tsv");
        return Some(path);
    }
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    repository
        .ancestors()
        .skip(1)
        .take(2)
        .map(|parent| parent.join("shared/corpus"))
        .find(|path| path.join("INDEX.tsv").is_file())
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Bytes from hexadecimal digits; `None` if they are not.
#[must_use]
pub fn hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    digits.as_bytes().chunks_exact(2).map(|pair| Some(value(pair[0])? << 4 | value(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_read_and_the_index_names_it() {
        let Some(items) = load() else { return };
        let index = fs::read_to_string(root().unwrap().join("INDEX.tsv")).unwrap();
        for item in &items {
            assert!(index.contains(&format!("{}\t{}\t", item.name, item.kind)), "{}", item.name);
        }
        assert_eq!(items.len(), index.lines().count() - 1);
    }

    #[test]
    fn hexadecimal() {
        assert_eq!(hex("00fF"), Some(vec![0, 255]));
        assert_eq!(hex("0"), None);
        assert_eq!(hex("0x"), None);
        assert_eq!(hex("é"), None);
    }
}
