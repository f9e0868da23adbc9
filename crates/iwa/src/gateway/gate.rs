//! Who is asked to sign in, and how: what a route says, and its clauses for some clients. The first clause that holds counts.
//!
//! What a client says of itself (`User-Agent`, any header) is a claim, and an address is where packets come from: neither proves
//! who somebody is. A clause chooses how a client is asked, and never who it is.
//!
//! Browsers answer a challenge that they cannot answer by themselves with a dialog that asks for a password. Where a route has
//! something better to show ([`Instead`]), only the bare `Negotiate` is offered, which a browser answers by itself or not at all,
//! and only until it failed: the second `Negotiate` is what makes Windows ask.

use core::fmt;
use core::net::IpAddr;

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use ipnet::IpNet;
use iwa_http::{Authenticator, Refused, Status};
use regex_lite::{Regex, RegexBuilder};

use super::decide::Asked;
use super::form;
use super::handle::Answer;
use super::pages;
use super::path::encode;
use super::session::Demand;
use super::site::Site;

/// How visitors sign in on a route.
pub(crate) struct Gate {
    clauses: Vec<(Condition, Manner)>,
    otherwise: Manner,
}

impl Gate {
    /// The first of the clauses that holds, else `otherwise`.
    pub(crate) const fn new(clauses: Vec<(Condition, Manner)>, otherwise: Manner) -> Self {
        Self { clauses, otherwise }
    }

    /// All ways to sign in here.
    pub(crate) fn manners(&self) -> impl Iterator<Item = &Manner> {
        self.clauses.iter().map(|(_, manner)| manner).chain([&self.otherwise])
    }

    /// How this client signs in.
    pub(crate) fn of(&self, client: IpAddr, headers: &HeaderMap) -> &Manner {
        let clause = self.clauses.iter().find(|(condition, _)| condition.holds(client, headers));
        clause.map_or(&self.otherwise, |(_, manner)| manner)
    }
}

/// A way to sign in.
pub(crate) struct Manner {
    /// `None`: that of the site.
    pub(crate) authenticator: Option<Authenticator>,
    /// Nobody is asked, and what a request brings is the application's.
    pub(crate) off: bool,
    /// What a visitor sees who has nothing to sign in with.
    pub(crate) instead: Instead,
    /// Sessions; `None` if there are none here.
    pub(crate) session: Option<Demand>,
}

impl Manner {
    /// Who signs visitors in.
    pub(crate) fn authenticator<'a>(&'a self, site: &'a Site) -> &'a Authenticator {
        self.authenticator.as_ref().unwrap_or(&site.authenticator)
    }

    /// The answer to a request that is not let in.
    pub(crate) fn refuse(&self, asked: &Asked<'_>, mut refused: Refused) -> Answer {
        let dialog = self.instead == Instead::Dialog;
        if dialog || refused.keep_connection || refused.status.http != StatusCode::UNAUTHORIZED {
            return Answer::challenge(asked.id, refused);
        }
        let first = refused.reason.is_none();
        refused.challenges.retain(|line| first && line.as_bytes() == b"Negotiate");
        let silent = refused.challenges.is_empty();
        if !first {
            refused.note = refused.note.or(Some(NOT_AGAIN));
        }
        if let Some(page) = form::in_place(self, asked, refused.status) {
            if silent {
                refused.challenges.extend(elsewhere(form::ADDRESS));
            }
            return Answer::asking(page, refused);
        }
        let Instead::Login(login) = &self.instead else { return Answer::challenge(asked.id, refused) };
        let address = login.address(asked.target);
        if first && silent && matches!(*asked.method, Method::GET | Method::HEAD) {
            let response = pages::redirect(StatusCode::FOUND, &address);
            return Answer {
                note: Some(LED_AWAY.to_owned()),
                ..Answer::of(response, Status::served(StatusCode::FOUND))
            };
        }
        if silent {
            refused.challenges.extend(elsewhere(&address));
        }
        let page = pages::leads_to(refused.status, asked.id, &address);
        Answer::asking(page, refused)
    }
}

