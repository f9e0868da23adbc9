//! Filters: built of values, so that nothing that a value holds can become a part of the filter. RFC 4511 4.5.1.7;
//! as text RFC 4515.

use core::fmt::{self, Write as _};
use core::str::FromStr;

use super::{boolean, implicit, octets, utf8};
use crate::der::{Der, DerWriter, Tag};
use crate::error::{ErrorKind, ParseError};
use crate::sid::Sid;

/// A search filter. `Display` and `FromStr` are RFC 4515, in which every byte that has a meaning is escaped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Filter {
    /// All of them hold.
    And(Vec<Filter>),
    /// One of them holds.
    Or(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
    /// `attribute=value`.
    Equal(String, Vec<u8>),
    /// `attribute=initial*any*last`.
    Substrings(String, Substrings),
    /// `attribute>=value`.
    GreaterOrEqual(String, Vec<u8>),
    /// `attribute<=value`.
    LessOrEqual(String, Vec<u8>),
    /// `attribute=*`.
    Present(String),
    /// `attribute~=value`.
    Approx(String, Vec<u8>),
    /// `attribute:dn:rule:=value`.
    Extensible(Extensible),
}

/// The pieces of a value that are known. At least one is there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Substrings {
    /// How it begins.
    pub initial: Option<Vec<u8>>,
    /// What stands in it, in this order.
    pub any: Vec<Vec<u8>>,
    /// How it ends.
    pub last: Option<Vec<u8>>,
}

/// `MatchingRuleAssertion`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Extensible {
    /// `matchingRule`: an OID or a name.
    pub rule: Option<String>,
    /// `type`.
    pub attribute: Option<String>,
    /// `matchValue`.
    pub value: Vec<u8>,
    /// `dnAttributes`: the attributes of the entry's name count, too.
    pub dn_attributes: bool,
}

/// `LDAP_MATCHING_RULE_IN_CHAIN`: membership through any number of groups (MS-ADTS 3.1.1.3.4.4.3).
pub const IN_CHAIN: &str = "1.2.840.113556.1.4.1941";
/// `LDAP_MATCHING_RULE_BIT_AND`: all of these bits are set (MS-ADTS 3.1.1.3.4.4.1).
pub const BIT_AND: &str = "1.2.840.113556.1.4.803";
/// `LDAP_MATCHING_RULE_BIT_OR`: one of these bits is set (MS-ADTS 3.1.1.3.4.4.2).
pub const BIT_OR: &str = "1.2.840.113556.1.4.804";

/// How deep filters may be nested in what is read.
pub const DEPTH_LIMIT: usize = 16;
/// Of how many parts filters may be in what is read.
pub const PARTS_LIMIT: usize = 1024;

impl Filter {
    /// `attribute=value`.
    #[must_use]
    pub fn equal(attribute: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        Self::Equal(attribute.into(), value.as_ref().to_vec())
    }

    /// `attribute=*`.
    #[must_use]
    pub fn present(attribute: impl Into<String>) -> Self {
        Self::Present(attribute.into())
    }

    /// `objectClass=*`, which everything has: for searches of one known entry.
    #[must_use]
    pub fn any_entry() -> Self {
        Self::present("objectClass")
    }

    /// `attribute=SID`, in the binary form, which every directory compares.
    #[must_use]
    pub fn sid(attribute: impl Into<String>, sid: &Sid) -> Self {
        let mut value = Vec::with_capacity(28);
        sid.write(&mut value);
        Self::Equal(attribute.into(), value)
    }

    /// `attribute:IN_CHAIN:=dn`: whoever is a member, through whatever groups.
    #[must_use]
    pub fn in_chain(attribute: impl Into<String>, dn: &str) -> Self {
        Self::rule(attribute, IN_CHAIN, dn)
    }

