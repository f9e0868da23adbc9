//! `[route.identity]`: what a route's application is told of its visitors.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderName};
use iwa_domain::directory::name::folded;
use iwa_domain::local::Snapshot;
use iwa_wire::Sid;

use super::raw::{At, Section};
use super::read::{Have, Reading, is_visible};
use super::{Route, value};
use crate::gateway::authorize::Role;
use crate::gateway::identity::groups::{Entry, Groups};
use crate::gateway::identity::jwt::{JwtConfig, TokenTold};
use crate::gateway::identity::keys::Algorithm;
use crate::gateway::identity::protected::{LONGEST, Protected};
use crate::gateway::identity::template::{Hole, Template};
use crate::gateway::identity::value::Encoding;
use crate::gateway::identity::{Preset, Told};
use crate::gateway::names::DomainGroup;

impl<'a> Reading<'a> {
    pub(super) fn told(&self, section: Section<'a>, names: Option<&Snapshot>, have: Have<'_>) -> Told {
        let preset = section.word("preset", &Preset::ALL);
        let written = section.texts("headers");
        let mut headers = match (&preset, &written) {
            (None, None) => None,
            (preset, _) => Some(preset.as_ref().map_or_else(Vec::new, |preset| preset.value.headers())),
        };
        for (name, template) in written.into_iter().flatten() {
            if let (Some(name), Some(template), Some(headers)) =
                (self.asserted_name(name, &template.span, headers.as_deref()), self.template(&template), &mut headers)
            {
                headers.retain(|(known, _)| *known != name);
                headers.push((name, template));
            }
        }
        let encoding = section.word(
            "encoding",
            &[("utf-8", Encoding::Utf8), ("percent", Encoding::Percent), ("rfc8187", Encoding::Rfc8187)],
        );
        let groups = section.strings("groups").map(|At { value, span: _ }| self.told_groups(value, names, have));
        let separator = section.word("separator", &[(",", ','), (";", ';'), ("|", '|'), (" ", ' ')]);
        let limit = section.size("limit").and_then(|limit| {
            let found = usize::try_from(limit.value).ok().filter(|limit| (64..=64 << 10).contains(limit));
            if found.is_none() {
                self.report.error(limit.span, "limit: wanted 64 B to 64 KiB: what the application takes as headers");
            }
            found
        });
        let mut remove = Vec::new();
        for At { value, span } in section.strings("remove").map(|names| names.value).unwrap_or_default() {
            match value.strip_suffix('*').unwrap_or(value).parse::<HeaderName>() {
                Ok(name) if name.as_str().len() <= LONGEST && !is_of_http(&name) => remove.push(value.to_owned()),
                _ => self.report.error(
                    span,
                    format!(
                        "remove: wanted the name of a header that visitors must not send, or its beginning and *; found \"{value}\""
                    ),
                ),
            }
        }
        let lists_groups = headers.iter().flatten().any(|(_, template)| template.has(Hole::Groups));
        if groups.is_none() && lists_groups && preset.is_none() && section.is_written() {
            // A route below may name them.
            self.report.warning(
                section.span(),
                "[route.identity]: a header tells groups, and no `groups` says which: it is left out; wanted groups = \"all\", or \
                 a list such as ['CORP\\Engineers', \"S-1-5-32-544\"]",
            );
        }
        let token = self.token(section.section("jwt"), headers.as_deref().unwrap_or_default());
        section.finish();
        Told {
            headers,
            encoding: encoding.map(|at| at.value),
            groups,
            separator: separator.map(|at| at.value),
            limit,
            token,
            remove,
        }
    }

