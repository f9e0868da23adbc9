//! The form for visitors who have no ticket: in place of their browser's dialog, and at `/.iwa/sign-in`. WHATWG URL 5.1
//! (`application/x-www-form-urlencoded`), RFC 6265 4.1, RFC 6454 7.
//!
//! The page is shown at the address that was asked for, and its form is sent to `/.iwa/sign-in`, which begins a session and leads
//! back. What becomes of a password is what becomes of one in Basic; the connection learns nothing of it.
//!
//! Nobody is signed in as somebody else by another site: browsers say where a form comes from, and what the form has in it must be
//! what the browser keeps in a cookie that no other site can read or set.

use core::fmt::Write as _;
use core::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{
    ALLOW, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, FORWARDED, HeaderName, HeaderValue,
    SET_COOKIE, VIA,
};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use iwa_auth::Secret;
use iwa_auth::reject::{Policy as Forbidden, Reason, Unavailable};
use iwa_http::{Os, Outcome, Refused, Status, System as _};
use zeroize::Zeroizing;

use super::body::Body;
use super::decide::Asked;
use super::exchange::Proved;
use super::gate::{Instead, Manner};
use super::handle::Answer;
use super::own;
use super::pages::{self, escape};
use super::path::Path;
use super::session::logout::is_from_here;
use super::session::{Demand, Marks};
use super::site::{Denied, Route, Site};
use super::templates::{Facts, Page};

/// Where the form is sent.
pub(crate) const ADDRESS: &str = "/.iwa/sign-in";

/// The page with the form, at the address that was asked for; `None` where it must not be filled in.
pub(crate) fn in_place(manner: &Manner, asked: &Asked<'_>, status: Status) -> Option<Response<Body>> {
    demand(manner, asked).filter(|_| is_safe(asked))?;
    page(asked, status, &Saying::ASK, &target(asked.target))
}

/// Answers a request for `/.iwa/sign-in`.
pub(crate) async fn answer(site: &Site, asked: &Asked<'_>, request: &Parts, body: &mut Option<Incoming>) -> Answer {
    asked.connection.count_request();
    let reading = matches!(request.method, Method::GET | Method::HEAD);
    if !reading && request.method != Method::POST {
        let mut answer = served(asked, StatusCode::METHOD_NOT_ALLOWED, None);
        answer.response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
        return answer;
    }
    if !is_safe(asked) {
        return Answer::refused(asked.id, Forbidden::BasicInClear.into());
    }
    if reading {
        let Ok(fields) = Fields::read(request.uri.query().unwrap_or_default().as_bytes()) else {
            return served(asked, StatusCode::BAD_REQUEST, None);
        };
        let to = target(&fields.to.unwrap_or_default());
        let there = match Whither::of(site, asked, &to) {
            Ok(there) => there,
            Err(answer) => return *answer,
        };
        let status = Status::served(StatusCode::OK);
        return match page(asked, status, &Saying::ASK, there.to) {
            Some(page) => Answer::of(page, status),
            None => served(asked, StatusCode::INTERNAL_SERVER_ERROR, Some(NO_ENTROPY)),
        };
    }
    if !is_from_here(asked.front, asked.headers) {
        return served(asked, StatusCode::FORBIDDEN, Some("a form that another site sent is refused"));
    }
    if !is_a_form(asked.headers) {
        return served(asked, StatusCode::UNSUPPORTED_MEDIA_TYPE, Some("the body is no form"));
    }
    let bytes = match collect(asked.headers, body).await {
        Ok(bytes) => bytes,
        Err((status, close)) => return Answer { close, ..served(asked, status, Some("the form was not read")) },
    };
    let fields = match Fields::read(&bytes) {
        Ok(fields) => fields,
        Err(why) => return served(asked, StatusCode::BAD_REQUEST, Some(why)),
    };
    drop(bytes);
    let to = target(&fields.to.unwrap_or_default());
    let there = match Whither::of(site, asked, &to) {
        Ok(there) => there,
        Err(answer) => return *answer,
    };
    if !fields.token.is_some_and(|token| is_of_this_browser(asked, &token)) {
        let note = "the form is not one that this browser was given: it was open for too long, or another site made it up, or the \
                    browser keeps no cookies";
        let page = page(asked, Status::FORBIDDEN, &Saying::STALE, there.to);
        let page = page.unwrap_or_else(|| pages::refusal(Status::FORBIDDEN, asked.id, None));
        return Answer { note: Some(note.to_owned()), ..Answer::of(page, Status::FORBIDDEN) };
    }
    let (Some(user), Some(password)) = (fields.user, fields.password) else {
        return served(asked, StatusCode::BAD_REQUEST, Some("the form has no name or no password"));
    };
    there.sign_in(site, asked, &user, password).await
}