    /// `attribute:rule:=value`.
    #[must_use]
    pub fn rule(attribute: impl Into<String>, rule: &str, value: impl AsRef<[u8]>) -> Self {
        let (rule, attribute) = (Some(rule.to_owned()), Some(attribute.into()));
        Self::Extensible(Extensible { rule, attribute, value: value.as_ref().to_vec(), dn_attributes: false })
    }

    /// Both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match self {
            Self::And(mut all) => {
                all.push(other);
                Self::And(all)
            }
            first => Self::And(vec![first, other]),
        }
    }

    /// One of both holds.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match self {
            Self::Or(mut all) => {
                all.push(other);
                Self::Or(all)
            }
            first => Self::Or(vec![first, other]),
        }
    }

    /// It does not hold.
    #[must_use]
    pub fn negated(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// Reads the next value.
    pub(super) fn read(der: &mut Der<'_>) -> Result<Self, ParseError> {
        let mut parts = PARTS_LIMIT;
        Self::read_within(der, DEPTH_LIMIT, &mut parts)
    }

    fn read_within(der: &mut Der<'_>, depth: usize, parts: &mut usize) -> Result<Self, ParseError> {
        let at = *der;
        let depth = depth
            .checked_sub(1)
            .ok_or_else(|| at.error(ErrorKind::Limit { what: "nested filters", limit: DEPTH_LIMIT }))?;
        let mut count = || match parts.checked_sub(1) {
            Some(left) => {
                *parts = left;
                Ok(())
            }
            None => Err(at.error(ErrorKind::Limit { what: "parts of a filter", limit: PARTS_LIMIT })),
        };
        count()?;
        let tlv = der.any()?;
        let mut inside = tlv.inside();
        let filter = match tlv.tag {
            AND | OR => {
                let mut all = Vec::new();
                while !inside.is_empty() {
                    all.push(Self::read_within(&mut inside, depth, parts)?);
                }
                return Ok(if tlv.tag == AND { Self::And(all) } else { Self::Or(all) });
            }
            NOT => Self::Not(Box::new(Self::read_within(&mut inside, depth, parts)?)),
            EQUAL | GREATER_OR_EQUAL | LESS_OR_EQUAL | APPROX => {
                let attribute = name(&at, octets(&mut inside)?)?;
                let value = octets(&mut inside)?.to_vec();
                match tlv.tag {
                    EQUAL => Self::Equal(attribute, value),
                    GREATER_OR_EQUAL => Self::GreaterOrEqual(attribute, value),
                    LESS_OR_EQUAL => Self::LessOrEqual(attribute, value),
                    _ => Self::Approx(attribute, value),
                }
            }
            PRESENT => return Ok(Self::Present(name(&at, tlv.body)?)),
            SUBSTRINGS => {
                let attribute = name(&at, octets(&mut inside)?)?;
                let mut list = inside.enter(Tag::SEQUENCE)?;
                let mut substrings = Substrings::default();
                while !list.is_empty() {
                    count()?;
                    let piece = list.any()?;
                    let body = piece.body.to_vec();
                    match piece.tag {
                        INITIAL if substrings == Substrings::default() => substrings.initial = Some(body),
                        ANY if substrings.last.is_none() => substrings.any.push(body),
                        FINAL if substrings.last.is_none() => substrings.last = Some(body),
                        _ => return Err(at.error(ErrorKind::Rule { rule: "initial, any, final stand in this order" })),
                    }
                }
                if substrings == Substrings::default() {
                    return Err(at.error(ErrorKind::Missing { what: "a substring" }));
                }
                Self::Substrings(attribute, substrings)
            }
            EXTENSIBLE => {
                let mut text =
                    |tag| inside.optional(tag).and_then(|found| found.map(|found| name(&at, found.body)).transpose());
                let (rule, attribute) = (text(RULE)?, text(TYPE)?);
                let value = inside.expect(VALUE)?.body.to_vec();
                let dn_attributes = boolean(&mut inside, DN_ATTRIBUTES)?.unwrap_or(false);
                if rule.is_none() && attribute.is_none() {
                    return Err(at.error(ErrorKind::Missing { what: "matchingRule or type" }));
                }
                Self::Extensible(Extensible { rule, attribute, value, dn_attributes })
            }
            other => return Err(at.error(ErrorKind::Tag { wanted: AND.0, found: other.0 })),
        };
        inside.finish()?;
        Ok(filter)
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        let assertion = |w: &mut DerWriter<'_>, tag, attribute: &str, value: &[u8]| {
            w.nest(tag, |w| {
                w.primitive(Tag::OCTET_STRING, attribute.as_bytes());
                w.primitive(Tag::OCTET_STRING, value);
            });
        };
        match self {
            Self::And(all) => w.nest(AND, |w| all.iter().for_each(|filter| filter.put(w))),
            Self::Or(all) => w.nest(OR, |w| all.iter().for_each(|filter| filter.put(w))),
            Self::Not(filter) => w.nest(NOT, |w| filter.put(w)),
            Self::Equal(attribute, value) => assertion(w, EQUAL, attribute, value),
            Self::GreaterOrEqual(attribute, value) => assertion(w, GREATER_OR_EQUAL, attribute, value),
            Self::LessOrEqual(attribute, value) => assertion(w, LESS_OR_EQUAL, attribute, value),
            Self::Approx(attribute, value) => assertion(w, APPROX, attribute, value),
            Self::Present(attribute) => w.primitive(PRESENT, attribute.as_bytes()),
            Self::Substrings(attribute, Substrings { initial, any, last }) => w.nest(SUBSTRINGS, |w| {
                w.primitive(Tag::OCTET_STRING, attribute.as_bytes());
                w.nest(Tag::SEQUENCE, |w| {
                    initial.iter().for_each(|piece| w.primitive(INITIAL, piece));
                    any.iter().for_each(|piece| w.primitive(ANY, piece));
                    last.iter().for_each(|piece| w.primitive(FINAL, piece));
                });
            }),
            Self::Extensible(Extensible { rule, attribute, value, dn_attributes }) => w.nest(EXTENSIBLE, |w| {
                rule.iter().for_each(|rule| w.primitive(RULE, rule.as_bytes()));
                attribute.iter().for_each(|attribute| w.primitive(TYPE, attribute.as_bytes()));
                w.primitive(VALUE, value);
                if *dn_attributes {
                    w.primitive(DN_ATTRIBUTES, &[0xff]);
                }
            }),
        }
    }
}

