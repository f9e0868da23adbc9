//! `/.iwa/logout`: ends the session of whoever asks. RFC 9110 9.2.1 (GET changes nothing), Fetch Metadata, RFC 6454 7 (`Origin`).
//!
//! GET shows a page that asks; POST does it. No other site can do it in somebody's name: browsers say where a POST comes from, and
//! one that does not come from here is refused.

use core::fmt::Write as _;
use std::sync::Arc;

use http::header::{ALLOW, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use http::request::Parts;
use http::{Method, StatusCode};
use iwa_http::session::{self, Presented, cookie, seal::canonical_host};
use iwa_http::{Os, Status, System as _};

use super::revoked::Whose;
use super::{Marks, Sessions};
use crate::gateway::decide::Asked;
use crate::gateway::exchange::Proved;
use crate::gateway::front::Front;
use crate::gateway::handle::Answer;
use crate::gateway::pages;
use crate::gateway::path::encode;
use crate::gateway::site::Site;

/// Answers a request for it.
pub(crate) async fn answer(site: &Site, sessions: &Arc<Sessions>, asked: &Asked<'_>, request: &Parts) -> Answer {
    let target = request.uri.query().and_then(return_address);
    let target = target.filter(|target| sessions.config.return_to.contains(target));
    match request.method {
        Method::GET | Method::HEAD => {
            let query = target.map(|target| format!("?return={}", encode(&target))).unwrap_or_default();
            let main = format!(
                "<p>Do you want to sign out here?</p><form method=\"post\" action=\"/.iwa/logout{}\"><button>Sign out</button></form>",
                pages::escape(&query)
            );
            let status = Status::served(StatusCode::OK);
            Answer::of(pages::html(StatusCode::OK, "Sign out", &main), status)
        }
        Method::POST if !is_from_here(asked.front, asked.headers) => {
            let note = Some("a sign-out that another site asked for is refused".to_owned());
            let status = Status::served(StatusCode::FORBIDDEN);
            Answer { note, ..Answer::of(pages::refusal(status, asked.id, None), status) }
        }
        Method::POST => sign_out(site, sessions, asked, target.as_deref()).await,
        _ => {
            let status = Status::served(StatusCode::METHOD_NOT_ALLOWED);
            let mut response = pages::refusal(status, asked.id, None);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
            Answer::of(response, status)
        }
    }
}

async fn sign_out(site: &Site, sessions: &Arc<Sessions>, asked: &Asked<'_>, target: Option<&str>) -> Answer {
    let (now, keys) = (Os.now(), sessions.keys.now());
    let mut identity = None;
    let mut ends = Vec::new();
    for demand in &site.demands {
        let place = demand.place(asked.front, asked.connection.certificate());
        if let Presented::Session(session) = session::presented(asked.headers, &keys, &place, &demand.terms, now) {
            // Whoever comes again with a cookie that was signed out does not make the list longer.
            if !sessions.revoked.ended(session.id, session.times.begun, &session.identity) {
                ends.push(Whose::Session(session.id, session.times.ends));
            }
            identity = Some(session.identity);
        }
    }
    drop(keys);
    // That of the connection may be another's, or its cookie be gone already.
    if let Some((id, begun, known)) = asked.connection.session() {
        let there = |whose: &Whose| matches!(whose, Whose::Session(other, _) if *other == id);
        if !ends.iter().any(there) && !sessions.revoked.ended(id, begun, &known) {
            ends.push(Whose::Session(id, begun.plus(sessions.longest)));
        }
        identity = identity.or(Some(known));
    }
    asked.connection.forget_identity();
    let of = Arc::clone(sessions);
    let revoked = tokio::task::spawn_blocking(move || {
        // Each, although one may fail: here it has ended then, too.
        ends.iter().map(|whose| of.revoked.revoke(whose)).fold(Ok(()), Result::and)
    });
    let failed = match revoked.await {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(why),
        Err(error) => Some(error.to_string()),
    };
    let mut answer = match (&failed, target) {
        (Some(why), _) => {
            tracing::error!(id = %asked.id, "a session was ended in this server alone: {why}");
            let status = Status::served(StatusCode::INTERNAL_SERVER_ERROR);
            Answer::of(pages::refusal(status, asked.id, None), status)
        }
        (None, Some(target)) => {
            Answer::of(pages::redirect(StatusCode::SEE_OTHER, target), Status::served(StatusCode::SEE_OTHER))
        }
        (None, None) => {
            let mut main = String::new();
            if let Some(identity) = &identity {
                let _ = write!(main, "<p><b>{}</b> is signed out.</p>", pages::escape(&identity.to_string()));
            }
            main.push_str(
                "<p>This site no longer knows you. A browser that signs in with your Windows account does so again by itself \
                 as soon as you open a page here: on a computer that others use, lock it or sign out of it.</p>",
            );
            Answer::of(pages::html(StatusCode::OK, "Signed out", &main), Status::served(StatusCode::OK))
        }
    };
    let marks = Marks { lines: cookie::clear_all(asked.headers), private: true };
    marks.attach(answer.response.headers_mut());
    let note =
        failed.unwrap_or_else(|| if identity.is_some() { "signed out" } else { "nobody was signed in" }.to_owned());
    Answer { identity, proved: Proved::Session, note: Some(note), ..answer }
}

/// Whether this site's own page asks, or something that is no browser.
pub(in crate::gateway) fn is_from_here(front: &Front<'_>, headers: &HeaderMap) -> bool {
    let one = |name: &HeaderName| {
        let mut lines = headers.get_all(name).iter();
        (lines.next(), lines.next().is_none())
    };
    let site = match one(&SEC_FETCH_SITE) {
        (None, _) => true,
        (Some(site), alone) => alone && site == "same-origin",
    };
    let origin = match one(&ORIGIN) {
        (None, _) => true,
        (Some(origin), alone) => {
            let scheme = if front.secure { "https://" } else { "http://" };
            let host = origin.to_str().ok().and_then(|origin| origin.strip_prefix(scheme));
            alone
                && host
                    .is_some_and(|host| canonical_host(host, front.secure) == canonical_host(front.host, front.secure))
        }
    };
    // Browsers of the last years send at least one of them with every POST.
    site && origin
}

/// `return=` of a query, decoded.
fn return_address(query: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("return="))?;
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            bytes.push(u8::from_str_radix(core::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