/// Where somebody wants to go, and what is demanded there.
struct Whither<'a> {
    to: &'a str,
    route: &'a Route,
    manner: &'a Manner,
    demand: &'a Demand,
}

impl<'a> Whither<'a> {
    fn of(site: &'a Site, asked: &Asked<'_>, to: &'a str) -> Result<Self, Box<Answer>> {
        let path = to.split('?').next().unwrap_or_default();
        let found = Path::read(path).ok().and_then(|path| site.find(&path).ok().flatten());
        let manner = |route: &'a Route| route.gate.of(asked.front.client, asked.headers);
        let Some((route, manner)) = found.map(|route| (route, manner(route))) else {
            return Err(Box::new(served(asked, StatusCode::NOT_FOUND, None)));
        };
        if !offers(manner) {
            let note = "there is no form for where it is to lead";
            return Err(Box::new(served(asked, StatusCode::NOT_FOUND, Some(note))));
        }
        match demand(manner, asked) {
            Some(demand) => Ok(Self { to, route, manner, demand }),
            None => Err(Box::new(Answer::refused(asked.id, Forbidden::BasicInClear.into()))),
        }
    }

    /// What a request there does with Basic, up to what the route has.
    async fn sign_in(self, site: &Site, asked: &Asked<'_>, user: &str, password: Secret<String>) -> Answer {
        let Self { to, route, manner, demand } = self;
        let authenticator = manner.authenticator(site);
        let outcome = authenticator.password(asked.front.client, asked.connection, user, password).await;
        let identity = match outcome {
            Outcome::Admitted(admitted) => admitted.identity,
            Outcome::Refused(refused) => return again(asked, *refused, to),
        };
        // A password that is right is somebody's.
        let Some(identity) = identity else { return served(asked, StatusCode::INTERNAL_SERVER_ERROR, None) };
        let mut name = None;
        let mut note = BY_FORM.to_owned();
        let mut reason = None;
        let admitted = match site.name_of(&identity).await {
            Ok(mapped) => {
                name = mapped;
                route.admits(site.accounts.as_ref(), &site.domains, Some(&identity), &Method::GET).await
            }
            Err(denied) => Err(denied),
        };
        let (response, status) = match admitted {
            Ok(()) => match Marks::begin(site, demand, asked, &identity) {
                Ok(marks) => {
                    let mut response = pages::redirect(StatusCode::SEE_OTHER, to);
                    marks.attach(response.headers_mut());
                    (response, Status::served(StatusCode::SEE_OTHER))
                }
                Err(why) => {
                    let _ = write!(note, "; {why}");
                    let status = Status::served(StatusCode::INTERNAL_SERVER_ERROR);
                    (pages::refusal(status, asked.id, None), status)
                }
            },
            Err(Denied::ByRule(why)) => {
                let _ = write!(note, "; {why}");
                (pages::refusal(Status::FORBIDDEN, asked.id, Some(&identity)), Status::FORBIDDEN)
            }
            Err(Denied::Unknown(why)) => {
                let unknown = Reason::Unavailable(Unavailable::Accounts(why));
                let status = Status::of(&unknown);
                reason = Some(unknown);
                (pages::refusal(status, asked.id, Some(&identity)), status)
            }
        };
        let identity = Some(identity);
        Answer { identity, name, proved: Proved::Request, note: Some(note), reason, ..Answer::of(response, status) }
    }
}

