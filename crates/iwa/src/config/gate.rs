//! How visitors sign in on a route, and `[[route.when]]`: how some of them do.

use http::header::{HeaderName, USER_AGENT};
use ipnet::IpNet;
use iwa_auth::BindingPolicy;
use iwa_http::{AttemptLimits, Provider};

use super::raw::{At, Section};
use super::read::{Have, Reading};
use super::{Authentication, Route};
use crate::gateway::gate::{Condition, Instead, Login, Pattern};
use crate::gateway::path::covers;

/// What a route, or the nearest above it that says something, has in place of `[authentication]`; IIS's `<location>`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct SignIn {
    /// `sign-in = "off"`: nobody is asked, and credentials are not looked at.
    pub(crate) off: Option<bool>,
    /// `anonymous`, or `sign-in = "optional"`.
    pub(crate) anonymous: Option<bool>,
    /// `providers`; none at all turns Windows authentication off.
    pub(crate) providers: Option<Vec<Provider>>,
    /// `token-checking = "require"`: only tokens that are tied to their TLS connection count.
    pub(crate) bound_only: Option<bool>,
    /// `basic`; its realm is that of `[authentication.basic]`.
    pub(crate) basic: Option<bool>,
    /// `login`, `dialog`: what visitors see who cannot be signed in without being asked.
    pub(crate) instead: Option<Instead>,
    /// `[[route.when]]`: in which cases other things hold than these.
    pub(crate) when: Vec<When>,
}

/// `[[route.when]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct When {
    /// For whom it is.
    pub(crate) condition: Condition,
    /// What it says; the rest is the route's.
    pub(crate) sign_in: SignIn,
}

impl SignIn {
    /// The policy of the site with these differences; `None` if there are none.
    pub(crate) fn policy(&self, site: &iwa_http::Policy) -> Option<iwa_http::Policy> {
        if (self.anonymous, &self.providers, self.bound_only, self.basic) == (None, &None, None, None) {
            return None;
        }
        let mut policy = site.clone();
        if let Some(anonymous) = self.anonymous {
            policy.anonymous = anonymous;
        }
        if let Some(providers) = &self.providers {
            policy.providers.clone_from(providers);
        }
        if let Some(bound_only) = self.bound_only {
            policy.bound_only = bound_only;
        }
        match self.basic {
            Some(true) => policy.basic_realm = policy.basic_realm.or_else(|| Some(String::new())),
            Some(false) => policy.basic_realm = None,
            None => {}
        }
        Some(policy)
    }

    /// What is not said here, as `above` has it. Its clauses too, unless something is said here of how to sign in: whoever
    /// writes that a part of a site must be signed in to need not look for exceptions elsewhere.
    pub(super) fn below(self, above: &Self) -> Self {
        let silent = self == Self { bound_only: self.bound_only, ..Self::default() };
        let when = if silent { above.when.clone() } else { self.when.clone() };
        Self { when, ..self.or(above) }
    }

    fn or(self, above: &Self) -> Self {
        Self {
            off: self.off.or(above.off),
            anonymous: self.anonymous.or(above.anonymous),
            providers: self.providers.or_else(|| above.providers.clone()),
            bound_only: self.bound_only.or(above.bound_only),
            basic: self.basic.or(above.basic),
            instead: self.instead.or_else(|| above.instead.clone()),
            when: self.when,
        }
    }
}

impl Route {
    /// The clauses, each with everything that holds under it.
    pub(crate) fn clauses(&self) -> impl Iterator<Item = (&Condition, SignIn)> {
        let all = |when: &When| SignIn { when: Vec::new(), ..when.sign_in.clone().or(&self.sign_in) };
        self.sign_in.when.iter().map(move |when| (&when.condition, all(when)))
    }
}

impl<'a> Reading<'a> {
    /// What the route has in place of `[authentication]`.
    pub(super) fn sign_in(&self, section: &Section<'a>, have: Have<'_>, site: &Authentication) -> SignIn {
        let when = section.sections("when").into_iter().filter_map(|section| self.when(section, have, site)).collect();
        let require = section.word("token-checking", &[("require", true)]);
        if let Some(At { span, .. }) = require.as_ref().filter(|_| site.token_checking == BindingPolicy::None) {
            self.report.error(
                span.clone(),
                "token-checking: a route can demand what [authentication.windows.extended-protection] looks at, and its \
                 token-checking is \"none\"; wanted \"allow\" or \"report\" there",
            );
        }
        SignIn { when, bound_only: require.map(|require| require.value), ..self.manner(section, have) }
    }