fn name(at: &Der<'_>, bytes: &[u8]) -> Result<String, ParseError> {
    utf8(at, bytes, "attribute description").map(str::to_owned)
}

const AND: Tag = Tag::context(0);
const OR: Tag = Tag::context(1);
const NOT: Tag = Tag::context(2);
const EQUAL: Tag = Tag::context(3);
const SUBSTRINGS: Tag = Tag::context(4);
const GREATER_OR_EQUAL: Tag = Tag::context(5);
const LESS_OR_EQUAL: Tag = Tag::context(6);
const PRESENT: Tag = implicit(7);
const APPROX: Tag = Tag::context(8);
const EXTENSIBLE: Tag = Tag::context(9);
const INITIAL: Tag = implicit(0);
const ANY: Tag = implicit(1);
const FINAL: Tag = implicit(2);
const RULE: Tag = implicit(1);
const TYPE: Tag = implicit(2);
const VALUE: Tag = implicit(3);
const DN_ATTRIBUTES: Tag = implicit(4);

/// A value with the bytes escaped that have a meaning in RFC 4515, and those that are no printable text.
struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '*' | '(' | ')' | '\\' => write!(f, "\\{:02x}", c as u32)?,
                    c if c.is_control() => {
                        c.encode_utf8(&mut [0; 4]).bytes().try_for_each(|byte| write!(f, "\\{byte:02x}"))?;
                    }
                    c => f.write_char(c)?,
                }
            }
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\{byte:02x}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('(')?;
        match self {
            Self::And(all) | Self::Or(all) => {
                f.write_char(if matches!(self, Self::And(_)) { '&' } else { '|' })?;
                all.iter().try_for_each(|filter| filter.fmt(f))?;
            }
            Self::Not(filter) => write!(f, "!{filter}")?,
            Self::Equal(attribute, value) => write!(f, "{attribute}={}", Escaped(value))?,
            Self::GreaterOrEqual(attribute, value) => write!(f, "{attribute}>={}", Escaped(value))?,
            Self::LessOrEqual(attribute, value) => write!(f, "{attribute}<={}", Escaped(value))?,
            Self::Approx(attribute, value) => write!(f, "{attribute}~={}", Escaped(value))?,
            Self::Present(attribute) => write!(f, "{attribute}=*")?,
            Self::Substrings(attribute, Substrings { initial, any, last }) => {
                write!(f, "{attribute}={}*", Escaped(initial.as_deref().unwrap_or_default()))?;
                any.iter().try_for_each(|piece| write!(f, "{}*", Escaped(piece)))?;
                write!(f, "{}", Escaped(last.as_deref().unwrap_or_default()))?;
            }
            Self::Extensible(Extensible { rule, attribute, value, dn_attributes }) => {
                f.write_str(attribute.as_deref().unwrap_or_default())?;
                if *dn_attributes {
                    f.write_str(":dn")?;
                }
                if let Some(rule) = rule {
                    write!(f, ":{rule}")?;
                }
                write!(f, ":={}", Escaped(value))?;
            }
        }
        f.write_char(')')
    }
}

