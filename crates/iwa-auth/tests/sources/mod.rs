//! Looks tests up in the sources of the workspace.

use std::fs;
use std::path::{Path, PathBuf};

/// Whether `place`, a file or folder from the root of the repository, has a test of this name.
pub(crate) fn has_test(place: &str, test: &str) -> bool {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate is two levels below the root");
    let named = format!("fn {test}()");
    files(root.join(place)).into_iter().any(|path| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let Some((before, _)) = text.split_once(&named) else { return false };
        let mut attributes = before.lines().rev().take(4);
        attributes.any(|line| line.trim().starts_with("#[test]") || line.trim().starts_with("#[tokio::test"))
    })
}

fn files(place: PathBuf) -> Vec<PathBuf> {
    match fs::read_dir(&place) {
        Ok(entries) => entries.flatten().flat_map(|entry| files(entry.path())).collect(),
        Err(_) => vec![place],
    }
}