    /// `[route.identity.jwt]`.
    fn token(&self, section: Section<'a>, headers: &[(HeaderName, Template)]) -> Option<Option<TokenTold>> {
        if !section.is_written() {
            return None;
        }
        let enabled = section.boolean("enabled").is_none_or(|enabled| enabled.value);
        let audience = section.string("audience");
        let header = match section.string("header") {
            None => Some(HeaderName::from_static("x-jwt-assertion")),
            Some(At { value, .. }) if value.eq_ignore_ascii_case("authorization") => Some(AUTHORIZATION),
            Some(At { value, span }) => self.asserted_name(value, &span, None).filter(|header| {
                let alone = Protected::only([header.as_str()]);
                let twice = headers.iter().any(|(other, _)| alone.covers(other.as_str()));
                if twice {
                    self.report.error(span, format!("header: \"{header}\" stands among `headers` already"));
                }
                !twice
            }),
        };
        let span = section.span();
        section.finish();
        if !enabled {
            return Some(None);
        }
        let Some(audience) = audience.filter(|audience| !audience.value.is_empty() && is_visible(audience.value))
        else {
            self.report.error(
                span,
                "[route.identity.jwt] needs `audience`: the name by which the application knows itself, so that its tokens are worth \
                 nothing to another; for example \"https://app.example.test\"",
            );
            return None;
        };
        Some(Some(TokenTold { audience: audience.value.to_owned(), header: header? }))
    }

    /// `[jwt]`.
    pub(super) fn jwt(&self, section: Section<'a>, routes: &[Route]) -> Option<JwtConfig> {
        let wanted = routes.iter().find(|route| matches!(route.told.token, Some(Some(_))));
        if !section.is_written() {
            if let Some(route) = wanted {
                self.report.file_error(format!(
                    "route {} tells its application by a token, and there is no [jwt]: wanted one with `issuer` and `keys`",
                    route.path
                ));
            }
            return None;
        }
        let keys = section.string("keys").map(|keys| self.path(keys.value));
        let issuer = section.string("issuer").filter(|issuer| {
            let good = !issuer.value.is_empty() && is_visible(issuer.value);
            if !good {
                self.report.error(
                    issuer.span.clone(),
                    "issuer: wanted the gateway's URL, such as \"https://web.example.test\"",
                );
            }
            good
        });
        let algorithm = section.word("algorithm", &Algorithm::ALL).map(|algorithm| algorithm.value).unwrap_or_default();
        let between = |key, range: RangeInclusive<Duration>, default, wanted: &str| match section.duration(key) {
            Some(At { value, span }) if !range.contains(&value) => {
                self.report.error(span, format!("{key}: wanted {wanted}"));
                default
            }
            Some(At { value, .. }) => value,
            None => default,
        };
        let (hour, day) = (Duration::from_secs(3_600), Duration::from_secs(86_400));
        let lifetime = between(
            "lifetime",
            Duration::from_secs(10)..=hour,
            JwtConfig::LIFETIME,
            "10 s to 1 h: a token that leaks is good for so long",
        );
        let rotate = between("rotate", day..=3_650 * day, JwtConfig::ROTATE, "1 day to 3650 days");
        let span = section.span();
        section.finish();
        let (Some(keys), Some(issuer)) = (keys, issuer) else {
            self.report.error(
                span,
                "[jwt] needs `issuer`, the gateway's URL, and `keys`, a directory for the keys, for example \"/var/lib/iwa/jwt\" (it is \
                 made if it is not there)",
            );
            return None;
        };
        if wanted.is_none() {
            self.report.warning(span, "[jwt] has no effect: no route has [route.identity.jwt]");
        }
        Some(JwtConfig { keys, algorithm, issuer: issuer.value.to_owned(), lifetime, rotate })
    }

    /// The name of a header that is for the gateway alone to say.
    fn asserted_name(
        &self,
        name: &str,
        span: &std::ops::Range<usize>,
        others: Option<&[(HeaderName, Template)]>,
    ) -> Option<HeaderName> {
        let wrong = |what: String| {
            self.report.error(span.clone(), format!("headers: {what}"));
            None
        };
        let Ok(parsed) = name.parse::<HeaderName>() else {
            return wrong(format!("\"{}\" cannot be the name of a header", name));
        };
        if parsed.as_str().len() > LONGEST {
            return wrong(format!("\"{parsed}\" is longer than {LONGEST} bytes"));
        }
        if is_of_http(&parsed) {
            return wrong(format!("\"{parsed}\" has a meaning of its own in HTTP and cannot say who a visitor is"));
        }
        let alone = Protected::only([parsed.as_str()]);
        let twice = others.into_iter().flatten().find(|(other, _)| *other != parsed && alone.covers(other.as_str()));
        if let Some((other, _)) = twice {
            return wrong(format!("\"{parsed}\" and \"{other}\" are one name to most applications"));
        }
        Some(parsed)
    }