impl FromStr for Filter {
    type Err = ParseError;

    /// Reads RFC 4515, for filters that an administrator writes. What comes from users belongs into values, not in here.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser { text, offset: 0, parts: PARTS_LIMIT };
        let filter = parser.filter(DEPTH_LIMIT)?;
        if parser.text.is_empty() {
            Ok(filter)
        } else {
            Err(parser.error(ErrorKind::Trailing { count: parser.text.len() }))
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    offset: usize,
    parts: usize,
}

impl Parser<'_> {
    const fn error(&self, kind: ErrorKind) -> ParseError {
        ParseError { format: "LDAP filter", offset: self.offset, kind }
    }

    const fn wrong(&self, rule: &'static str) -> ParseError {
        self.error(ErrorKind::Rule { rule })
    }

    fn took(&mut self, what: char) -> bool {
        match self.text.strip_prefix(what) {
            Some(rest) => {
                self.text = rest;
                self.offset += what.len_utf8();
                true
            }
            None => false,
        }
    }

    fn filter(&mut self, depth: usize) -> Result<Filter, ParseError> {
        let depth =
            depth.checked_sub(1).ok_or(self.error(ErrorKind::Limit { what: "nested filters", limit: DEPTH_LIMIT }))?;
        self.parts = self
            .parts
            .checked_sub(1)
            .ok_or(self.error(ErrorKind::Limit { what: "parts of a filter", limit: PARTS_LIMIT }))?;
        if !self.took('(') {
            return Err(self.wrong("a filter begins with ("));
        }
        let filter = if self.took('&') {
            Filter::And(self.list(depth)?)
        } else if self.took('|') {
            Filter::Or(self.list(depth)?)
        } else if self.took('!') {
            Filter::Not(Box::new(self.filter(depth)?))
        } else {
            self.item()?
        };
        if self.took(')') { Ok(filter) } else { Err(self.wrong("a filter ends with )")) }
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Filter>, ParseError> {
        let mut all = Vec::new();
        while self.text.starts_with('(') {
            all.push(self.filter(depth)?);
        }
        Ok(all)
    }

    fn item(&mut self) -> Result<Filter, ParseError> {
        let end = self.text.find(['(', ')']).unwrap_or(self.text.len());
        let (item, rest) = self.text.split_at_checked(end).ok_or(self.wrong("a filter ends with )"))?;
        let (left, value) = item.split_once('=').ok_or(self.wrong("an item has an ="))?;
        let attribute = |name: &str| match name {
            "" => Err(self.wrong("an item has an attribute")),
            name if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".;-_".contains(&byte)) => {
                Ok(name.to_owned())
            }
            _ => Err(self.wrong("attributes and rules are of letters, digits, and . ; - _")),
        };
        let whole = |value: &str| {
            if value.contains('*') { Err(self.wrong("a * can stand after = only")) } else { self.unescape(value) }
        };
        let filter = if let Some(name) = left.strip_suffix(">") {
            Filter::GreaterOrEqual(attribute(name)?, whole(value)?)
        } else if let Some(name) = left.strip_suffix("<") {
            Filter::LessOrEqual(attribute(name)?, whole(value)?)
        } else if let Some(name) = left.strip_suffix("~") {
            Filter::Approx(attribute(name)?, whole(value)?)
        } else if let Some(left) = left.strip_suffix(":") {
            let mut parts = left.split(':');
            let mut extensible = Extensible { value: whole(value)?, ..Extensible::default() };
            extensible.attribute = parts.next().filter(|name| !name.is_empty()).map(attribute).transpose()?;
            for part in parts {
                if part.eq_ignore_ascii_case("dn") && !extensible.dn_attributes && extensible.rule.is_none() {
                    extensible.dn_attributes = true;
                } else if extensible.rule.is_none() {
                    extensible.rule = Some(attribute(part)?);
                } else {
                    return Err(self.wrong("an extensible match is attribute:dn:rule:=value"));
                }
            }
            if extensible.rule.is_none() && extensible.attribute.is_none() {
                return Err(self.wrong("an extensible match has an attribute or a rule"));
            }
            Filter::Extensible(extensible)
        } else if value == "*" {
            Filter::Present(attribute(left)?)
        } else if value.contains('*') {
            let mut pieces = value.split('*').map(|piece| self.unescape(piece)).collect::<Result<Vec<_>, _>>()?;
            let last = pieces.pop().filter(|piece| !piece.is_empty());
            let mut pieces = pieces.into_iter();
            let initial = pieces.next().filter(|piece| !piece.is_empty());
            let any: Vec<_> = pieces.collect();
            if any.iter().any(Vec::is_empty) {
                return Err(self.wrong("two * do not follow each other"));
            }
            Filter::Substrings(attribute(left)?, Substrings { initial, any, last })
        } else {
            Filter::Equal(attribute(left)?, whole(value)?)
        };
        self.offset += end;
        self.text = rest;
        Ok(filter)
    }

