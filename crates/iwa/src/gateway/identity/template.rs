//! What a header says: a text with holes for what is known of the visitor.

use core::fmt;

/// A text with holes: `{user}`, `{local}`, `{groups}` …
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Template {
    pub(super) pieces: Vec<Piece>,
    /// A hole with a `?` in it: visitors who have nothing for it get no header.
    pub(super) optional: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    Text(String),
    Hole(Hole),
}

/// What may be said of a visitor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hole {
    /// `DOMAIN\name`.
    User,
    /// The name without its domain.
    Name,
    /// The domain's short name for our own; a foreign realm for everybody else.
    Domain,
    /// The user principal name.
    Upn,
    /// The realm, as Kerberos writes it.
    Realm,
    /// The account's SID.
    Sid,
    /// `Kerberos`, `NTLM`, `Basic`.
    Mechanism,
    /// What people call them.
    DisplayName,
    /// The name that `[[mapping]]` makes; without a rule `DOMAIN\name`.
    Local,
    /// The groups that the route's filter lets through.
    Groups,
    /// By what they are known: `request`, `connection` …
    Proved,
}

impl Hole {
    const ALL: [(&'static str, Self); 11] = [
        ("user", Self::User),
        ("name", Self::Name),
        ("domain", Self::Domain),
        ("upn", Self::Upn),
        ("realm", Self::Realm),
        ("sid", Self::Sid),
        ("mechanism", Self::Mechanism),
        ("display-name", Self::DisplayName),
        ("local", Self::Local),
        ("groups", Self::Groups),
        ("proved", Self::Proved),
    ];

    /// As it stands in a template.
    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, hole)| *hole == self).map_or("", |(name, _)| name)
    }
}

impl Template {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (mut pieces, mut optional) = (Vec::new(), false);
        let mut rest = text;
        while let Some((before, hole)) = rest.split_once('{') {
            let (name, after) = hole.split_once('}').ok_or("a { has no }")?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let name = match name.strip_suffix('?') {
                Some(name) => {
                    optional = true;
                    name
                }
                None => name,
            };
            let Some((_, hole)) = Hole::ALL.iter().find(|(known, _)| *known == name) else {
                let known: Vec<_> = Hole::ALL.iter().map(|(known, _)| format!("{{{known}}}")).collect();
                return Err(format!("there is no {{{name}}}; there are {}", known.join(", ")));
            };
            pieces.push(Piece::Hole(*hole));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        let template = Self { pieces, optional };
        if template.has(Hole::Groups) && template.pieces.len() > 1 {
            return Err("{groups} is a list and stands alone".to_owned());
        }
        if text.contains('}') && !text.contains('{') || template.texts().any(|text| text.contains('}')) {
            return Err("a } has no {".to_owned());
        }
        if template.texts().any(|text| text.chars().any(char::is_control)) {
            return Err("it has control characters in it".to_owned());
        }
        if template.pieces.is_empty() { Err("wanted a text".to_owned()) } else { Ok(template) }
    }

    /// Whether it has this hole.
    pub(crate) fn has(&self, hole: Hole) -> bool {
        self.pieces.contains(&Piece::Hole(hole))
    }

    /// Whether it calls users of different realms by one name.
    pub(crate) fn mixes_realms(&self) -> bool {
        self.has(Hole::Name) && ![Hole::Domain, Hole::Realm, Hole::Sid].into_iter().any(|hole| self.has(hole))
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Hole(_) => None,
        })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.optional { "?" } else { "" };
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Hole(hole) => write!(f, "{{{}{mark}}}", hole.name()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        for (text, mixes) in [
            ("{user}", false),
            ("{name}", true),
            ("{name} ({mechanism})", true),
            ("{domain}+{name}", false),
            ("{name}@{realm}", false),
            ("{local}", false),
            ("{groups}", false),
            ("{display-name?}", false),
            ("fixed", false),
        ] {
            let template = Template::parse(text).expect("a template");
            assert_eq!((template.to_string().as_str(), template.mixes_realms()), (text, mixes));
        }
        for bad in [
            "",
            "{",
            "{user",
            "user}",
            "{user}}",
            "{}",
            "{?}",
            "{User}",
            "{password}",
            "{groups},x",
            "x{groups?}",
            "a\r\nb: {user}",
            "\t",
        ] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }
}
