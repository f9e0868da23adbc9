//! `[route.outbound]`: as whom the gateway signs in to the application.

use std::path::PathBuf;

use iwa_domain::local::Snapshot;
use iwa_wire::krb5::Principal;

use super::kerberos::open_to_others;
use super::keytab::KeytabSummary;
use super::raw::{At, Section};
use super::read::{Have, Reading};
use crate::gateway::authorize::{Access, Rule};

/// `[route.outbound]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outbound {
    /// `service`: class and host of the application's SPN. Never taken from a request.
    pub(crate) service: Principal,
    /// `as`, `how`.
    pub(crate) who: Who,
    /// `principal` and `keytab`: the gateway's own account; `None` is the machine's in its domain.
    pub(crate) account: Option<(Principal, PathBuf)>,
    /// `mutual`: whether the application must prove that it is the service.
    pub(crate) mutual: bool,
    /// `resource-based`: whether the KDC decides about tickets that are not forwardable.
    pub(crate) resource_based: bool,
    /// `allow`, `deny`: for whom tickets are got. Empty: for everybody whom the route lets in.
    pub(crate) rules: Vec<Rule>,
    /// `allow-own-service`: whether the service may be this server itself.
    pub(crate) allow_own: bool,
}

/// As whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// As the gateway's own account, whoever asks.
    OurSelf,
    /// As the visitor, in the first of these ways that there is something for.
    User(Vec<How>),
}

/// How a ticket in the visitor's name is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum How {
    /// With the TGT that they forwarded.
    DelegatedTgt,
    /// With the ticket with which they came: S4U2Proxy.
    Constrained,
    /// Without anything of theirs: S4U2Self, then S4U2Proxy.
    Transition,
}

impl How {
    /// As it is written.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::DelegatedTgt => "delegated-tgt",
            Self::Constrained => "constrained",
            Self::Transition => "transition",
        }
    }
}

impl Outbound {
    /// Whether the gateway needs an account of its own.
    pub(crate) fn needs_account(&self) -> bool {
        !matches!(&self.who, Who::User(how) if how.iter().all(|how| *how == How::DelegatedTgt))
    }

    /// Whether what visitors bring is needed.
    pub(crate) fn needs_evidence(&self) -> bool {
        matches!(&self.who, Who::User(how) if how.iter().any(|how| *how != How::Transition))
    }
}