    /// What a route and a clause may both say.
    fn manner(&self, section: &Section<'a>, have: Have<'_>) -> SignIn {
        let basic = section.boolean("basic");
        if let Some(At { value: true, span }) = &basic
            && !have.logons()
        {
            self.report.error(
                span.clone(),
                "basic: Basic needs accounts whose passwords it can verify: add [accounts] or a [[domain]]",
            );
        }
        let (mut off, mut anonymous) = (None, None);
        if let Some(At { value, .. }) = section.boolean("anonymous") {
            (off, anonymous) = (Some(false), Some(value));
        }
        let words = [("required", (false, false)), ("optional", (false, true)), ("off", (true, true))];
        if let Some(At { value: (is_off, is_anonymous), span }) = section.word("sign-in", &words) {
            if anonymous.is_some() {
                self.report.error(
                    span,
                    "sign-in: `anonymous` stands beside it and says the same in IIS's words (true: \"optional\", false: \
                     \"required\"): keep one of them",
                );
            }
            (off, anonymous) = (Some(is_off), Some(is_anonymous));
        }
        SignIn {
            off,
            anonymous,
            providers: self.providers(section, have, true),
            basic: basic.map(|basic| basic.value),
            instead: self.instead(section, have),
            ..SignIn::default()
        }
    }

    fn instead(&self, section: &Section<'a>, have: Have<'_>) -> Option<Instead> {
        let dialog = section.boolean("dialog");
        let wanted = "the address of a page such as \"/login\" or \"https://app.example.test/login?next={path}\"";
        let login = section.parsed("login", wanted, Login::parse);
        if let Some(At { value, span }) = section.boolean("form") {
            if value && !have.logons() {
                self.report.error(
                    span.clone(),
                    "form: it needs accounts whose passwords can be verified: add [accounts], a [[domain]] or [directory]",
                );
            }
            if login.is_some() || dialog.as_ref().is_some_and(|dialog| value && dialog.value) {
                self.report.error(
                    span,
                    "form: visitors without a ticket see one thing: wanted one of `form`, `login` and `dialog`",
                );
            }
            if value {
                return Some(Instead::Form);
            }
            if login.is_none() && dialog.is_none() {
                return Some(Instead::Dialog);
            }
        }
        match (login, dialog) {
            (Some(login), Some(At { value: true, span })) => {
                self.report.error(span, "dialog: with `login` visitors see that page, and not the browser's dialog");
                Some(Instead::Login(login.value))
            }
            (Some(login), _) => Some(Instead::Login(login.value)),
            (None, Some(At { value: true, .. })) => Some(Instead::Dialog),
            (None, Some(At { value: false, .. })) => Some(Instead::Page),
            (None, None) => None,
        }
    }

    fn when(&self, section: Section<'a>, have: Have<'_>, site: &Authentication) -> Option<When> {
        let mut condition = Condition {
            networks: self.networks(&section, "networks"),
            not_networks: self.networks(&section, "not-networks"),
            headers: Vec::new(),
        };
        let wanted = "a regular expression";
        if let Some(pattern) = section.parsed("user-agent", wanted, Pattern::parse) {
            condition.headers.push((USER_AGENT, pattern.value));
        }
        for (name, At { value, span }) in section.texts("header").unwrap_or_default() {
            match (name.parse::<HeaderName>(), Pattern::parse(value)) {
                (Ok(name), Ok(pattern)) => condition.headers.push((name, pattern)),
                (Err(_), _) => self.report.error(span, format!("header: \"{name}\" is not the name of a header")),
                (_, Err(why)) => self.report.error(span, format!("header: wanted {wanted}; found \"{value}\": {why}")),
            }
        }
        let sign_in = self.manner(&section, have);
        let span = section.span();
        section.finish();
        if condition.is_empty() {
            self.report.error(
                span,
                "[[route.when]] says for nobody in particular: wanted `networks`, `not-networks`, `user-agent` or `header`; \
                 what holds for everybody else stands in the [[route]] itself",
            );
            return None;
        }
        let weaker = sign_in.off == Some(true) || (sign_in.anonymous == Some(true) && !site.policy.anonymous);
        if weaker && condition.is_a_claim() {
            self.report.warning(
                span,
                "whoever says that they are such a client is let in without signing in: a header is a claim, and anybody can \
                 send it; `networks` says from where it is believed",
            );
        }
        Some(When { condition, sign_in })
    }

