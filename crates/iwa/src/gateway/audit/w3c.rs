//! A line of the W3C extended log as IIS writes it. W3C WD-logfile-960323; IIS `<logFile logFormat="W3C">`.
//!
//! A space becomes `+`, nothing becomes `-`, the path is decoded, everything is UTF-8. What could break the line or a
//! terminal (control characters, line separators, marks of direction, bytes that are not UTF-8) stands as `%XX`, so that
//! nobody who chooses a path, a user agent or a name can write a line of their own.

use std::io::Write as _;

use http::header::{HOST, REFERER, USER_AGENT};
use iwa_auth::UnixTime;

use super::field::Field;
use crate::gateway::exchange::Exchange;

/// Appends the line of a request, with its line break.
pub(super) fn write(exchange: &Exchange<'_>, fields: &[Field], max_line: usize, out: &mut Vec<u8>) {
    let time = exchange.begun.to_string();
    let longest = (max_line.saturating_sub(FIXED) / VARIABLE).min(LONGEST_FIELD);
    let start = out.len();
    for &field in fields {
        if out.len() > start {
            out.push(b' ');
        }
        let before = out.len();
        write_field(exchange, field, &time, longest, out);
        if out.len() == before {
            out.push(b'-');
        }
    }
    // A line that begins with it is a directive.
    if out.get(start) == Some(&b'#') {
        out.splice(start..=start, *b"%23");
    }
    out.push(b'\n');
}

/// Appends the block that stands at the head of a file, and again where a server began to write into it anew.
pub(super) fn write_head(fields: &[Field], now: UnixTime, out: &mut Vec<u8>) {
    let time = now.to_string();
    let names: Vec<_> = fields.iter().map(|field| field.name()).collect();
    let software = concat!("iwa ", env!("CARGO_PKG_VERSION"));
    let (date, time) = (date_of(&time), time_of(&time));
    let _ = write!(out, "#Software: {software}\n#Version: 1.0\n#Date: {date} {time}\n#Fields: {}\n", names.join(" "));
}

fn write_field(exchange: &Exchange<'_>, field: Field, time: &str, longest: usize, out: &mut Vec<u8>) {
    let header = |name| exchange.headers.get(name).map_or(&[][..], |value: &http::HeaderValue| value.as_bytes());
    // Writing into memory does not fail.
    let _ = match field {
        Field::Date => out.write_all(date_of(time).as_bytes()),
        Field::Time => out.write_all(time_of(time).as_bytes()),
        Field::ServerName => return text(server_name().as_bytes(), longest, out),
        Field::ServerIp => write!(out, "{}", exchange.server.ip().to_canonical()),
        Field::Method => return text(exchange.method.as_str().as_bytes(), longest, out),
        Field::UriStem => return path(exchange.uri.path(), longest, out),
        Field::UriQuery => return text(exchange.uri.query().unwrap_or_default().as_bytes(), longest, out),
        Field::ServerPort => write!(out, "{}", exchange.server.port()),
        Field::UserName => {
            // Only a name that was proven: what a client claims is in the other log.
            if let Some(identity) = exchange.identity {
                let account = identity.account();
                text(account.domain.as_bytes(), longest, out);
                out.push(b'\\');
                text(account.name.as_bytes(), longest, out);
            }
            return;
        }
        Field::ClientIp => write!(out, "{}", exchange.client.ip().to_canonical()),
        Field::Version => write!(out, "{:?}", exchange.version),
        Field::UserAgent => return text(header(USER_AGENT), longest, out),
        Field::Referer => return text(header(REFERER), longest, out),
        Field::Host => return text(header(HOST), longest, out),
        Field::Status => write!(out, "{}", exchange.status.http.as_u16()),
        Field::SubStatus => write!(out, "{}", exchange.status.sub),
        Field::Win32Status => write!(out, "{}", exchange.status.win32),
        Field::BytesSent => match exchange.length {
            Some(length) => write!(out, "{length}"),
            None => Ok(()),
        },
        Field::TimeTaken => write!(out, "{}", exchange.taken.as_millis()),
    };
}

/// Appends what came from outside, safely, and not more than `longest` bytes of it.
fn text(bytes: &[u8], longest: usize, out: &mut Vec<u8>) {
    let end = out.len().saturating_add(longest);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if out.len() >= end {
                return out.extend_from_slice(CUT);
            }
            let mut buffer = [0; 4];
            match c {
                ' ' => out.push(b'+'),
                c if is_plain(c) => out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes()),
                c => c.encode_utf8(&mut buffer).bytes().for_each(|byte| percent(byte, out)),
            }
        }
        if out.len() >= end && !chunk.invalid().is_empty() {
            return out.extend_from_slice(CUT);
        }
        chunk.invalid().iter().for_each(|&byte| percent(byte, out));
    }
}

/// Appends a path, decoded as IIS has it, as far as what it decodes to may stand in a line. An encoded percent sign stays.
fn path(raw: &str, longest: usize, out: &mut Vec<u8>) {
    if !raw.contains('%') {
        return text(raw.as_bytes(), longest, out);
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let digits = after.first_chunk::<2>().filter(|_| byte == b'%');
        let value = digits.and_then(|&[high, low]| {
            let digit = |byte| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            Some(digit(high)? << 4 | digit(low)?)
        });
        match value {
            Some(b'%') => {
                decoded.extend_from_slice(b"%25");
                rest = rest.get(2..).unwrap_or_default();
            }
            Some(value) => {
                decoded.push(value);
                rest = rest.get(2..).unwrap_or_default();
            }
            None => decoded.push(byte),
        }
    }
    text(&decoded, longest, out);
}

/// Whether a character may stand in a line as it is.
fn is_plain(c: char) -> bool {
    !(c.is_control()
        || c.is_whitespace()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'))
}

fn percent(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push(b'%');
    for nibble in [byte >> 4, byte & 15] {
        out.extend(DIGITS.get(usize::from(nibble)));
    }
}

/// `2026-11-23` of `2026-11-23T14:15:16Z`.
pub(super) fn date_of(time: &str) -> &str {
    time.split_once('T').map_or(time, |(date, _)| date)
}

/// `14:15:16` of `2026-11-23T14:15:16Z`.
pub(super) fn time_of(time: &str) -> &str {
    time.split_once('T').map_or(time, |(_, time)| time.trim_end_matches('Z'))
}

fn server_name() -> &'static str {
    static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    NAME.get_or_init(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        name.or_else(|| std::env::var("COMPUTERNAME").ok()).unwrap_or_default().trim().to_owned()
    })
}

/// Stands where a field was cut.
const CUT: &[u8] = b"...";
/// IIS cuts a field after so many bytes.
const LONGEST_FIELD: usize = 4096;
/// Bytes that the fields of limited length need at most, and how many fields have no limit of their own.
const FIXED: usize = 256;
const VARIABLE: usize = 7;
