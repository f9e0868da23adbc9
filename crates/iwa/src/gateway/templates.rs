//! Pages in an administrator's words and colours: `[pages]`. HTML files with placeholders, read with the configuration.
//!
//! A placeholder is a word in braces, `{title}`; what stands there is escaped. So `a{color:red}` of a style sheet is none. There is
//! no placeholder for why a sign-in failed, because an attacker reads the page too.

use core::fmt::Write as _;
use std::collections::BTreeMap;

use http::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use http::{Response, StatusCode};
use iwa_http::Status;

use super::body::Body;
use super::exchange::RequestId;
use super::pages::escape;

/// What a page is about; goes with the answer to where it is dressed.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) page: Page,
    pub(crate) title: &'static str,
    pub(crate) what: &'static str,
    pub(crate) help: &'static str,
    pub(crate) status: Status,
    pub(crate) request_id: RequestId,
    /// At 403, who they are; not escaped.
    pub(crate) user: String,
    /// HTML.
    pub(crate) form: String,
}

/// Which page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Page {
    /// `sign-in.html`.
    SignIn,
    /// `404.html`.
    Status(u16),
    /// `5xx.html`, for what has no page of its own.
    Class(u16),
}

impl Page {
    /// Of an answer with this status.
    pub(crate) const fn of(status: StatusCode) -> Self {
        Self::Status(status.as_u16())
    }

    /// By the name of its file, without `.html`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "sign-in" => Some(Self::SignIn),
            "4xx" => Some(Self::Class(4)),
            "5xx" => Some(Self::Class(5)),
            _ => name.parse().ok().filter(|status| name.len() == 3 && (400..600).contains(status)).map(Self::Status),
        }
    }
}

/// The pages there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Templates {
    pages: BTreeMap<Page, Template>,
    policy: Option<HeaderValue>,
}

impl Templates {
    /// Which there are.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.pages.keys().map(|page| match page {
            Page::SignIn => "sign-in".to_owned(),
            Page::Status(status) => status.to_string(),
            Page::Class(class) => format!("{class}xx"),
        })
    }

    /// These, with pictures, styles and fonts from these sources of a content security policy.
    pub(crate) fn new(pages: BTreeMap<Page, Template>, sources: &[String]) -> Self {
        let sources = sources.join(" ");
        let policy = format!(
            "default-src 'none'; style-src 'unsafe-inline' {sources}; img-src data: {sources}; font-src {sources}; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        );
        Self { pages, policy: HeaderValue::try_from(policy).ok() }
    }

    /// Whether an answer may want another page.
    pub(crate) fn concern(response: &Response<Body>) -> bool {
        response.extensions().get::<Facts>().is_some()
    }

    /// Puts the page of an answer in the place of the one that it has, if there is one.
    pub(crate) fn dress(&self, response: &mut Response<Body>) {
        let Some(facts) = response.extensions_mut().remove::<Facts>() else { return };
        let class = match facts.page {
            Page::Status(status) => Page::Class(status / 100),
            other => other,
        };
        let Some(template) = self.pages.get(&facts.page).or_else(|| self.pages.get(&class)) else { return };
        *response.body_mut() = Body::of(template.fill(&facts));
        if let Some(policy) = &self.policy {
            response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy.clone());
        }
    }
}

/// A page with placeholders.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Text(String),
    Hole(Hole),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hole {
    Title,
    What,
    Help,
    Status,
    RequestId,
    User,
    Form,
}

impl Template {
    /// Reads one.
    ///
    /// # Errors
    /// A word in braces that is no placeholder, with the line where it stands.
    pub(crate) fn parse(text: &str, page: Page) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let (mut rest, mut literal) = (text, String::new());
        while let Some(open) = rest.find('{') {
            let (before, from) = rest.split_at(open);
            literal.push_str(before);
            let word = from.get(1..).and_then(|after| after.split_once('}')).map(|(word, _)| word).unwrap_or_default();
            if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') {
                literal.push('{');
                rest = from.get(1..).unwrap_or_default();
                continue;
            }
            let Some(&(_, hole)) = HOLES.iter().find(|(name, _)| *name == word) else {
                let line = text.len() - from.len();
                let line = text.get(..line).map_or(1, |before| before.matches('\n').count() + 1);
                let known: Vec<_> = HOLES.iter().map(|(name, _)| format!("{{{name}}}")).collect();
                return Err(format!("line {line}: there is no placeholder {{{word}}}; there are {}", known.join(", ")));
            };
            if hole == Hole::Form && page != Page::SignIn {
                return Err(
                    "{form} stands on sign-in.html alone, which is also what visitors see in place of a 401".to_owned()
                );
            }
            pieces.extend([Piece::Text(core::mem::take(&mut literal)), Piece::Hole(hole)]);
            rest = from.get(word.len() + 2..).unwrap_or_default();
        }
        literal.push_str(rest);
        pieces.push(Piece::Text(literal));
        if page == Page::SignIn && !pieces.contains(&Piece::Hole(Hole::Form)) {
            return Err("wanted {form} somewhere: without it nobody can sign in".to_owned());
        }
        Ok(Self(pieces))
    }

    fn fill(&self, facts: &Facts) -> String {
        let mut page = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => page.push_str(text),
                Piece::Hole(Hole::Title) => page.push_str(&escape(facts.title)),
                Piece::Hole(Hole::What) => page.push_str(&escape(facts.what)),
                Piece::Hole(Hole::Help) => page.push_str(&escape(facts.help)),
                Piece::Hole(Hole::Status) => {
                    let _ = write!(page, "{}.{}", facts.status.http.as_u16(), facts.status.sub);
                }
                Piece::Hole(Hole::RequestId) => {
                    let _ = write!(page, "{}", facts.request_id);
                }
                Piece::Hole(Hole::User) => page.push_str(&escape(&facts.user)),
                Piece::Hole(Hole::Form) => page.push_str(&facts.form),
            }
        }
        page
    }
}