    fn template(&self, text: &At<&str>) -> Option<Template> {
        match Template::parse(text.value) {
            Ok(template) if template.mixes_realms() => {
                self.report.error(
                    text.span.clone(),
                    format!(
                        "headers: \"{}\" would call users of different domains by one name: add {{domain}}, {{realm}} or {{sid}}, or let \
                         [[mapping]] make bare names and tell the application {{local}}",
                        text.value
                    ),
                );
                None
            }
            Ok(template) => Some(template),
            Err(why) => {
                self.report.error(text.span.clone(), format!("headers: \"{}\": {why}", text.value));
                None
            }
        }
    }

    fn told_groups(&self, written: Vec<At<&str>>, names: Option<&Snapshot>, have: Have<'_>) -> Groups {
        if let [At { value: "all", .. }] = written.as_slice() {
            return Groups::All;
        }
        let entry = |At { value, span }: At<&str>| match self.told_group(value, &span, names, have) {
            Ok(entry) => Some(entry),
            Err(why) => {
                self.report.error(span, format!("groups: {why}"));
                None
            }
        };
        Groups::Listed(written.into_iter().filter_map(entry).collect())
    }

    fn told_group(
        &self,
        text: &str,
        span: &std::ops::Range<usize>,
        names: Option<&Snapshot>,
        have: Have<'_>,
    ) -> Result<Entry, String> {
        let called = text.to_owned();
        if let Some(beginning) = text.strip_suffix('*') {
            if let Some(domain) = beginning.strip_suffix('-').and_then(|domain| domain.parse::<Sid>().ok()) {
                return Ok(Entry::OfDomain(domain));
            }
            if let Some((domain, name)) = value::in_domain(beginning)
                && have.directory.is_some_and(|directory| directory.name.eq_ignore_ascii_case(domain))
            {
                let (domain, name) = (domain.to_owned(), folded(name));
                return Ok(Entry::InDirectory { domain, name, family: true, called: String::new() });
            }
            return Err(format!(
                "`{text}`: names of a domain's groups are looked up one by one, ahead of the requests; wanted each by name, or all of \
                 a domain by SID (\"S-1-5-21-1-2-3-*\")"
            ));
        }
        Ok(match value::in_directory(text, have.directory).unwrap_or_else(|| value::role(text))? {
            Role::Sid(sid) => Entry::Sid(sid, sid.to_string()),
            Role::Group(name) if self.is_of_a_domain(&name, names, have) => match value::in_domain(&name) {
                Some((domain, group)) => Entry::InDomain(Arc::new(DomainGroup::new(domain, group)), called),
                None => return Err(format!("wanted DOMAIN\\group; found \"{name}\"")),
            },
            Role::Group(name) => {
                self.known_group(&name, span.clone(), names, have);
                Entry::Local { name, called }
            }
            Role::InDomain(group) => Entry::InDomain(group, called),
            Role::InDirectory { domain, name } => Entry::InDirectory { domain, name, family: false, called },
            Role::Dn(dn) => Entry::Dn(dn, called),
        })
    }
}

/// Whether HTTP itself, or the gateway on another's behalf, says something by this name.
fn is_of_http(name: &HeaderName) -> bool {
    const OF_HTTP: &[&str] = &[
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "date",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "max-forwards",
        "origin",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "referer",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
        "www-authenticate",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-proto",
        "x-real-ip",
        "x-request-id",
    ];
    let of_websocket = |name: &str| name.starts_with("sec-") || name.starts_with("if-") || name.starts_with("accept");
    OF_HTTP.contains(&name.as_str()) || of_websocket(name.as_str())
}