/// When a clause holds: all of what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    /// The client's address is in one of these; empty: wherever it is.
    pub(crate) networks: Vec<IpNet>,
    /// And in none of these.
    pub(crate) not_networks: Vec<IpNet>,
    /// Each of these headers is there, and its expression is found in it.
    pub(crate) headers: Vec<(HeaderName, Pattern)>,
}

impl Condition {
    fn holds(&self, client: IpAddr, headers: &HeaderMap) -> bool {
        let within = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&client));
        (self.networks.is_empty() || within(&self.networks))
            && !within(&self.not_networks)
            && self
                .headers
                .iter()
                .all(|(name, pattern)| headers.get_all(name).iter().any(|value| pattern.is_found_in(value.as_bytes())))
    }

    /// Whether anybody at all could make it hold, by what they say.
    pub(crate) const fn is_a_claim(&self) -> bool {
        self.networks.is_empty()
    }

    /// Whether it says nothing.
    pub(crate) const fn is_empty(&self) -> bool {
        self.networks.is_empty() && self.not_networks.is_empty() && self.headers.is_empty()
    }
}

/// A regular expression that is looked for. Its size is bounded, and so is what it is looked for in.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST_PATTERN {
            return Err(format!("it is longer than {LONGEST_PATTERN} bytes"));
        }
        let regex = RegexBuilder::new(text).size_limit(LARGEST_PATTERN).build().map_err(|error| error.to_string())?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// Only the beginning of a long value is looked at: what an expression costs grows with it.
    fn is_found_in(&self, value: &[u8]) -> bool {
        let value = value.get(..LONGEST_VALUE).unwrap_or(value);
        self.regex.is_match(&String::from_utf8_lossy(value))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What visitors see who cannot be signed in without being asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Instead {
    /// The browser's own dialog, where it has one for what is offered.
    #[default]
    Dialog,
    /// A page that says that they are not signed in.
    Page,
    /// A form of this server, where they give a name and a password.
    Form,
    /// The page of an application, where they sign in.
    Login(Login),
}

/// Where an application signs its users in: `/login`, `https://app.example.test/login?next={path}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Login(String);

impl Login {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let of_scheme = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let plain = |host: &str| !host.is_empty() && !host.starts_with(['/', '?', '#']);
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\')) {
            return Err("it has characters that stand in no address");
        }
        let holes = text.replace("{path}", "");
        if holes.contains(['{', '}']) {
            return Err("the only placeholder is {path}");
        }
        match (text.split_once("{path}"), of_scheme) {
            (Some((before, _)), _) if !before.contains('?') => {
                Err("{path} is the path that was asked for, encoded as the value of a query: it stands behind a ?")
            }
            (_, Some(host)) if plain(host) => Ok(Self(text.to_owned())),
            (_, None) if text.starts_with('/') && !text.starts_with("//") => Ok(Self(text.to_owned())),
            _ => Err(""),
        }
    }

    /// The path, if it is one of this server's.
    pub(crate) fn own_path(&self) -> Option<&str> {
        self.0.starts_with('/').then(|| self.0.split(['?', '#']).next().unwrap_or_default())
    }

    /// For somebody who asked for `target`, a path with its query.
    fn address(&self, target: &str) -> String {
        if self.0.contains("{path}") { self.0.replace("{path}", &encode(target)) } else { self.0.clone() }
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A 401 must name a way to sign in (RFC 9110 15.5.2). Browsers know no scheme of this name, and so show the page.
fn elsewhere(address: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("Cookie form-action=\"{address}\"")).ok()
}

const NOT_AGAIN: &str =
    "no second challenge goes out, which would make a browser ask for a password: the visitor sees a page";

const LED_AWAY: &str = "nobody yet: the visitor is led to the page where the application signs its users in";

/// Bytes of an expression, and of what it is compiled to.
const LONGEST_PATTERN: usize = 512;
const LARGEST_PATTERN: usize = 64 << 10;

/// Bytes of a header that are looked at.
const LONGEST_VALUE: usize = 1024;

#[cfg(test)]
mod tests;