    fn unescape(&self, text: &str) -> Result<Vec<u8>, ParseError> {
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            if byte != b'\\' {
                out.push(byte);
                continue;
            }
            let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
            match *rest {
                [high, low, ref after @ ..] if digit(high).is_some() && digit(low).is_some() => {
                    out.push(digit(high).unwrap_or(0) << 4 | digit(low).unwrap_or(0));
                    rest = after;
                }
                _ => return Err(self.wrong("two hexadecimal digits follow a \\")),
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(filter: &Filter) -> Vec<u8> {
        let mut out = Vec::new();
        filter.put(&mut DerWriter::new(&mut out));
        out
    }

    fn read(bytes: &[u8]) -> Result<Filter, ParseError> {
        let mut der = Der::new("filter", bytes, 0);
        let filter = Filter::read(&mut der)?;
        der.finish()?;
        Ok(filter)
    }

    #[test]
    fn the_examples_of_rfc_4515_are_read_and_written() {
        for text in [
            "(cn=Babs Jensen)",
            "(!(cn=Tim Howes))",
            "(&(objectClass=Person)(|(sn=Jensen)(cn=Babs J*)))",
            "(o=univ*of*mich*)",
            "(seeAlso=)",
            "(cn:caseExactMatch:=Fred Flintstone)",
            "(cn:=Betty Rubble)",
            "(sn:dn:2.4.6.8.10:=Barney Rubble)",
            "(o:dn:=Ace Industry)",
            "(:1.2.3:=Wilma Flintstone)",
            "(:dn:2.4.6.8.10:=Dino)",
            "(o=Parens R Us \\28for all your parenthetical needs\\29)",
            "(cn=*\\2a*)",
            "(filename=C:\\5cMyFile)",
            "(bin=\\00\\00\\00\\04)",
            "(sn=Lučić)",
            "(objectClass=*)",
            "(&)",
            "(|)",
            "(uSNChanged>=5)",
            "(uSNChanged<=5)",
            "(cn~=alice)",
        ] {
            let filter: Filter = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(filter.to_string(), text);
            assert_eq!(read(&encoded(&filter)).as_ref(), Ok(&filter), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_filter_is_refused() {
        for bad in [
            "",
            "cn=a",
            "(cn=a",
            "(cn=a))",
            "(cn)",
            "(=a)",
            "(!cn=a)",
            "(cn=\\2)",
            "(cn=\\zz)",
            "(cn=a**b)",
            "(c n=a)",
            "(cn>=a*)",
            "(cn:=a*)",
            "(:=a)",
            "(cn:a:b:=c)",
            "(:dn:=a)",
            "(&(a=b)c=d)",
            "(cn=a)(b=c)",
        ] {
            assert!(bad.parse::<Filter>().is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_in_a_value_becomes_a_part_of_the_filter() {
        for value in ["*", "alice)(objectClass=*", "*)(|(cn=*", "\\2a", "a\0b", "\\", "jörg", "(", "x)(&)", "\u{202e}"]
        {
            let filter = Filter::equal("sAMAccountName", value);
            assert_eq!(read(&encoded(&filter)), Ok(Filter::Equal("sAMAccountName".into(), value.into())), "{value:?}");
            let text = filter.to_string();
            assert_eq!(text.matches(['(', ')', '*']).count(), 2, "{text}");
            assert_eq!(text.parse(), Ok(filter), "{text}");
        }
    }

    #[test]
    fn depth_and_size_have_limits_in_both_forms() {
        let deep = |depth: usize| (0..depth).fold(Filter::present("a"), |inner, _| inner.negated());
        assert!(read(&encoded(&deep(DEPTH_LIMIT - 1))).is_ok());
        let limit =
            |result: Result<Filter, ParseError>| matches!(result.map_err(|e| e.kind), Err(ErrorKind::Limit { .. }));
        assert!(limit(read(&encoded(&deep(DEPTH_LIMIT)))));
        assert!(limit(deep(DEPTH_LIMIT).to_string().parse()));
        let wide = Filter::Or(vec![Filter::present("a"); PARTS_LIMIT]);
        assert!(limit(read(&encoded(&wide))));
        assert!(limit(wide.to_string().parse()));
        let pieces = Substrings { any: vec![b"x".to_vec(); PARTS_LIMIT], ..Substrings::default() };
        assert!(limit(read(&encoded(&Filter::Substrings("a".into(), pieces)))));
    }

    #[test]
    fn substrings_out_of_order_and_empty_assertions_are_refused() {
        let piece = |tag: Tag| [tag.0, 1, b'x'].to_vec();
        for pieces in
            [vec![], vec![ANY, INITIAL], vec![FINAL, ANY], vec![FINAL, FINAL], vec![INITIAL, INITIAL], vec![VALUE]]
        {
            let list: Vec<u8> = pieces.into_iter().flat_map(piece).collect();
            let mut bytes = vec![SUBSTRINGS.0, 5 + list.len() as u8, 4, 1, b'a', 0x30, list.len() as u8];
            bytes.extend_from_slice(&list);
            assert!(read(&bytes).is_err(), "{bytes:02x?}");
        }
        assert!(read(&[EXTENSIBLE.0, 3, VALUE.0, 1, b'x']).is_err());
        assert!(read(&[NOT.0, 0]).is_err());
        assert!(read(&[EQUAL.0, 9, 4, 1, b'a', 4, 1, b'b', 4, 1, b'c']).is_err());
    }
}
