//! A line of the log that says why: JSON Lines, one object a request.
//!
//! | member | meaning |
//! |---|---|
//! | `time`, `id`, `ms` | when the request came; its name, which stands on the client's page too; how long it took |
//! | `client`, `server`, `onConnection` | both addresses; the how manieth request of its connection it was |
//! | `by` | the proxy in front that says who the client is, and is believed |
//! | `method`, `url`, `version` | the request |
//! | `status`, `substatus`, `win32` | the answer, as IIS counts |
//! | `user`, `sid`, `mechanism`, `proof` | who it is; whether this `request` proved it, or the `connection` or a `session` did earlier |
//! | `local` | what an application calls them, where a `[[mapping]]` says |
//! | `scheme`, `claimed` | of a failure: the scheme, and whom the client claimed to be, which nothing proves |
//! | `reason` | the kind of failure, for filters; never changes its meaning |
//! | `why` | what happened, in words |
//! | `binding` | of a sign-in, where extended protection asks: `bound` to its TLS connection, or `unbound` |
//! | `unbound` | where it reports: how many sign-ins since the start `require` would have refused |
//! | `note` | what the operator should know although it went well |

use std::io::Write as _;

use iwa_auth::{Binding, Mechanism};
use iwa_http::Status;
use iwa_wire::explain::printable;
use serde::Serialize;

use crate::gateway::exchange::{Exchange, Proved};

/// Appends the line of a request, with its line break.
pub(super) fn write(exchange: &Exchange<'_>, out: &mut Vec<u8>) {
    let account = exchange.identity.map(iwa_auth::Identity::account);
    let line = Line {
        time: time(exchange.begun),
        id: exchange.id.to_string(),
        client: match exchange.client {
            unknown if unknown.port() == 0 => unknown.ip().to_string(),
            client => client.to_string(),
        },
        by: exchange.by.map(|by| by.to_string()),
        server: exchange.server.to_string(),
        on_connection: exchange.on_connection,
        method: safe(exchange.method.as_str()),
        url: safe(exchange.uri.path_and_query().map_or("*", |path| path.as_str())),
        version: format!("{:?}", exchange.version),
        status: exchange.status.http.as_u16(),
        substatus: exchange.status.sub,
        win32: exchange.status.win32,
        user: exchange.identity.map(ToString::to_string),
        sid: account.and_then(|account| account.sid).map(|sid| sid.to_string()),
        mechanism: exchange.identity.map(|identity| identity.mechanism().to_string()),
        proof: exchange.identity.map(|_| exchange.proved.name()),
        local: exchange.mapped.map(safe),
        scheme: exchange.scheme,
        claimed: exchange.claimed.map(safe),
        reason: exchange.reason.map(iwa_auth::Reason::code),
        binding: match exchange.binding {
            Binding::Unchecked => None,
            Binding::Bound => Some("bound"),
            Binding::Unbound => Some("unbound"),
        },
        unbound: exchange.unbound,
        why: why(exchange),
        note: exchange.note,
        ms: u64::try_from(exchange.taken.as_micros()).unwrap_or(u64::MAX) as f64 / 1000.0,
    };
    let start = out.len();
    // Writing into memory does not fail; a line that did would rather not be there than be half.
    if serde_json::to_writer(&mut *out, &line).is_err() {
        out.truncate(start);
    }
    out.push(b'\n');
}

/// Appends a line about the log itself.
pub(super) fn write_loss(now: iwa_auth::UnixTime, lost: u64, out: &mut Vec<u8>) {
    let why = "requests came faster than the disk takes their lines";
    let _ = writeln!(out, "{}", serde_json::json!({ "time": time(now), "lost": lost, "why": why }));
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    time: String,
    id: String,
    client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    server: String,
    on_connection: u64,
    method: String,
    url: String,
    version: String,
    status: u16,
    substatus: u16,
    win32: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mechanism: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheme: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claimed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unbound: Option<u64>,
    why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    ms: f64,
}

/// What happened, in words.
fn why(exchange: &Exchange<'_>) -> String {
    if let Some(reason) = exchange.reason {
        return reason.to_string();
    }
    match (exchange.status, exchange.identity) {
        (Status::CONTINUE, _) => match exchange.scheme {
            Some(scheme) => format!("{scheme}: the handshake goes on; this 401 is its normal middle, not a failure"),
            None => "the handshake goes on; this 401 is its normal middle, not a failure".to_owned(),
        },
        (Status::CHALLENGE, None) => {
            "nobody signed in: the client was told how; this 401 is the normal beginning, not a failure".to_owned()
        }
        (Status { http, .. }, Some(identity)) => {
            let how = match (identity.mechanism(), exchange.proved) {
                (mechanism, Proved::Request) => format!("signed in with {mechanism}"),
                (Mechanism::Basic, Proved::Connection) => "signed in with Basic".to_owned(),
                (mechanism, Proved::Session) => format!("signed in with {mechanism} when the session began"),
                (mechanism, Proved::Connection) => format!("signed in with {mechanism} earlier on this connection"),
            };
            match http.as_u16() {
                401 | 403 => format!("{how}, and the rules do not let {identity} in here"),
                _ => how,
            }
        }
        (Status { http, .. }, None) => match http.as_u16() {
            401 | 403 => "the rules do not let anonymous visitors in here".to_owned(),
            _ => "anonymous".to_owned(),
        },
    }
}

fn safe(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => printable(text.get(..end).unwrap_or_default()) + "...",
        None => printable(text),
    }
}

/// ISO 8601 with milliseconds.
fn time(time: iwa_auth::UnixTime) -> String {
    let text = time.to_string();
    format!("{}.{:03}Z", text.trim_end_matches('Z'), time.subsec_micros() / 1000)
}

/// Characters of a text from outside.
const LONGEST: usize = 4096;