/// The same answer whatever was wrong, unless nobody could be asked.
fn again(asked: &Asked<'_>, refused: Refused, to: &str) -> Answer {
    let Refused { status, reason, claimed, note, .. } = refused;
    let form = if status.http == StatusCode::UNAUTHORIZED { page(asked, status, &Saying::WRONG, to) } else { None };
    let response = form.unwrap_or_else(|| pages::refusal(status, asked.id, None));
    let note = note.map(str::to_owned);
    Answer { scheme: Some("Form"), claimed, reason, note, ..Answer::of(response, status) }
}

fn served(asked: &Asked<'_>, status: StatusCode, note: Option<&str>) -> Answer {
    let status = if status == StatusCode::FORBIDDEN { Status::FORBIDDEN } else { Status::served(status) };
    Answer { note: note.map(str::to_owned), ..Answer::of(pages::refusal(status, asked.id, None), status) }
}

/// Whether there is a form for visitors who sign in like this.
fn offers(manner: &Manner) -> bool {
    manner.instead == Instead::Form && !manner.off
}

/// What a session demands there, if a password can begin one over this connection.
fn demand<'m>(manner: &'m Manner, asked: &Asked<'_>) -> Option<&'m Demand> {
    let demand = manner.session.as_ref().filter(|_| offers(manner))?;
    demand.takes_passwords(asked.front.secure).then_some(demand)
}

/// Whether a password may come this way: over TLS as the client sees it, or from this machine and nobody else's behind it.
fn is_safe(asked: &Asked<'_>) -> bool {
    let front = asked.front;
    let itself = || front.by.is_none() && !OF_PROXIES.iter().any(|name| asked.headers.contains_key(name));
    asked.connection.keeps_secrets() && (front.secure || (front.client.is_loopback() && itself()))
}

/// Where the form leads: a path of this site with its query, else its root. Everything else could be another site's address for
/// some browser, or lead around in a circle.
fn target(to: &str) -> String {
    let path = to.split('?').next().unwrap_or_default();
    let plain = |to: &str| {
        to.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"' | b'<' | b'>' | b'#'))
            && !to.starts_with("//")
            && Path::read(path).is_ok_and(|path| !path.as_str().to_ascii_lowercase().starts_with(own::PREFIX))
    };
    [to, path].into_iter().find(|to| to.len() <= LONGEST_TARGET && plain(to)).unwrap_or("/").to_owned()
}

/// What the page says. Constant, because whoever guesses passwords reads it too.
struct Saying {
    title: &'static str,
    what: &'static str,
    wrong: bool,
}

impl Saying {
    const ASK: Self = Self { title: "Sign in", what: "Sign in with the account that you have here.", wrong: false };

    const WRONG: Self = Self {
        title: "Sign in",
        what: "That did not work. Check the name and the password; after several wrong ones an account has to wait a while.",
        wrong: true,
    };

    const STALE: Self = Self {
        title: "Sign in",
        what: "This page was open for too long, or your browser keeps no cookies. Please try again.",
        wrong: true,
    };
}

/// The page with the form. `None` if there is no randomness to be had.
fn page(asked: &Asked<'_>, status: Status, saying: &Saying, to: &str) -> Option<Response<Body>> {
    let (token, set) = match token_of(asked) {
        Some(token) => (token.to_owned(), None),
        None => {
            let mut random = [0; TOKEN];
            Os.random(&mut random).ok()?;
            let token = URL_SAFE_NO_PAD.encode(random);
            let secure = if asked.front.secure { "; Secure" } else { "" };
            let line = format!("{}={token}; Path=/{secure}; HttpOnly; SameSite=Lax", cookie_name(asked));
            (token, Some(HeaderValue::try_from(line).ok()?))
        }
    };
    let mut form = format!("<form class=\"sign-in\" method=\"post\" action=\"{ADDRESS}\">");
    let _ = write!(
        form,
        "<input type=\"hidden\" name=\"to\" value=\"{}\"><input type=\"hidden\" name=\"token\" value=\"{token}\">{FIELDS}</form>",
        escape(to)
    );
    let class = if saying.wrong { " class=\"wrong\" role=\"alert\"" } else { "" };
    let number = format_args!("{}.{}", status.http.as_u16(), status.sub);
    let main =
        format!("<p{class}>{}</p>{form}<p class=\"small\">{number} &middot; request {}</p>", saying.what, asked.id);
    let mut response = pages::html_with(status.http, saying.title, STYLE, &main);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    if let Some(set) = set {
        headers.append(SET_COOKIE, set);
    }
    response.extensions_mut().insert(Facts {
        page: Page::SignIn,
        title: saying.title,
        what: saying.what,
        help: "",
        status,
        request_id: asked.id,
        user: String::new(),
        form,
    });
    Some(response)
}

