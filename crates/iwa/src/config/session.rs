//! `[sessions]` and `[route.session]`: one handshake, then a sealed cookie.

use std::path::PathBuf;
use std::time::Duration;

use iwa_http::session::{SameSite, Terms};

use super::raw::{At, Section};
use super::read::Reading;
use super::{Config, DEFAULT_STATE};

/// `[sessions]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sessions {
    /// `keys`: the file with the keys, which several gateways may share.
    pub(crate) keys: PathBuf,
    /// `revoked`: the file with the sessions that were ended before their time, shared as the keys are.
    pub(crate) revoked: PathBuf,
    /// `rotate`: how often a new key comes.
    pub(crate) rotate: Duration,
    /// `return-to`: where `/.iwa/logout?return=` may lead.
    pub(crate) return_to: Vec<String>,
}

impl Sessions {
    /// `rotate` by default.
    pub(crate) const ROTATE: Duration = Duration::from_secs(86_400);
}

impl Config {
    /// How long a session of any route may live.
    pub(crate) fn longest_session(&self) -> Duration {
        self.routes.iter().filter_map(|route| Some(route.session.as_ref()?.lifetime)).max().unwrap_or(Terms::LIFETIME)
    }
}

impl<'a> Reading<'a> {
    pub(super) fn sessions(&self, section: Section<'a>) -> Option<Sessions> {
        if !section.is_written() {
            return None;
        }
        let keys = section.string("keys").map(|keys| self.path(keys.value));
        let keys = keys.unwrap_or_else(|| PathBuf::from(DEFAULT_STATE).join("session-keys"));
        let revoked = section.string("revoked").map(|revoked| self.path(revoked.value)).unwrap_or_else(|| {
            let mut name = keys.file_name().unwrap_or_default().to_owned();
            name.push("-revoked");
            keys.with_file_name(name)
        });
        if revoked == keys {
            self.report.error(section.span(), "keys and revoked are one file: wanted two");
        }
        let rotate = match section.duration("rotate") {
            Some(At { value, span }) if value < Duration::from_secs(3600) => {
                self.report.error(span, "rotate: wanted at least \"1 h\"");
                Sessions::ROTATE
            }
            Some(rotate) => rotate.value,
            None => Sessions::ROTATE,
        };
        let mut return_to = Vec::new();
        for At { value, span } in section.strings("return-to").map(|all| all.value).unwrap_or_default() {
            let of_host = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"));
            let elsewhere = of_host.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
            let here = value.starts_with('/') && !value.starts_with("//");
            let plain =
                value.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\'));
            if plain && (elsewhere || here) {
                return_to.push(value.to_owned());
            } else {
                self.report.error(
                    span,
                    format!(
                        "return-to: wanted addresses such as \"https://www.example.test/\" or \"/signed-out\"; found \"{value}\""
                    ),
                );
            }
        }
        section.finish();
        Some(Sessions { keys, revoked, rotate, return_to })
    }

    /// `[route.session]`: `None` if nothing is said, so that what a route above says holds.
    pub(super) fn session(&self, section: Section<'a>, sessions: bool) -> Option<Option<Terms>> {
        if !section.is_written() {
            return None;
        }
        let enabled = section.boolean("enabled").is_none_or(|enabled| enabled.value);
        if enabled && !sessions {
            self.report.error(
                section.span(),
                "[route.session] needs a section [sessions], which says where the keys are (keys = \"/var/lib/iwa/session-keys\")",
            );
        }
        let mut terms = Terms::default();
        if let Some(lifetime) = section.duration("lifetime") {
            if lifetime.value.as_secs() == 0 || lifetime.value > Terms::LONGEST {
                self.report.error(lifetime.span, "lifetime: wanted \"1 s\" to \"30 days\"");
            }
            terms.lifetime = lifetime.value;
        }
        if let Some(idle) = section.duration("idle") {
            if idle.value.as_secs() < 4 || idle.value > terms.lifetime {
                self.report.error(idle.span, "idle: wanted at least \"4 s\", and not more than lifetime");
            }
            terms.idle = Some(idle.value);
        }
        let words = [("strict", SameSite::Strict), ("lax", SameSite::Lax), ("none", SameSite::None)];
        if let Some(same_site) = section.word("same-site", &words) {
            terms.same_site = same_site.value;
            if same_site.value == SameSite::None {
                self.report.warning(
                    same_site.span,
                    "same-site = \"none\": other sites can send requests here in the name of whoever is signed in, as they can \
                     without sessions; the application must keep them off",
                );
            }
        }
        if let Some(persistent) = section.boolean("persistent") {
            terms.persistent = persistent.value;
        }
        if let Some(in_clear) = section.boolean("in-clear") {
            terms.in_clear = in_clear.value;
            if in_clear.value {
                self.report.warning(
                    in_clear.span,
                    "in-clear: without TLS whoever listens takes the session over; right on one machine and for trying out",
                );
            }
        }
        section.finish();
        Some(enabled.then_some(terms))
    }
}