    /// `["10.0.0.0/8", "2001:db8::1"]`.
    pub(super) fn networks(&self, section: &Section<'a>, key: &'static str) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for At { value, span } in section.strings(key).map(|networks| networks.value).unwrap_or_default() {
            let network = value.parse::<IpNet>().or_else(|_| value.parse::<std::net::IpAddr>().map(IpNet::from));
            match network {
                Ok(network) if network.trunc() == network => networks.push(network),
                Ok(network) => self.report.error(
                    span,
                    format!(
                        "{key}: \"{value}\" is an address within a network; that network is \"{}\"",
                        network.trunc()
                    ),
                ),
                Err(_) => self.report.error(
                    span,
                    format!("{key}: wanted networks such as \"10.0.0.0/8\" or \"2001:db8::/32\"; found \"{value}\""),
                ),
            }
        }
        networks
    }

    /// `[limits.passwords]`.
    pub(super) fn passwords(&self, section: Section<'a>) -> AttemptLimits {
        let mut limits = AttemptLimits::default();
        for (key, place) in [("per-account", &mut limits.per_account), ("per-client", &mut limits.per_client)] {
            if let Some(number) = section.number(key, 1) {
                *place = usize::try_from(number.value).unwrap_or(usize::MAX);
                if number.value > MOST_PASSWORDS {
                    self.report.error(number.span, format!("{key}: wanted 1 to {MOST_PASSWORDS}"));
                }
            }
        }
        for (key, place) in [("window", &mut limits.window), ("remember", &mut limits.remember)] {
            if let Some(duration) = section.duration(key) {
                *place = duration.value;
            }
        }
        section.finish();
        limits
    }

    /// What visitors are shown must be reachable by them, and what is offered must be able to go without a dialog.
    pub(super) fn gates(&self, routes: &[Route], authentication: &Authentication) {
        let site = &authentication.policy;
        for route in routes {
            let clauses = route.clauses().map(|(_, sign_in)| sign_in);
            for sign_in in clauses.chain([route.sign_in.clone()]).filter(|sign_in| sign_in.off != Some(true)) {
                let policy = sign_in.policy(site);
                let policy = policy.as_ref().unwrap_or(site);
                let quiet = policy.providers.iter().any(|provider| provider.scheme() == iwa_auth::Scheme::Negotiate);
                match sign_in.instead {
                    Some(Instead::Form) if route.session.is_none() => self.report.file_error(format!(
                        "form = true on {}: whoever signs in with the form is known by a session: it needs [sessions] and \
                         [route.session] on this route or above",
                        route.path
                    )),
                    Some(Instead::Form)
                        if policy.bound_only || authentication.token_checking == BindingPolicy::Require =>
                    {
                        self.report.file_error(format!(
                            "form = true on {}: token-checking = \"require\" takes only what is tied to its TLS connection, and \
                             a password in a form is not: leave out one of them",
                            route.path
                        ));
                    }
                    Some(Instead::Page) if !quiet => self.report.file_warning(format!(
                        "dialog = false on {}: only Negotiate goes without a dialog, and it is not offered there; browsers \
                         get no challenge at all",
                        route.path
                    )),
                    Some(Instead::Login(login)) => {
                        let page = login.own_path().and_then(|path| routes.iter().find(|route| covers(&route.path, path)));
                        let asks = |sign_in: &SignIn| {
                            sign_in.off != Some(true) && !sign_in.anonymous.unwrap_or(site.anonymous)
                        };
                        if page.is_some_and(|page| asks(&page.sign_in)) {
                            self.report.file_warning(format!(
                                "login = \"{login}\" on {}: one has to be signed in to see that page; it needs a [[route]] with \
                                 sign-in = \"off\" or \"optional\"",
                                route.path
                            ));
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

/// More would not be a limit, and each wrong password is remembered.
const MOST_PASSWORDS: u64 = 1000;
