//! What the application behind the gateway is told of its visitor: headers that only the gateway can say.
//!
//! | | file |
//! |---|---|
//! | names that nobody else may say, in whatever spelling | [`protected`] |
//! | what a header says; how it is written | [`template`], [`value`] |
//! | which of a visitor's groups | [`groups`] |
//! | a signed token; the keys that sign it | [`jwt`], [`keys`] |
//!
//! An application believes these headers, so that whatever cannot be said in full is an error (500), and what is not known now
//! a request to come back (503): never a header less or a value cut.

pub(crate) mod groups;
pub(crate) mod jwt;
pub(crate) mod keys;
pub(crate) mod protected;
pub(crate) mod template;
pub(crate) mod value;

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use iwa_auth::reject::{Reason, Unavailable};
use iwa_auth::{Account, Identity, Mechanism};
use iwa_domain::local::name::same;
use iwa_http::{Os, Status, System as _};
use iwa_wire::Sid;
use iwa_wire::explain::printable;

use super::authorize::{Here, Names as _};
use super::exchange::{Proved, RequestId};
use super::handle::Answer;
use super::pages;
use super::site::Site;
use groups::Groups;
use jwt::{Claims, Issuer, TokenTold, Tokens};
use protected::Protected;
use template::{Hole, Piece, Template};
use value::{Encoding, element, is_invisible};

/// What a route's application is told.
#[derive(Debug)]
pub(crate) struct Assertion {
    headers: Vec<(HeaderName, Template)>,
    encoding: Encoding,
    groups: Groups,
    separator: char,
    /// Bytes of all values together.
    limit: usize,
    tokens: Option<Tokens>,
    protected: Arc<Protected>,
}

impl Assertion {
    /// Of what was configured.
    pub(crate) fn new(told: &Told, protected: &Arc<Protected>, issuer: Option<&Arc<Issuer>>) -> Self {
        let tokens = issuer.zip(told.token.as_ref().and_then(Option::as_ref));
        Self {
            headers: told.headers.clone().unwrap_or_else(default_headers),
            encoding: told.encoding.unwrap_or_default(),
            groups: told.groups.clone().unwrap_or_default(),
            separator: told.separator.unwrap_or(','),
            limit: told.limit.unwrap_or(Told::LIMIT),
            tokens: tokens.map(|(issuer, told)| Tokens::new(issuer, told)),
            protected: Arc::clone(protected),
        }
    }

    /// Nothing: for whoever serves no application.
    pub(crate) fn nothing(&self) -> Asserted {
        let in_authorization = self.tokens.as_ref().is_some_and(|tokens| *tokens.header() == AUTHORIZATION);
        Asserted { headers: Vec::new(), in_authorization, protected: Arc::clone(&self.protected) }
    }

    /// What the application is told of this visitor; nothing of one who did not sign in.
    ///
    /// # Errors
    /// It cannot be said: in full, or now.
    pub(crate) async fn of(&self, site: &Site, known: Known<'_>) -> Result<Asserted, Unassertable> {
        let mut asserted = self.nothing();
        let Some(identity) = known.identity else { return Ok(asserted) };
        let groups = if self.tokens.is_some() || self.headers.iter().any(|(_, template)| template.has(Hole::Groups)) {
            self.groups_of(site, identity).await?
        } else {
            Vec::new()
        };
        asserted.headers.reserve(self.headers.len() + usize::from(self.tokens.is_some()));
        let mut told = 0;
        let mut tell = |name: &HeaderName, value: HeaderValue| {
            told += value.len();
            if told > self.limit {
                let why = format!(
                    "with it the headers' values are longer than the {} bytes of `limit`: let `groups` name fewer, or set a higher \
                     limit if the application takes such headers",
                    self.limit
                );
                return Err(inexpressible(name, why));
            }
            asserted.headers.push((name.clone(), value));
            Ok(())
        };
        for (name, template) in &self.headers {
            let text = if template.has(Hole::Groups) {
                let mut list = String::new();
                for (n, group) in groups.iter().enumerate() {
                    if n > 0 {
                        list.push(self.separator);
                    }
                    element(&mut list, group, self.separator);
                }
                (!list.is_empty()).then_some(list)
            } else {
                text(template, site, identity, known).map_err(|why| inexpressible(name, why))?
            };
            let Some(text) = text else { continue };
            let value = self.encoding.value(&text).map_err(|why| {
                inexpressible(name, format!("the value \"{}\" cannot be sent: {why}", printable(&text)))
            })?;
            tell(name, value)?;
        }
        if let Some(tokens) = &self.tokens {
            let token = token(tokens, site, identity, known, &groups);
            tell(tokens.header(), token.map_err(|why| inexpressible(tokens.header(), why))?)?;
        }
        Ok(asserted)
    }

