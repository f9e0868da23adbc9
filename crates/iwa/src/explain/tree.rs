//! The explained tree for a person: byte ranges, names, values, aligned.

use std::fmt::Write as _;

use iwa_wire::explain::Node;

use super::Explained;

/// How a tree is printed.
#[derive(Clone, Copy)]
pub(super) struct Style {
    /// With the colours of a terminal.
    pub(super) colour: bool,
    /// With keys and passwords.
    pub(super) secrets: bool,
}

/// Appends the tree of `explained`.
pub(super) fn render(explained: &Explained, style: Style, out: &mut String) {
    let mut lines = Vec::new();
    collect(&explained.tree, "", "", style, &mut lines);
    let ranges = lines.iter().map(|line| line.range.len()).max().unwrap_or_default();
    let names = lines.iter().map(|line| line.name.chars().count()).filter(|width| *width <= WIDEST).max();
    let names = names.unwrap_or_default();
    let _ = writeln!(out, "{}, {} bytes", style.paint(BOLD, explained.kind), explained.bytes.len());
    for line in lines {
        // Painted after padding: the width of an escape sequence is nothing.
        let range = style.paint(DIM, &format!("{:<ranges$}", line.range));
        let mut text = format!("{range}  {:<names$}", line.name);
        if !line.value.is_empty() {
            let _ = write!(text, "  {}", line.value);
        }
        if !line.note.is_empty() {
            let _ = write!(text, "  {}", style.paint(DIM, &format!("({})", line.note)));
        }
        out.push_str(text.trim_end());
        out.push('\n');
        if let Some(error) = line.error {
            let indent = " ".repeat(ranges + 2 + line.depth);
            let _ = writeln!(out, "{indent}{}", style.paint(RED, &format!("^ malformed: {error}")));
        }
    }
    if let Some(error) = explained.tree.first_error() {
        let _ = writeln!(out, "{}", style.paint(RED, &format!("malformed: {error}")));
    }
}

struct Line {
    range: String,
    name: String,
    value: String,
    note: String,
    error: Option<String>,
    depth: usize,
}

fn collect(node: &Node, own: &str, below: &str, style: Style, lines: &mut Vec<Line>) {
    let name = if node.name.is_empty() { "-" } else { &node.name };
    let value = match (node.secret, style.secrets) {
        (true, false) => "(secret)".to_owned(),
        _ if node.value.is_empty() && !node.spec.is_empty() => format!("[{}]", node.spec),
        _ => node.value.clone(),
    };
    lines.push(Line {
        range: format!("{}..{}", node.range.start, node.range.end),
        name: format!("{own}{name}"),
        value,
        note: node.note.clone().unwrap_or_default(),
        error: node.error.map(|error| error.to_string()),
        depth: below.chars().count(),
    });
    let count = node.children.len();
    for (i, child) in node.children.iter().enumerate() {
        let (branch, line) = if i + 1 == count { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        collect(child, &format!("{below}{branch}"), &format!("{below}{line}"), style, lines);
    }
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// A name that is wider than this does not push all values to the right.
const WIDEST: usize = 48;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
