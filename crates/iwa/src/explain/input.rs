//! What a person hands to `iwa explain`: a file, a token in base64 or hexadecimal, or lines copied from somewhere with
//! header fields in them.

use std::io::Read as _;
use std::path::Path;

use iwa_wire::header::decode_patiently;
use iwa_wire::sniff;

use super::Explained;

/// Reads the argument: `-` is standard input, the name of a file the file, anything else is taken as it is.
pub(super) fn read(argument: &str) -> Result<Vec<Explained>, String> {
    let path = Path::new(argument);
    if argument == "-" {
        let mut bytes = Vec::new();
        // One more byte than the limit tells a long input from one that just fits.
        let result = std::io::stdin().lock().take(LIMIT + 1).read_to_end(&mut bytes);
        result.map_err(|error| format!("standard input: {error}"))?;
        return explain(bytes, "standard input");
    }
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(format!("{argument} is a directory")),
        Ok(metadata) if metadata.len() > LIMIT => Err(too_long(argument)),
        Ok(_) => explain(std::fs::read(path).map_err(|error| format!("{argument}: {error}"))?, argument),
        Err(_) => explain(argument.as_bytes().to_vec(), "the argument"),
    }
}

pub(super) fn explain(bytes: Vec<u8>, name: &str) -> Result<Vec<Explained>, String> {
    if bytes.len() as u64 > LIMIT {
        return Err(too_long(name));
    }
    if bytes.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        return explain_text(&bytes, name);
    }
    Ok(vec![Explained::of(bytes)])
}

fn explain_text(text: &[u8], name: &str) -> Result<Vec<Explained>, String> {
    let lines = text.split(|byte| *byte == b'\n').map(|line| {
        let line = line.trim_ascii();
        // curl -v writes "> " and "< " before header lines.
        line.strip_prefix(b"> ").or_else(|| line.strip_prefix(b"< ")).unwrap_or(line)
    });
    let header = |line: &[u8]| {
        let (kind, mut tree) = sniff::sniff_header(line)?;
        // As `iwa get -v` and the demonstration print it.
        if line.ends_with(b" characters)") && line.windows(5).any(|window| window == b"... (") {
            tree.note =
                Some("the token was shortened where this line was copied; only a whole one can be read".to_owned());
        }
        Some(Explained { kind, bytes: line.to_vec(), tree })
    };
    let headers: Vec<_> = lines.filter_map(header).collect();
    if !headers.is_empty() {
        return Ok(headers);
    }
    let symbols: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    if symbols.is_empty() {
        return Err(format!(
            "{name} is empty; give a token, a header line, the name of a file, or - for standard input"
        ));
    }
    if let Some(bytes) = hex(&symbols) {
        return Ok(vec![Explained::of(bytes)]);
    }
    let is_symbol = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
    let good = symbols.iter().take_while(|byte| is_symbol(byte)).count();
    let rest = symbols.get(good..).unwrap_or_default();
    let mut explained = Explained::of(decode_patiently(&symbols));
    if rest.iter().any(|byte| *byte != b'=') || rest.len() > 2 {
        if explained.kind == "unknown" {
            let hint = if name == "the argument" { " nor the name of a file" } else { "" };
            return Err(format!("{name} is neither base64, nor hexadecimal, nor a header line{hint}"));
        }
        explained.tree.note = Some(format!("what follows symbol {good} is not base64"));
    }
    Ok(vec![explained])
}

/// Bytes from hexadecimal digits, with or without `0x` before them and colons between them.
fn hex(symbols: &[u8]) -> Option<Vec<u8>> {
    let symbols = symbols.strip_prefix(b"0x").unwrap_or(symbols);
    let mut digits = Vec::with_capacity(symbols.len());
    for byte in symbols.iter().filter(|byte| **byte != b':') {
        digits.push(char::from(*byte).to_digit(16)? as u8);
    }
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return None;
    }
    Some(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

fn too_long(name: &str) -> String {
    format!("{name} has more than {} MiB; no token is that long", LIMIT >> 20)
}

/// The most that is read. A credential cache with hundreds of tickets has a few megabytes.
const LIMIT: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<&'static str> {
        explain(text.as_bytes().to_vec(), "the argument")
            .map_or(vec!["error"], |all| all.iter().map(|one| one.kind).collect())
    }

    #[test]
    fn tokens_in_every_dress() {
        for (text, kind) in [
            ("TlRMTVNTUAABAAAAB4IIogAAAAAAAAAAAAAAAAAAAAA=", "ntlm-1"),
            ("TlRMTVNTUAABAAAAB4II\r\nogAAAAAAAAAAAAAAAAAA\r\nAAA=\r\n", "ntlm-1"),
            ("4e544c4d5353500001000000", "ntlm-1"),
            ("0x4E544C4D5353500001000000", "ntlm-1"),
            ("4e:54:4c:4d:53:53:50:00:01:00:00:00", "ntlm-1"),
            ("Authorization: Negotiate TlRMTVNTUAABAAAA", "ntlm-1"),
            ("< WWW-Authenticate: NTLM TlRMTVNTUAACAAAA", "ntlm-2"),
            ("NTLM TlRMTVNTUAACAAAA", "ntlm-2"),
        ] {
            assert_eq!(kinds(text), [kind], "{text}");
        }
    }

    #[test]
    fn a_copied_exchange_gives_all_its_tokens() {
        let text = "GET / HTTP/1.1\nHost: x\n> Authorization: NTLM TlRMTVNTUAABAAAA\n\n< HTTP/1.1 401\n\
                    < WWW-Authenticate: NTLM TlRMTVNTUAACAAAA\n< Server: y\n";
        assert_eq!(kinds(text), ["ntlm-1", "ntlm-2"]);
    }

    #[test]
    fn what_is_nothing_is_a_mistake_of_use() {
        for text in ["", "  \n", "no/such.file", "what?", "iwa.keytab"] {
            assert_eq!(kinds(text), ["error"], "{text}");
        }
        assert!(read("/").is_err());
    }

    #[test]
    fn base64_that_breaks_off_is_explained_as_far_as_it_goes() {
        assert_eq!(kinds("TlRMTVNTUAABAAAAB4IIogAAAAAA!!!"), ["ntlm-1"]);
    }
}