impl<'a> Reading<'a> {
    pub(super) fn outbound(
        &self,
        route: &Section<'a>,
        has_proxy: bool,
        names: Option<&Snapshot>,
        have: Have<'_>,
    ) -> Option<Outbound> {
        let section = route.section("outbound");
        if !section.is_written() {
            return None;
        }
        let span = section.span();
        let service = section.parsed("service", "the application's SPN, such as \"HTTP/app.example.test\"", |text| {
            let parts = text.split_once('/').filter(|(class, host)| {
                let plain = |part: &str| {
                    !part.is_empty() && part.chars().all(|c| c.is_ascii_graphic() && !"/@\\{}".contains(c))
                };
                plain(class) && plain(host)
            });
            parts.map(|(class, host)| Principal::service(class, host, "")).ok_or("")
        });
        let user = section.word("as", &[("user", true), ("self", false)]);
        let how = self.how(&section);
        let mut rules = Vec::new();
        for (key, access) in [("deny", Access::Deny), ("allow", Access::Allow)] {
            rules.extend(
                section.sections(key).into_iter().filter_map(|rule| self.rule(rule, access, false, names, have)),
            );
        }
        let account = self.account(&section);
        let outbound = Outbound {
            service: service.map_or_else(|| Principal::service("HTTP", "unknown", ""), |service| service.value),
            who: match &user {
                Some(At { value: false, .. }) => Who::OurSelf,
                _ => Who::User(how.as_ref().map(|how| how.value.clone()).unwrap_or_default()),
            },
            account,
            mutual: section.boolean("mutual").is_none_or(|mutual| mutual.value),
            resource_based: section.boolean("resource-based").is_some_and(|value| value.value),
            rules,
            allow_own: section.boolean("allow-own-service").is_some_and(|value| value.value),
        };
        let error = |what: &str| self.report.error(span.clone(), format!("[route.outbound] {what}"));
        if user.is_none() {
            error(
                "needs `as`: \"user\" signs in to the application as the visitor, \"self\" as the gateway's own account",
            );
        }
        if section.string("service").is_none() {
            error(
                "needs `service`: the application's SPN, such as service = \"HTTP/app.example.test\"; it is never taken from a request",
            );
        }
        if !has_proxy {
            error("is for a route with `proxy`: there is no application to sign in to");
        }
        match (&outbound.who, &how) {
            (Who::User(_), None) if user.is_some() => error(
                "needs `how` where as = \"user\": what is allowed of \"delegated-tgt\", \"constrained\", \"transition\", the first that \
                 there is something for counts",
            ),
            (Who::OurSelf, Some(how)) => {
                self.report.error(how.span.clone(), "how: as = \"self\" has one way only; leave it out");
            }
            (Who::User(how), _) if how.contains(&How::Transition) && outbound.rules.is_empty() => error(
                "needs `allow` with how = [\"transition\"]: for whom the gateway may get tickets though they brought none, such as \
                 allow = { users = [\"*\"] }",
            ),
            _ => {}
        }
        if outbound.needs_account() && outbound.account.is_none() && !have.machine {
            error(
                "needs `keytab` and `principal`, the gateway's own account, or a [[domain]] that this machine joined",
            );
        }
        section.finish();
        Some(outbound)
    }

    fn how(&self, section: &Section<'a>) -> Option<At<Vec<How>>> {
        let At { value, span } = section.strings("how")?;
        let mut ways = Vec::new();
        for At { value, span } in value {
            match [How::DelegatedTgt, How::Constrained, How::Transition].into_iter().find(|way| way.name() == value) {
                Some(way) if ways.contains(&way) => {
                    self.report.error(span, format!("how: \"{value}\" stands here twice"));
                }
                Some(way) => ways.push(way),
                None => self.report.error(
                    span,
                    format!("how: wanted \"delegated-tgt\", \"constrained\" or \"transition\"; found \"{value}\""),
                ),
            }
        }
        if ways.is_empty() {
            self.report.error(span.clone(), "how: wanted at least one way");
        }
        Some(At { value: ways, span })
    }

    fn account(&self, section: &Section<'a>) -> Option<(Principal, PathBuf)> {
        let principal = section.parsed("principal", "an account such as \"svc-web@EXAMPLE.TEST\"", |text| {
            text.parse::<Principal>().ok().filter(|principal| !principal.realm.is_empty()).ok_or("")
        });
        let keytab = section.string("keytab");
        let (principal, keytab) = match (principal, keytab) {
            (Some(principal), Some(keytab)) => (principal, keytab),
            (Some(At { span, .. }), None) | (None, Some(At { span, .. })) => {
                self.report.error(
                    span,
                    "principal, keytab: they belong together, \"svc-web@EXAMPLE.TEST\" and the file with its keys",
                );
                return None;
            }
            (None, None) => return None,
        };
        let path = self.path(keytab.value);
        match KeytabSummary::read(&path) {
            Ok(found) if found.has_principal(&principal.value.to_string()) => {
                if let Some(mode) = open_to_others(&path) {
                    self.report.warning(
                        keytab.span,
                        format!("keytab: others may read {} (mode {mode:04o}), and it is as good as the account's password: chmod 600", path.display()),
                    );
                }
            }
            Ok(found) => self.report.error(
                keytab.span,
                format!("keytab: wanted a key of {}; {} has only {}", principal.value, path.display(), found.names()),
            ),
            Err(why) => self.report.error(keytab.span, format!("keytab: {why}")),
        }
        Some((principal.value, path))
    }
}