/// What this browser was given, if it was.
fn token_of<'a>(asked: &Asked<'a>) -> Option<&'a str> {
    let name = cookie_name(asked);
    let lines = asked.headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut tokens = lines.flat_map(|line| line.split(';')).filter_map(|cookie| {
        let (found, value) = cookie.trim().split_once('=')?;
        (found == name).then_some(value)
    });
    let token = tokens.next().filter(|token| URL_SAFE_NO_PAD.decode(token).is_ok_and(|bytes| bytes.len() == TOKEN))?;
    // With two of a name nobody knows whose is whose.
    tokens.next().is_none().then_some(token)
}

fn is_of_this_browser(asked: &Asked<'_>, token: &str) -> bool {
    token_of(asked).is_some_and(|wanted| {
        aws_lc_rs::constant_time::verify_slices_are_equal(wanted.as_bytes(), token.as_bytes()).is_ok()
    })
}

/// No other host, and nobody without TLS, can set one of that prefix: RFC 6265bis 4.1.3.2. Both are names of session cookies,
/// which no application sees.
const fn cookie_name(asked: &Asked<'_>) -> &'static str {
    if asked.front.secure { "__Host-iwa-form" } else { "iwa-session-form" }
}

fn is_a_form(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let Ok(line) = line.to_str() else { return false };
    let mut parts = line.split(';').map(str::trim);
    parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/x-www-form-urlencoded"))
        && parts.all(|parameter| parameter.eq_ignore_ascii_case("charset=utf-8"))
}

/// The body, in one buffer that is wiped. Else the status that says why not, and whether the connection is of no further use.
async fn collect(headers: &HeaderMap, body: &mut Option<Incoming>) -> Result<Zeroizing<Vec<u8>>, (StatusCode, bool)> {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > LONGEST_BODY) {
        return Err((StatusCode::PAYLOAD_TOO_LARGE, false));
    }
    let mut body = body.take().ok_or((StatusCode::BAD_REQUEST, true))?;
    let read = async {
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST_BODY));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| (StatusCode::BAD_REQUEST, true))?;
            let Some(data) = frame.data_ref() else { continue };
            if bytes.len() + data.len() > LONGEST_BODY {
                return Err((StatusCode::PAYLOAD_TOO_LARGE, true));
            }
            bytes.extend_from_slice(data);
        }
        Ok(bytes)
    };
    tokio::time::timeout(LONGEST_WAIT, read).await.unwrap_or(Err((StatusCode::REQUEST_TIMEOUT, true)))
}

/// What a form says. Fields of other names, such as that of a button, are nobody's.
#[derive(Default)]
struct Fields {
    user: Option<String>,
    password: Option<Secret<String>>,
    to: Option<String>,
    token: Option<String>,
}

impl Fields {
    fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut fields = Self::default();
        for pair in bytes.split(|byte| *byte == b'&') {
            let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
                Some(at) => (pair.get(..at).unwrap_or_default(), pair.get(at + 1..).unwrap_or_default()),
                None => (pair, &[][..]),
            };
            let name = decode(name)?;
            let twice = match name.as_str() {
                "user" => fields.user.replace(plain(decode(value)?)?.to_string()).is_some(),
                "password" => {
                    let mut value = plain(decode(value)?)?;
                    fields.password.replace(Secret::new(core::mem::take(&mut *value))).is_some()
                }
                "to" => fields.to.replace(decode(value)?.to_string()).is_some(),
                "token" => fields.token.replace(decode(value)?.to_string()).is_some(),
                _ => false,
            };
            if twice {
                return Err("a field of the form stands twice");
            }
        }
        Ok(fields)
    }
}

/// Names and passwords have no control characters in Basic either: RFC 7617 2.
fn plain(text: Zeroizing<String>) -> Result<Zeroizing<String>, &'static str> {
    if text.chars().any(char::is_control) { Err("a name or a password has a control character") } else { Ok(text) }
}

