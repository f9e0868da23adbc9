//! `[[route]]`: what is served where, and the rules, given to every route by those above it.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use http::Method;
use iwa_domain::local::Snapshot;
use iwa_domain::local::name::same;
use iwa_http::session::Terms;

use super::raw::{At, Section, did_you_mean};
use super::read::{Have, Reading, is_visible};
use super::{Authentication, Outbound, Proxy, Route, SignIn, value};
use crate::gateway::authorize::{Access, Role, Rule, User};
use crate::gateway::identity::Told;
use crate::gateway::names::DomainGroup;
use crate::gateway::path::covers;

impl<'a> Reading<'a> {
    pub(super) fn routes(
        &self,
        sections: Vec<Section<'a>>,
        authentication: &Authentication,
        names: Option<&Snapshot>,
        have: Have<'_>,
    ) -> Vec<Route> {
        let mut written: Vec<Written> = Vec::new();
        let none = sections.is_empty();
        // Whether anybody may come without signing in, here or elsewhere.
        let anonymous = authentication.policy.anonymous || sections.iter().any(Section::says_anonymous);
        for section in sections {
            let path = self.route_path(&section);
            let files = section.string("files").map(|files| {
                let dir = self.path(files.value);
                match fs::metadata(&dir) {
                    Ok(found) if found.is_dir() => {}
                    Ok(_) => {
                        self.report.error(files.span, format!("files: wanted a directory; {} is a file", dir.display()))
                    }
                    Err(error) => self.report.error(files.span, format!("files: {}: {error}", dir.display())),
                }
                dir
            });
            let proxy = self.proxy(&section);
            if proxy.is_some() && files.is_some() {
                self.report.error(section.span(), "files and proxy: a route has one of them");
            }
            let mut session = self.session(section.section("session"), have.sessions);
            let outbound = self.outbound(&section, proxy.is_some(), names, have);
            let mut sign_in = self.sign_in(&section, have, authentication);
            let told = self.told(section.section("identity"), names, have);
            let inherit = section.boolean("inherit").is_none_or(|inherit| inherit.value);
            let mut rules = Vec::new();
            for (key, access) in [("deny", Access::Deny), ("allow", Access::Allow)] {
                for rule in section.sections(key) {
                    let span = rule.span();
                    if let Some(rule) = self.rule(rule, access, anonymous, names, have) {
                        rules.push(At { value: rule, span });
                    }
                }
            }
            if proxy.as_ref().is_some_and(|proxy| proxy.settings.pass_through) {
                let (off, rest) = (sign_in.off, SignIn { off: None, anonymous: None, ..sign_in.clone() });
                if off == Some(false) || rest != SignIn::default() {
                    self.report.error(
                        section.span(),
                        "[route.upstream]: with `pass-through` the application signs its visitors in, and nobody does so here: leave \
                         out what says how they sign in on this route",
                    );
                }
                if outbound.is_some() {
                    self.report.error(
                        section.span(),
                        "[route.outbound]: with `pass-through` visitors sign in to the application by themselves, and nobody does so for \
                         them",
                    );
                }
                // What is said above of signing in is not for this route either.
                sign_in = SignIn { off: Some(true), anonymous: Some(true), ..SignIn::default() };
                session = Some(None);
            }
            if let Some(path) = path {
                if written.iter().any(|other| covers(&other.path, &path) && covers(&path, &other.path)) {
                    self.report
                        .error(section.span(), format!("path: there are two routes for {path} (case does not count)"));
                }
                written.push(Written { path, files, proxy, outbound, inherit, rules, sign_in, session, told });
            }
            section.finish();
        }
        if none {
            self.report.file_error("nothing is served: wanted at least one [[route]] with a `path`");
        } else if !written.iter().any(|route| route.path == "/") {
            self.report.file_warning("there is no route for \"/\": whatever no route covers is answered with 404");
        }
        self.inherit(written)
    }