    async fn groups_of(&self, site: &Site, identity: &Identity) -> Result<Vec<String>, Unassertable> {
        let snapshot = match site.accounts.as_ref().filter(|_| self.groups.has_local_names()) {
            Some(accounts) => {
                Some(accounts.current().await.map_err(|error| Unassertable::Unresolved(error.to_string()))?)
            }
            None => None,
        };
        let (mut list, mut length) = (Vec::new(), 0);
        let tell = |group: &str| {
            // What is too long already is refused by the caller.
            if length <= self.limit {
                length += group.len();
                list.push(group.to_owned());
            }
        };
        self.groups.of(identity, snapshot.as_deref(), tell).map_err(|why| {
            Unassertable::Unresolved(format!(
                "what the application is told hangs on a name that is not resolved ({why})"
            ))
        })?;
        Ok(list)
    }
}

/// Who the visitor is, as far as it was decided.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    /// `None` is anonymous.
    pub(crate) identity: Option<&'a Identity>,
    /// What an application calls them, where a rule says.
    pub(crate) mapped: Option<&'a str>,
    pub(crate) proved: Proved,
}

/// The headers for one request.
#[derive(Debug)]
pub(crate) struct Asserted {
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The application finds the gateway's token in `Authorization`.
    in_authorization: bool,
    protected: Arc<Protected>,
}

impl Asserted {
    /// Whether the application believes that what stands in `Authorization` is the gateway's. A token of somebody else's that a
    /// visitor brings there, signed in or not, would be believed too.
    pub(crate) const fn stands_in_authorization(&self) -> bool {
        self.in_authorization
    }

    /// Puts them onto the headers of a request that came from the client: what the client said in their place, or in that of any
    /// other identity, goes.
    pub(crate) fn onto(&self, headers: &mut HeaderMap) {
        self.protected.strip(headers);
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
    }

    /// For trailers, which come later: they are stripped, and nothing is put onto them.
    pub(crate) fn protected(&self) -> &Arc<Protected> {
        &self.protected
    }
}

/// Why the application is not asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Unassertable {
    /// What it must be told is not known now.
    Unresolved(String),
    /// It cannot be said in full.
    Inexpressible(String),
}

impl Unassertable {
    /// What the client gets: 503 or 500, and no word of why.
    pub(crate) fn answer(self, id: RequestId, identity: Option<&Identity>) -> Answer {
        match self {
            Self::Unresolved(why) => {
                let reason = Reason::Unavailable(Unavailable::Accounts(why));
                let status = Status::of(&reason);
                Answer { reason: Some(reason), ..Answer::of(pages::refusal(status, id, identity), status) }
            }
            Self::Inexpressible(why) => {
                tracing::warn!(%id, why, "500: the application cannot be told who the visitor is");
                let status = Status::served(StatusCode::INTERNAL_SERVER_ERROR);
                Answer { note: Some(why), ..Answer::of(pages::refusal(status, id, identity), status) }
            }
        }
    }
}

fn inexpressible(name: &HeaderName, why: impl core::fmt::Display) -> Unassertable {
    Unassertable::Inexpressible(format!("header {name}: {why}"))
}

/// `[route.identity]`: what a route, or the nearest above it that says something, tells its application.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Told {
    /// `headers`, with those of `preset`.
    pub(crate) headers: Option<Vec<(HeaderName, Template)>>,
    /// `encoding`.
    pub(crate) encoding: Option<Encoding>,
    /// `groups`.
    pub(crate) groups: Option<Groups>,
    /// `separator` of groups.
    pub(crate) separator: Option<char>,
    /// `limit`: bytes of all values together.
    pub(crate) limit: Option<usize>,
    /// `[route.identity.jwt]`; within, `None` after `enabled = false`.
    pub(crate) token: Option<Option<TokenTold>>,
    /// `remove`: other headers that no visitor may send, on the whole site.
    pub(crate) remove: Vec<String>,
}

impl Told {
    /// `limit` by default: half of what nginx, Apache and Tomcat take for all headers of a request.
    pub(crate) const LIMIT: usize = 4 << 10;

    /// What is not said here, as the route above has it.
    pub(crate) fn or(self, above: &Self) -> Self {
        Self {
            headers: self.headers.or_else(|| above.headers.clone()),
            encoding: self.encoding.or(above.encoding),
            groups: self.groups.or_else(|| above.groups.clone()),
            separator: self.separator.or(above.separator),
            limit: self.limit.or(above.limit),
            token: self.token.or_else(|| above.token.clone()),
            remove: self.remove,
        }
    }

    /// The names that its visitors may not send.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let headers = self.headers.iter().flatten().map(|(name, _)| name.as_str());
        // Who is to see `Authorization` is decided elsewhere: it brings what clients sign in with.
        let token = self.token.iter().flatten().map(|token| &token.header).filter(|header| **header != AUTHORIZATION);
        headers.chain(token.map(HeaderName::as_str)).chain(self.remove.iter().map(String::as_str))
    }
}

