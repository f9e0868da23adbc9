//! The explained tree for a program.

use iwa_wire::ParseError;
use iwa_wire::explain::Node;
use serde::Serialize;

use super::Explained;

/// One line of JSON; its first member is `kind`.
pub(super) fn render(explained: &Explained, secrets: bool) -> String {
    let document = Document {
        kind: explained.kind,
        length: explained.bytes.len(),
        malformed: explained.tree.first_error().map(Error::of),
        tree: Tree::of(&explained.tree, secrets),
    };
    serde_json::to_string(&document).unwrap_or_default()
}

#[derive(Serialize)]
struct Document<'a> {
    kind: &'a str,
    length: usize,
    malformed: Option<Error>,
    tree: Tree<'a>,
}

#[derive(Serialize)]
struct Error {
    format: &'static str,
    offset: usize,
    rule: String,
}

impl Error {
    fn of(error: ParseError) -> Self {
        Self { format: error.format, offset: error.offset, rule: error.kind.to_string() }
    }
}

#[derive(Serialize)]
struct Tree<'a> {
    name: &'a str,
    range: [usize; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    spec: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    #[serde(skip_serializing_if = "is_false")]
    secret: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    malformed: Option<Error>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    children: Vec<Self>,
}

impl<'a> Tree<'a> {
    fn of(node: &'a Node, secrets: bool) -> Self {
        let shown = !node.value.is_empty() && (secrets || !node.secret);
        Self {
            name: &node.name,
            range: [node.range.start, node.range.end],
            value: shown.then_some(&node.value),
            spec: node.spec,
            note: node.note.as_deref(),
            secret: node.secret,
            malformed: node.error.map(Error::of),
            children: node.children.iter().map(|child| Self::of(child, secrets)).collect(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !*value
}