static HOLES: [(&str, Hole); 7] = [
    ("title", Hole::Title),
    ("what", Hole::What),
    ("help", Hole::Help),
    ("status", Hole::Status),
    ("request-id", Hole::RequestId),
    ("user", Hole::User),
    ("form", Hole::Form),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(page: Page) -> Facts {
        Facts {
            page,
            title: "Not allowed",
            what: "No & no",
            help: "",
            status: Status::FORBIDDEN,
            request_id: RequestId { boot: 1, number: 2 },
            user: "CORP\\<b>alice\"".into(),
            form: "<form></form>".into(),
        }
    }

    #[test]
    fn what_fills_a_placeholder_is_text_and_never_markup_or_a_placeholder() {
        let page = Page::Status(403);
        let text = "<h1>{title}</h1><style>a{color:red}b{}</style>{ title }{what}{user}{status} {request-id}{";
        let template = Template::parse(text, page).unwrap();
        assert_eq!(
            template.fill(&facts(page)),
            "<h1>Not allowed</h1><style>a{color:red}b{}</style>{ title }No &amp; noCORP\\&lt;b&gt;alice&quot;403.0 00000001-000002{"
        );
        let tricky = Facts { user: "{form}{title}".into(), ..facts(page) };
        assert_eq!(Template::parse("{user}", page).unwrap().fill(&tricky), "{form}{title}");
    }

    #[test]
    fn an_unknown_placeholder_is_named_with_its_line_and_a_form_stands_where_it_works() {
        let page = Page::Status(401);
        for (text, page, wanted) in [
            ("a\n\n{reason}", page, "line 3: there is no placeholder {reason}; there are {title}"),
            ("{usr}", page, "{usr}"),
            ("{password}", Page::SignIn, "{password}"),
            ("{form}", page, "sign-in.html alone"),
            ("<p>{title}", Page::SignIn, "wanted {form}"),
        ] {
            let why = Template::parse(text, page).unwrap_err();
            assert!(why.contains(wanted), "{text}: {why}");
        }
    }

    #[test]
    fn names_of_pages() {
        assert_eq!(Page::named("sign-in"), Some(Page::SignIn));
        assert_eq!(Page::named("404"), Some(Page::Status(404)));
        assert_eq!(Page::named("5xx"), Some(Page::Class(5)));
        for bad in ["", "200", "600", "4", "0404", "+404", "3xx", "sign-up", "4XX"] {
            assert_eq!(Page::named(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_page_of_a_status_comes_before_that_of_its_class_and_without_either_it_stays() {
        let template = |text, page| Template::parse(text, page).unwrap();
        let pages = [(Page::Status(404), "404"), (Page::Class(4), "class")];
        let pages = pages.map(|(page, text)| (page, template(text, page))).into_iter().collect();
        let templates = Templates::new(pages, &["'self'".to_owned()]);
        for (status, wanted) in [(404, Some("404")), (403, Some("class")), (500, None)] {
            let mut response = Response::new(Body::of("default"));
            response.extensions_mut().insert(facts(Page::Status(status)));
            templates.dress(&mut response);
            let policy = response.headers().get(CONTENT_SECURITY_POLICY).map(|policy| policy.to_str().unwrap());
            assert_eq!(policy.is_some(), wanted.is_some());
            assert!(policy.is_none_or(|policy| policy.starts_with("default-src 'none'; ")), "{policy:?}");
            let size = http_body::Body::size_hint(response.body()).exact();
            assert_eq!(size, Some(wanted.unwrap_or("default").len() as u64));
        }
    }
}