fn decode(value: &[u8]) -> Result<Zeroizing<String>, &'static str> {
    const BAD: &str = "the form is not encoded as a form";
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    // As long as it can become: nothing is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(value.len()));
    let mut rest = value.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else { return Err(BAD) };
                u8::try_from(high << 4 | low).map_err(|_| BAD)?
            }
            byte => *byte,
        });
    }
    match String::from_utf8(core::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err("the form is not UTF-8")
        }
    }
}

const FIELDS: &str = "<label for=\"user\">Name</label>\
    <input id=\"user\" name=\"user\" autocomplete=\"username\" autocapitalize=\"none\" spellcheck=\"false\" required autofocus>\
    <label for=\"password\">Password</label>\
    <input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"current-password\" required>\
    <button>Sign in</button>";

const STYLE: &str = "<style>.sign-in label{display:block;margin:1em 0 .2em}\
    .sign-in input,.sign-in button{font:inherit;padding:.4em .6em;border-radius:4px;border:1px solid #888}\
    .sign-in input{box-sizing:border-box;width:100%}.sign-in button{margin:1.4em 0 0;padding:.4em 1.4em;background:#0b5cad;\
    border-color:#0b5cad;color:#fff}.wrong{border-left:4px solid #c33;padding-left:.8em}</style>";

const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What proxies add that nobody told us of: the client is not on this machine then, although they are.
static OF_PROXIES: [HeaderName; 6] = [
    VIA,
    FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
];

const BY_FORM: &str = "by the form";
const NO_ENTROPY: &str = "there is no randomness to be had";

/// Bytes of a form, and of what it leads to: three of them are one, encoded.
const LONGEST_BODY: usize = 8192;
const LONGEST_TARGET: usize = 2000;

/// Bytes of what ties a form to its browser.
const TOKEN: usize = 16;

/// For a form to come.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_leads_to_a_path_of_this_site_and_nowhere_else() {
        for good in ["/", "/a", "/a/b?c=d&e=//f", "/a%20b", "/a/?to=https://x"] {
            assert_eq!(target(good), good);
        }
        for bad in [
            "",
            "a",
            "//evil.test",
            "/\\evil.test",
            "\\/evil.test",
            "https://evil.test/",
            "javascript:alert(1)",
            "/\t/evil.test",
            "/%0d%0aSet-Cookie:x",
            "/\r\nSet-Cookie: x",
            "/%5cevil.test",
            "/%2fevil.test",
            "/%2f%2fevil.test",
            "/.//evil.test",
            "/..//evil.test",
            "/a/../../x",
            "/;//evil.test",
            "///evil.test",
            "/.iwa/logout",
            "/%2eiwa/logout",
            "/.IWA/sign-in",
            "/a b",
            "/ä",
            "/a#b",
            "/a\"b",
            "/<a>",
            " /a",
            "?a",
            "*",
            "mailto:a@evil.test",
        ] {
            assert_eq!(target(bad), "/", "{bad:?}");
        }
        assert_eq!(target(&format!("/a?{}", "b".repeat(3000))), "/a");
        assert_eq!(target(&format!("/{}", "b".repeat(3000))), "/");
        assert_eq!(target("/a?b\\c"), "/a");
    }

    #[test]
    fn a_form_is_read_as_browsers_write_it() {
        let fields = Fields::read("user=WEB%5Calice&password=%C3%A4+%2B%25%26%3D&go=&to=%2Fa%3Fb&token=x".as_bytes())
            .ok()
            .unwrap();
        assert_eq!(fields.user.as_deref(), Some("WEB\\alice"));
        assert_eq!(fields.password.map(|password| password.expose().clone()).as_deref(), Some("ä +%&="));
        assert_eq!((fields.to.as_deref(), fields.token.as_deref()), (Some("/a?b"), Some("x")));
        for bad in [
            "user=a&user=b",
            "password=a&password=a",
            "to=/&t%6f=/",
            "token=&token=",
            "user=%",
            "user=%4",
            "user=%zz",
            "password=%ff",
            "user=a%00b",
            "password=a%0ab",
            "user&user",
        ] {
            assert!(Fields::read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