    fn route_path(&self, section: &Section<'a>) -> Option<String> {
        let Some(path) = section.string("path") else {
            self.report.error(section.span(), "[[route]] needs `path`, for example path = \"/\"");
            return None;
        };
        let plain = path.value.strip_prefix('/').is_some_and(|rest| {
            let rest = rest.strip_suffix('/').unwrap_or(rest);
            rest.is_empty() || rest.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
        });
        if !plain || !is_visible(path.value) || path.value.contains(['\\', '?', '#', '%', '*', ';']) {
            self.report.error(
                path.span,
                format!("path: wanted a plain path such as \"/\" or \"/reports\" (decoded, without wildcards); found \"{}\"", path.value),
            );
            return None;
        }
        let path = path.value.trim_end_matches('/');
        Some(if path.is_empty() { "/".to_owned() } else { path.to_owned() })
    }

    pub(super) fn rule(
        &self,
        section: Section<'a>,
        access: Access,
        anonymous: bool,
        names: Option<&Snapshot>,
        have: Have<'_>,
    ) -> Option<Rule> {
        let mut rule = Rule { access, users: Vec::new(), roles: Vec::new(), verbs: Vec::new() };
        let mut broken = false;
        for At { value, span } in section.strings("users").map(|users| users.value).unwrap_or_default() {
            match value::user(value) {
                Ok(user) => {
                    self.known_user(&user, span, anonymous, names, have);
                    rule.users.push(user);
                }
                Err(why) => {
                    broken = true;
                    self.report.error(span, format!("users: {why}"));
                }
            }
        }
        for At { value, span } in section.strings("roles").map(|roles| roles.value).unwrap_or_default() {
            match value::in_directory(value, have.directory).unwrap_or_else(|| value::role(value)) {
                Ok(Role::Group(name)) if self.is_of_a_domain(&name, names, have) => match value::in_domain(&name) {
                    Some((domain, group)) => {
                        rule.roles.push(Role::InDomain(Arc::new(DomainGroup::new(domain, group))));
                    }
                    None => {
                        broken = true;
                        self.report.error(
                            span,
                            format!(
                                "roles: wanted DOMAIN\\group (in TOML 'DOMAIN\\group' or \"DOMAIN\\\\group\"); found \"{name}\""
                            ),
                        );
                    }
                },
                Ok(role) => {
                    if let Role::Group(name) = &role {
                        self.known_group(name, span, names, have);
                    }
                    rule.roles.push(role);
                }
                Err(why) => {
                    broken = true;
                    self.report.error(span, format!("roles: {why}"));
                }
            }
        }
        for At { value, span } in section.strings("verbs").map(|verbs| verbs.value).unwrap_or_default() {
            match Method::from_bytes(value.to_ascii_uppercase().as_bytes()) {
                Ok(verb) => rule.verbs.push(verb),
                Err(_) => {
                    broken = true;
                    self.report.error(span, format!("verbs: wanted methods such as \"GET\"; found \"{value}\""));
                }
            }
        }
        let span = section.span();
        section.finish();
        if broken {
            return None;
        }
        if rule.users.is_empty() && rule.roles.is_empty() {
            self.report.error(span, "a rule needs `users` or `roles`: everybody is users = [\"*\"]");
            return None;
        }
        Some(rule)
    }

    /// Whether a name of a group is for a domain to resolve: one with a domain that is not this machine.
    pub(super) fn is_of_a_domain(&self, name: &str, names: Option<&Snapshot>, have: Have<'_>) -> bool {
        let here = |domain: &str| {
            same(domain, "BUILTIN") || domain == "." || names.is_some_and(|names| names.is_own_domain(domain))
        };
        have.domain && name.split_once('\\').is_some_and(|(domain, _)| !here(domain))
    }

    pub(super) fn known_group(&self, name: &str, span: Range<usize>, names: Option<&Snapshot>, have: Have<'_>) {
        match names {
            Some(names) if names.group_sid(name).is_none() => {
                let known: Vec<_> = names.groups().iter().map(|group| group.name.as_str()).collect();
                let hint = did_you_mean(name, &known);
                self.report.warning(span, format!("roles: there is no group \"{name}\" now{hint}"));
            }
            None if !have.accounts && have.directory.is_some() => self.report.error(
                span,
                format!(
                    "roles: \"{name}\" is a group of [accounts], which there are none of; a group of the directory is written with \
                     the directory's name, '{}\\{name}', or as its DN",
                    have.directory.map_or("", |directory| &directory.name)
                ),
            ),
            None if !have.accounts && have.domain => self.report.error(
                span,
                format!(
                    "roles: \"{name}\" is a group of [accounts], which there are none of; a domain's group is written with its \
                     domain, 'DOMAIN\\{name}'"
                ),
            ),
            None if !have.accounts => self.report.error(
                span,
                format!(
                    "roles: \"{name}\" is a group of [accounts], which there are none of; a domain's group is written as its \
                     SID (S-1-5-21-...), or by name where there is a [[domain]]"
                ),
            ),
            _ => {}
        }
    }