/// What is told where nothing is said.
fn default_headers() -> Vec<(HeaderName, Template)> {
    Preset::XRemoteUser.headers()
}

/// Sets of headers that applications know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Preset {
    /// `X-Remote-User`, `X-Remote-Groups`; the default.
    XRemoteUser,
    /// `Remote-User` alone, which CGI's successors read as `HTTP_REMOTE_USER`.
    RemoteUser,
    /// Those of Authelia's trusted-header sign-on.
    Authelia,
    /// Those of oauth2-proxy as a reverse proxy.
    XForwardedUser,
    /// Those of oauth2-proxy's answer to `auth_request`.
    AuthRequest,
    /// Grafana's and Gitea's.
    WebAuth,
    /// None.
    None,
}

impl Preset {
    /// As they are called in a configuration.
    pub(crate) const ALL: [(&'static str, Self); 7] = [
        ("x-remote-user", Self::XRemoteUser),
        ("remote-user", Self::RemoteUser),
        ("authelia", Self::Authelia),
        ("x-forwarded-user", Self::XForwardedUser),
        ("x-auth-request", Self::AuthRequest),
        ("x-webauth-user", Self::WebAuth),
        ("none", Self::None),
    ];

    /// Its headers.
    pub(crate) fn headers(self) -> Vec<(HeaderName, Template)> {
        let list: &[(&str, &str)] = match self {
            Self::XRemoteUser => &[("x-remote-user", "{local}"), ("x-remote-groups", "{groups}")],
            Self::RemoteUser => &[("remote-user", "{local}")],
            Self::Authelia => &[
                ("remote-user", "{local}"),
                ("remote-groups", "{groups}"),
                ("remote-name", "{display-name?}"),
                ("remote-email", "{upn?}"),
            ],
            Self::XForwardedUser => &[
                ("x-forwarded-user", "{local}"),
                ("x-forwarded-preferred-username", "{local}"),
                ("x-forwarded-groups", "{groups}"),
                ("x-forwarded-email", "{upn?}"),
            ],
            Self::AuthRequest => &[
                ("x-auth-request-user", "{local}"),
                ("x-auth-request-preferred-username", "{local}"),
                ("x-auth-request-groups", "{groups}"),
                ("x-auth-request-email", "{upn?}"),
            ],
            Self::WebAuth => &[
                ("x-webauth-user", "{local}"),
                ("x-webauth-name", "{display-name?}"),
                ("x-webauth-fullname", "{display-name?}"),
                ("x-webauth-email", "{upn?}"),
                ("x-webauth-groups", "{groups}"),
            ],
            Self::None => &[],
        };
        let parse =
            |(name, template): &(&'static str, &str)| Some((name.parse().ok()?, Template::parse(template).ok()?));
        list.iter().filter_map(parse).collect()
    }
}

/// The token of this visitor.
fn token(
    tokens: &Tokens,
    site: &Site,
    identity: &Identity,
    known: Known<'_>,
    groups: &[String],
) -> Result<HeaderValue, String> {
    let account = identity.account();
    let user = || Ok::<_, String>(Cow::Owned(user(site, identity)?));
    let subject = match &account.sid {
        Some(sid) => Cow::Owned(sid.to_string()),
        None => user()?,
    };
    let preferred_username = known.mapped.map_or_else(user, |mapped| Ok(Cow::Borrowed(mapped)))?;
    let claims = Claims {
        subject: &subject,
        preferred_username: &preferred_username,
        name: account.display_name.as_deref().filter(|name| !name.is_empty()),
        upn: site.whose.upn(site, account),
        groups,
        mechanism: identity.mechanism(),
        fresh: known.proved == Proved::Request,
    };
    let texts = [claims.subject, claims.preferred_username].into_iter().chain(claims.name).chain(claims.upn);
    if let Some(text) = texts.chain(groups.iter().map(String::as_str)).find(|text| text.chars().any(is_invisible)) {
        return Err(format!("the value \"{}\" cannot be sent: it has control characters in it", printable(text)));
    }
    let now = u64::try_from(Os.now().secs()).unwrap_or_default();
    tokens.token(&claims, now).ok_or_else(|| "no token can be signed: the system gives no randomness".to_owned())
}

/// `DOMAIN\name`.
fn user(site: &Site, identity: &Identity) -> Result<String, String> {
    let domain = site.whose.domain(site, identity)?;
    let name = &identity.account().name;
    if domain.contains('\\') || name.contains('\\') {
        return Err(format!("{identity} has a \\ in its name, which can be read as another's"));
    }
    Ok(format!("{domain}\\{name}"))
}

/// The text of a template for this visitor; `None` if they have nothing for it, and need not.
fn text(template: &Template, site: &Site, identity: &Identity, known: Known<'_>) -> Result<Option<String>, String> {
    let account = identity.account();
    let mut text = String::new();
    for piece in &template.pieces {
        let hole = match piece {
            Piece::Text(piece) => {
                text.push_str(piece);
                continue;
            }
            Piece::Hole(hole) => *hole,
        };
        let before = text.len();
        match (hole, known.mapped) {
            (Hole::Local, Some(mapped)) => text.push_str(mapped),
            (Hole::User | Hole::Local, _) => text.push_str(&user(site, identity)?),
            (Hole::Name, _) => text.push_str(&account.name),
            (Hole::Domain, _) => text.push_str(&site.whose.domain(site, identity)?),
            (Hole::Realm, _) => text.push_str(&site.whose.realm(site, account)),
            (Hole::Upn, _) => text.push_str(site.whose.upn(site, account).unwrap_or_default()),
            (Hole::DisplayName, _) => text.push_str(account.display_name.as_deref().unwrap_or_default()),
            (Hole::Sid, _) => text.extend(account.sid.map(|sid| sid.to_string())),
            (Hole::Mechanism, _) => text.push_str(&identity.mechanism().to_string()),
            (Hole::Proved, _) => text.push_str(known.proved.name()),
            (Hole::Groups, _) => {}
        }
        if text.len() == before {
            if template.optional {
                return Ok(None);
            }
            return Err(format!(
                "it needs {{{}}}, which {identity} does not have; {{{0}?}} leaves the header out for them",
                hole.name()
            ));
        }
    }
    Ok(Some(text))
}

/// What this machine is called, which no foreign account's domain may be.
#[derive(Debug, Default)]
pub(crate) struct Whose {
    /// Name, realm and SID of the local accounts' machine.
    machine: Option<(String, String, Sid)>,
}

impl Whose {
    /// With these local accounts.
    pub(crate) fn new(machine: Option<(String, String, Sid)>) -> Self {
        Self { machine }
    }

    /// The short name of a domain of ours; for everybody else the realm, because what a foreign KDC calls its domain in short can
    /// be any domain's name (CVE-2020-25717).
    fn domain(&self, site: &Site, identity: &Identity) -> Result<String, String> {
        let account = identity.account();
        let here = Here { accounts: None, domains: &site.domains, realms: &site.realms };
        if here.is_ours(account) || self.is_of_the_machine(account) {
            return Ok(account.domain.clone());
        }
        let domain = match &account.realm {
            // Only Kerberos tells realms by their case.
            Some(realm) if identity.mechanism() == Mechanism::Kerberos => realm.clone(),
            Some(realm) => realm.to_uppercase(),
            None => account.domain.clone(),
        };
        let machine = self.machine.as_ref().is_some_and(|(name, ..)| same(name, &domain));
        if machine || here.domain(&domain).is_some() {
            return Err(format!("{identity} is not of our {domain}, and would be called as if it were"));
        }
        Ok(domain)
    }

    /// The UPN, if it is for the account's own KDC to say: a name in a domain of ours is not for another's.
    fn upn<'a>(&self, site: &Site, account: &'a Account) -> Option<&'a str> {
        let upn = account.upn.as_deref()?;
        let (_, suffix) = upn.rsplit_once('@')?;
        let here = Here { accounts: None, domains: &site.domains, realms: &site.realms };
        let is_ours = here.is_ours(account) || self.is_of_the_machine(account);
        let of_its_realm = account.realm.as_ref().is_some_and(|realm| same(suffix, realm));
        let in_our_realm = || {
            let machine = self.machine.as_ref().is_some_and(|(_, realm, _)| same(suffix, realm));
            here.has_domains() || machine || site.realms.iter().any(|realm| same(suffix, realm))
        };
        (is_ours || of_its_realm || !in_our_realm()).then_some(upn)
    }

    /// The realm as Kerberos writes it, however the visitor signed in.
    fn realm(&self, site: &Site, account: &Account) -> String {
        let here = Here { accounts: None, domains: &site.domains, realms: &site.realms };
        match here.domain_of(account) {
            Some(domain) => domain.dns.to_uppercase(),
            None => account.realm.clone().unwrap_or_else(|| account.domain.clone()),
        }
    }

    fn is_of_the_machine(&self, account: &Account) -> bool {
        self.machine.as_ref().is_some_and(|(name, realm, machine)| {
            same(name, &account.domain)
                && account.realm.as_ref().is_none_or(|own| same(own, realm))
                && account.sid.is_none_or(|sid| sid.rid().and_then(|rid| machine.with_rid(rid)) == Some(sid))
        })
    }
}