    fn known_user(&self, user: &User, span: Range<usize>, anonymous: bool, names: Option<&Snapshot>, have: Have<'_>) {
        match user {
            User::Anonymous if !anonymous => {
                self.report.warning(span, "users: \"?\" is whoever does not sign in, and anonymous is off: it matches nobody");
            }
            User::Local(name) if !have.accounts => self.report.error(
                span,
                format!("users: \"{name}\" is an account of [accounts], which there are none of; wanted DOMAIN\\{name} or {name}@REALM"),
            ),
            User::Local(name) => self.known_account(name, span, names),
            User::InDomain { domain, name } if names.is_some_and(|names| names.is_own_domain(domain)) => {
                self.known_account(name, span, names);
            }
            _ => {}
        }
    }

    fn known_account(&self, name: &str, span: Range<usize>, names: Option<&Snapshot>) {
        let Some(names) = names.filter(|names| names.user(name).is_none()) else { return };
        if names.group(name).is_some() {
            return self.report.warning(span, format!("users: \"{name}\" is a group: groups are `roles`"));
        }
        let known: Vec<_> = names.users().iter().map(|user| user.name.as_str()).collect();
        let hint = if known.len() > 20 { String::new() } else { did_you_mean(name, &known) };
        self.report.warning(span, format!("users: there is no account \"{name}\" now{hint}"));
    }

    /// Gives every route the rules of the routes above it.
    fn inherit(&self, mut written: Vec<Written>) -> Vec<Route> {
        // By segments first: a spelling of a name in fewer bytes must not come before what lies below it.
        written.sort_by_key(|route| (route.path.trim_end_matches('/').matches('/').count(), route.path.len()));
        let mut routes = Vec::new();
        for route in &written {
            let (mut rules, mut sign_in, mut told) = (Vec::<Rule>::new(), SignIn::default(), Told::default());
            let mut session = None;
            for above in written.iter().filter(|above| covers(&above.path, &route.path)) {
                sign_in = above.sign_in.clone().below(&sign_in);
                told = above.told.clone().or(&told);
                session = above.session.clone().unwrap_or(session);
                if !above.inherit {
                    rules.clear();
                }
                if above.path == route.path {
                    self.moot(route, &rules);
                }
                rules.extend(above.rules.iter().map(|rule| rule.value.clone()));
            }
            routes.push(Route {
                path: route.path.clone(),
                files: route.files.clone(),
                proxy: route.proxy.clone(),
                told,
                outbound: route.outbound.clone(),
                rules,
                sign_in,
                session,
            });
        }
        routes.reverse();
        routes
    }

    /// IIS takes a parent's Allow before the child's: a child cannot narrow it by allowing fewer.
    fn moot(&self, route: &Written, above: &[Rule]) {
        let everybody = above
            .iter()
            .any(|rule| rule.access == Access::Allow && rule.verbs.is_empty() && rule.users.contains(&User::All));
        if !everybody {
            return;
        }
        for rule in route.rules.iter().filter(|rule| rule.value.access == Access::Allow) {
            self.report.warning(
                rule.span.clone(),
                format!(
                    "this allows nobody more and keeps nobody out of {}: a route above it allows everybody, and inherited rules come \
                     first, as in IIS; `inherit = false` (IIS: <clear/>) leaves the inherited rules out",
                    route.path
                ),
            );
        }
    }
}

/// A route as it was written.
struct Written {
    path: String,
    files: Option<PathBuf>,
    proxy: Option<Proxy>,
    outbound: Option<Outbound>,
    inherit: bool,
    rules: Vec<At<Rule>>,
    sign_in: SignIn,
    /// `Some(None)` turns them off.
    session: Option<Option<Terms>>,
    told: Told,
}
