//! SPNEGO: `NegTokenInit`, `NegTokenInit2`, `NegTokenResp`. RFC 4178 4.2, MS-SPNG 2.2.

use core::fmt;

use crate::der::{Der, DerWriter, Tag, Tlv};
use crate::error::{ErrorKind, ParseError};
use crate::explain::{self, Explain, Field, Node, Shape};
use crate::gss::{InitialToken, MechType};

/// `NegotiationToken`: what either end sends under the Negotiate scheme. RFC 4178 4.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NegotiationToken<'a> {
    /// `negTokenInit`.
    Init(NegTokenInit<'a>),
    /// `negTokenResp`.
    Resp(NegTokenResp<'a>),
}

impl<'a> NegotiationToken<'a> {
    /// Reads a token that fills `bytes`, in any of the forms that HTTP delivers: `negTokenInit` in GSS-API framing
    /// (`0x60`), bare `negTokenInit` (`0xa0`, some old clients), `negTokenResp` (`0xa1`).
    ///
    /// # Errors
    /// [`ErrorKind::Tag`] if it begins otherwise, [`ErrorKind::Magic`] if the framing names another mechanism than SPNEGO,
    /// and whatever the contents break.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        Self::parse_at(bytes, 0)
    }

    /// The same for bytes that begin at `offset` of the outermost input.
    ///
    /// # Errors
    /// As [`NegotiationToken::parse`].
    pub fn parse_at(bytes: &'a [u8], offset: usize) -> Result<Self, ParseError> {
        let mut der = Der::new("NegotiationToken", bytes, offset);
        if der.peek_tag() == Some(Tag::application(0)) {
            let framed = InitialToken::parse(bytes, offset)?;
            if framed.mech != MechType::SPNEGO {
                return Err(der.error(ErrorKind::Magic { what: "the OID of SPNEGO" }));
            }
            let mut inside = Der::new("NegotiationToken", framed.inner, framed.inner_offset);
            let body = inside.enter(INIT)?;
            inside.finish()?;
            return NegTokenInit::read(body.named("NegTokenInit")).map(Self::Init);
        }
        let token = match der.peek_tag() {
            Some(RESP) => Self::Resp(NegTokenResp::read(der.enter(RESP)?.named("NegTokenResp"))?),
            _ => Self::Init(NegTokenInit::read(der.enter(INIT)?.named("NegTokenInit"))?),
        };
        der.finish()?;
        Ok(token)
    }
}

/// `NegTokenInit`: the initiator's list of mechanisms, and an optimistic token for the first. RFC 4178 4.2.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NegTokenInit<'a> {
    /// `mechTypes`, the most wanted first.
    pub mech_types: MechTypeList<'a>,
    /// `reqFlags`; not protected, and to be ignored by acceptors.
    pub req_flags: Option<u32>,
    /// `mechToken`: the first token of the first mechanism.
    pub mech_token: Option<&'a [u8]>,
    /// `negHints`: only in the `NegTokenInit2` that a server sends first. MS-SPNG 2.2.1.
    pub neg_hints: Option<NegHints<'a>>,
    /// `mechListMIC`.
    pub mech_list_mic: Option<&'a [u8]>,
}

/// `NegHints`: the name Windows servers send is the constant `not_defined_in_RFC4178@please_ignore`. MS-SPNG 2.2.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NegHints<'a> {
    /// `hintName`.
    pub hint_name: Option<&'a [u8]>,
    /// `hintAddress`.
    pub hint_address: Option<&'a [u8]>,
}

impl<'a> NegTokenInit<'a> {
    /// A token with a list of mechanisms and an optimistic token.
    #[must_use]
    pub const fn new(mech_types: MechTypeList<'a>, mech_token: Option<&'a [u8]>) -> Self {
        Self { mech_types, req_flags: None, mech_token, neg_hints: None, mech_list_mic: None }
    }

    fn read(mut wrapper: Der<'a>) -> Result<Self, ParseError> {
        let mut der = wrapper.enter(Tag::SEQUENCE)?;
        wrapper.finish()?;
        let mech_types = match der.optional_field(0, Tag::SEQUENCE)? {
            Some(list) => MechTypeList::read(list.whole, list.inside())?,
            None => return Err(der.error(ErrorKind::Missing { what: "mechTypes" })),
        };
        let req_flags = der.optional_field(1, Tag::BIT_STRING)?.map(|flags| flags.flags()).transpose()?;
        let mech_token = der.optional_field(2, Tag::OCTET_STRING)?.map(|token| token.body);
        // [3] is mechListMIC in RFC 4178 and negHints in MS-SPNG; the type inside tells which.
        let mut neg_hints = None;
        let mut mech_list_mic = None;
        if let Some(third) = der.optional(Tag::context(3))? {
            let mut inside = third.inside();
            if inside.peek_tag() == Some(Tag::SEQUENCE) {
                neg_hints = Some(NegHints::read(inside.enter(Tag::SEQUENCE)?)?);
            } else {
                mech_list_mic = Some(inside.expect(Tag::OCTET_STRING)?.body);
            }
            inside.finish()?;
        }
        if mech_list_mic.is_none() {
            mech_list_mic = der.optional_field(4, Tag::OCTET_STRING)?.map(|mic| mic.body);
        }
        der.finish()?;
        Ok(Self { mech_types, req_flags, mech_token, neg_hints, mech_list_mic })
    }

    /// Appends the token in GSS-API framing, as an initiator sends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        InitialToken::write(MechType::SPNEGO, out, |w| self.write_choice(w));
    }

    /// Appends the token without framing.
    pub fn write_bare(&self, out: &mut Vec<u8>) {
        self.write_choice(&mut DerWriter::new(out));
    }

    fn write_choice(&self, w: &mut DerWriter<'_>) {
        w.nest(INIT, |w| {
            w.nest(Tag::SEQUENCE, |w| {
                w.field(0, |w| w.raw(self.mech_types.raw()));
                if let Some(flags) = self.req_flags {
                    // ContextFlags has seven bits: DER cuts trailing zero bits of a named bit list.
                    w.field(1, |w| write_context_flags(w, flags));
                }
                optional_octets(w, 2, self.mech_token);
                if let Some(hints) = &self.neg_hints {
                    w.field(3, |w| hints.write(w));
                }
                optional_octets(w, if self.neg_hints.is_some() { 4 } else { 3 }, self.mech_list_mic);
            });
        });
    }
}

impl<'a> NegHints<'a> {
    fn read(mut der: Der<'a>) -> Result<Self, ParseError> {
        let hint_name = der.optional_field(0, Tag::GENERAL_STRING)?.map(|name| name.body);
        let hint_address = der.optional_field(1, Tag::OCTET_STRING)?.map(|address| address.body);
        der.finish()?;
        Ok(Self { hint_name, hint_address })
    }

    fn write(&self, w: &mut DerWriter<'_>) {
        w.nest(Tag::SEQUENCE, |w| {
            if let Some(name) = self.hint_name {
                w.field(0, |w| w.primitive(Tag::GENERAL_STRING, name));
            }
            optional_octets(w, 1, self.hint_address);
        });
    }
}

/// `MechTypeList`: one to [`MechTypeList::MAX`] mechanisms, checked and kept as they were encoded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MechTypeList<'a> {
    raw: &'a [u8],
    first: MechType<'a>,
}

impl<'a> MechTypeList<'a> {
    /// The most mechanisms that are read. Windows offers five.
    pub const MAX: usize = 64;

    /// Reads an encoded list that fills `raw`.
    ///
    /// # Errors
    /// As [`NegotiationToken::parse`] for this part.
    pub fn parse(raw: &'a [u8]) -> Result<Self, ParseError> {
        let mut der = Der::new("MechTypeList", raw, 0);
        let inside = der.enter(Tag::SEQUENCE)?;
        der.finish()?;
        Self::read(raw, inside)
    }

    fn read(raw: &'a [u8], inside: Der<'a>) -> Result<Self, ParseError> {
        let mut der = inside.named("MechTypeList");
        if der.is_empty() {
            return Err(der.error(ErrorKind::Missing { what: "a mechanism in mechTypes" }));
        }
        let first = MechType::read(&mut der)?;
        let mut count = 1;
        while !der.is_empty() {
            if count == Self::MAX {
                return Err(der.error(ErrorKind::Limit { what: "mechTypes", limit: Self::MAX }));
            }
            MechType::read(&mut der)?;
            count += 1;
        }
        Ok(Self { raw, first })
    }

    /// Appends the encoding of a list. What [`MechTypeList::raw`] says holds for it too.
    pub fn write(mechs: &[MechType<'_>], out: &mut Vec<u8>) {
        DerWriter::new(out).nest(Tag::SEQUENCE, |w| {
            for mech in mechs {
                w.primitive(Tag::OID, mech.as_bytes());
            }
        });
    }

    /// The encoded list, tag and length included: exactly the bytes that `mechListMIC` covers. RFC 4178 5.
    #[must_use]
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The mechanism the initiator wants most, to which an optimistic `mechToken` belongs.
    #[must_use]
    pub const fn first(&self) -> MechType<'a> {
        self.first
    }

    /// The mechanisms in the initiator's order.
    #[must_use]
    pub fn iter(&self) -> MechTypes<'a> {
        MechTypes(Der::new("MechTypeList", self.raw, 0).enter(Tag::SEQUENCE).ok())
    }

    /// Whether `mech` is in the list.
    #[must_use]
    pub fn contains(&self, mech: MechType<'_>) -> bool {
        self.iter().any(|offered| offered.as_bytes() == mech.as_bytes())
    }
}

impl<'a> IntoIterator for &MechTypeList<'a> {
    type Item = MechType<'a>;
    type IntoIter = MechTypes<'a>;

    fn into_iter(self) -> MechTypes<'a> {
        self.iter()
    }
}

impl fmt::Debug for MechTypeList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// Iterates over a [`MechTypeList`].
#[derive(Clone, Debug)]
pub struct MechTypes<'a>(Option<Der<'a>>);

impl<'a> Iterator for MechTypes<'a> {
    type Item = MechType<'a>;

    fn next(&mut self) -> Option<MechType<'a>> {
        // The list was read whole when it was made, so that an error here only ends it.
        self.0.as_mut().and_then(|der| MechType::read(der).ok())
    }
}

/// `NegTokenResp`: the answer, and every later token of both ends. RFC 4178 4.2.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NegTokenResp<'a> {
    /// `negState`.
    pub neg_state: Option<NegState>,
    /// `supportedMech`: only in the acceptor's first answer.
    pub supported_mech: Option<MechType<'a>>,
    /// `responseToken`.
    pub response_token: Option<&'a [u8]>,
    /// `mechListMIC`.
    pub mech_list_mic: Option<&'a [u8]>,
}

impl<'a> NegTokenResp<'a> {
    fn read(mut wrapper: Der<'a>) -> Result<Self, ParseError> {
        let mut der = wrapper.enter(Tag::SEQUENCE)?;
        wrapper.finish()?;
        let neg_state = match der.optional_field(0, Tag::ENUMERATED)? {
            Some(state) => match state.integer().ok().and_then(NegState::from_number) {
                Some(known) => Some(known),
                None => {
                    let kind = ErrorKind::Value { what: "negState" };
                    return Err(ParseError { format: "NegTokenResp", offset: state.offset, kind });
                }
            },
            None => None,
        };
        let supported_mech = match der.optional(Tag::context(1))? {
            Some(wrapper) => {
                let mut inside = wrapper.inside();
                let mech = MechType::read(&mut inside)?;
                inside.finish()?;
                Some(mech)
            }
            None => None,
        };
        let response_token = der.optional_field(2, Tag::OCTET_STRING)?.map(|token| token.body);
        let mech_list_mic = der.optional_field(3, Tag::OCTET_STRING)?.map(|mic| mic.body);
        der.finish()?;
        Ok(Self { neg_state, supported_mech, response_token, mech_list_mic })
    }

    /// Appends the token. It has no GSS-API framing: only a first token has.
    pub fn write(&self, out: &mut Vec<u8>) {
        DerWriter::new(out).nest(RESP, |w| {
            w.nest(Tag::SEQUENCE, |w| {
                if let Some(state) = self.neg_state {
                    w.field(0, |w| w.integer(Tag::ENUMERATED, state.number()));
                }
                if let Some(mech) = self.supported_mech {
                    w.field(1, |w| w.primitive(Tag::OID, mech.as_bytes()));
                }
                optional_octets(w, 2, self.response_token);
                optional_octets(w, 3, self.mech_list_mic);
            });
        });
    }
}

/// `negState`. RFC 4178 4.2.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NegState {
    /// `accept-completed` (0).
    AcceptCompleted,
    /// `accept-incomplete` (1).
    AcceptIncomplete,
    /// `reject` (2).
    Reject,
    /// `request-mic` (3).
    RequestMic,
}

impl NegState {
    /// The state of this number; there are no others, and none can be added without a new version of the protocol.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            0 => Self::AcceptCompleted,
            1 => Self::AcceptIncomplete,
            2 => Self::Reject,
            3 => Self::RequestMic,
            _ => return None,
        })
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::AcceptCompleted => 0,
            Self::AcceptIncomplete => 1,
            Self::Reject => 2,
            Self::RequestMic => 3,
        }
    }

    /// Its name in RFC 4178.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AcceptCompleted => "accept-completed",
            Self::AcceptIncomplete => "accept-incomplete",
            Self::Reject => "reject",
            Self::RequestMic => "request-mic",
        }
    }
}

impl fmt::Display for NegState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn optional_octets(w: &mut DerWriter<'_>, n: u8, octets: Option<&[u8]>) {
    if let Some(octets) = octets {
        w.field(n, |w| w.primitive(Tag::OCTET_STRING, octets));
    }
}

fn write_context_flags(w: &mut DerWriter<'_>, flags: u32) {
    let [first, ..] = flags.to_be_bytes();
    let used = 8 - first.trailing_zeros().min(8);
    if used == 0 {
        w.primitive(Tag::BIT_STRING, &[0]);
    } else {
        w.primitive(Tag::BIT_STRING, &[(8 - used) as u8, first]);
    }
}

const INIT: Tag = Tag::context(0);
const RESP: Tag = Tag::context(1);

impl Explain for NegotiationToken<'_> {
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let mut node = match bytes.first() {
            Some(0x60) => InitialToken::explain(bytes, offset),
            _ => explain_choice(bytes, offset),
        };
        // The walker is more patient than the parser (order of fields, limits): what the parser refuses is shown too.
        if node.first_error().is_none() {
            node.error = NegotiationToken::parse_at(bytes, offset).err();
        }
        node
    }
}

/// Explains `negTokenInit` or `negTokenResp` without framing.
pub(crate) fn explain_choice(bytes: &[u8], offset: usize) -> Node {
    let tag = bytes.first().copied().map(Tag);
    let (name, spec, shape) = match tag {
        Some(RESP) => ("NegTokenResp", "RFC 4178 4.2.2", &RESP_SHAPE),
        _ => ("NegTokenInit", "RFC 4178 4.2.1", &INIT_SHAPE),
    };
    let (body, body_offset, error) = explain::open(name, bytes, offset);
    let mut node = explain::explain_der(name, spec, shape, body, body_offset);
    node.range = offset..offset + bytes.len();
    if let Some(found) = tag
        && found != INIT
        && found != RESP
    {
        let kind = ErrorKind::Tag { wanted: INIT.0, found: found.0 };
        node.error = Some(ParseError { format: "NegotiationToken", offset, kind });
    } else if error.is_some() {
        node.error = error;
    }
    node
}

fn state_name(number: i64) -> Option<std::borrow::Cow<'static, str>> {
    NegState::from_number(number).map(|state| state.name().into())
}

fn mech_name(contents: &[u8]) -> Option<&'static str> {
    MechType::new(contents).ok().and_then(|mech| mech.name())
}

fn flag_names(flags: u32) -> String {
    const NAMES: [&str; 7] =
        ["delegFlag", "mutualFlag", "replayFlag", "sequenceFlag", "anonFlag", "confFlag", "integFlag"];
    let set = |(bit, name): (usize, &&'static str)| (flags & (0x8000_0000 >> bit) != 0).then_some(*name);
    NAMES.iter().enumerate().filter_map(set).collect::<Vec<_>>().join(" ")
}

/// `[3]` of `NegTokenInit`: `negHints` if a SEQUENCE stands there, else `mechListMIC`.
fn third_field(_: &'static str, tlv: Tlv<'_>) -> Node {
    if tlv.tag == Tag::SEQUENCE {
        let mut node = explain::explain_tlv("negHints", &HINTS_SHAPE, tlv);
        node.spec = "MS-SPNG 2.2.1";
        node
    } else {
        explain::explain_tlv("mechListMIC", &MIC_SHAPE, tlv)
    }
}

/// A MIC is a per-message token of the mechanism; Windows 2000 repeats the `responseToken` in its place.
fn explain_mic(bytes: &[u8], offset: usize) -> Node {
    let range = offset..offset + bytes.len();
    match bytes {
        [4, 4, _, 0xff, 0xff, ..] => {
            Node::leaf("token", explain::hex(bytes), range).noted("GSS_GetMIC of RFC 4121 4.2.6.1")
        }
        [1, 0, 0, 0, ..] if bytes.len() == 16 => {
            Node::leaf("token", explain::hex(bytes), range).noted("NTLMSSP_MESSAGE_SIGNATURE of MS-NLMP 2.2.2.9")
        }
        [0x60 | 0x6e | 0x6f, ..] => crate::sniff::nested(bytes, offset),
        _ => Node::leaf("token", explain::hex(bytes), range),
    }
}

const MIC_SHAPE: Shape = Shape::OctetsOf(explain_mic);

const INIT_SHAPE: Shape = Shape::Sequence(&[
    Field { tag: 0, name: "mechTypes", shape: Shape::SequenceOf("mechType", &Shape::Oid(mech_name)) },
    Field { tag: 1, name: "reqFlags", shape: Shape::Flags(flag_names) },
    Field { tag: 2, name: "mechToken", shape: Shape::OctetsOf(crate::sniff::nested) },
    Field { tag: 3, name: "mechListMIC", shape: Shape::Custom(third_field) },
    Field { tag: 4, name: "mechListMIC", shape: MIC_SHAPE },
]);

const HINTS_SHAPE: Shape = Shape::Sequence(&[
    Field { tag: 0, name: "hintName", shape: Shape::Text },
    Field { tag: 1, name: "hintAddress", shape: Shape::Octets },
]);

const RESP_SHAPE: Shape = Shape::Sequence(&[
    Field { tag: 0, name: "negState", shape: Shape::Enumerated(state_name) },
    Field { tag: 1, name: "supportedMech", shape: Shape::Oid(mech_name) },
    Field { tag: 2, name: "responseToken", shape: Shape::OctetsOf(crate::sniff::nested) },
    Field { tag: 3, name: "mechListMIC", shape: MIC_SHAPE },
]);

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: [MechType<'static>; 4] = [MechType::MS_KRB5, MechType::KRB5, MechType::NEGOEX, MechType::NTLMSSP];

    fn init(mechs: &[MechType<'_>], token: Option<&[u8]>) -> Vec<u8> {
        let (mut list, mut out) = (Vec::new(), Vec::new());
        MechTypeList::write(mechs, &mut list);
        NegTokenInit::new(MechTypeList::parse(&list).unwrap(), token).write(&mut out);
        out
    }

    fn parsed_init(bytes: &[u8]) -> NegTokenInit<'_> {
        match NegotiationToken::parse(bytes) {
            Ok(NegotiationToken::Init(init)) => init,
            other => panic!("{other:?}"),
        }
    }

    fn refused(bytes: &[u8]) -> ErrorKind {
        let error = NegotiationToken::parse(bytes).unwrap_err();
        // Whatever the parser refuses, the explainer shows as an error, too.
        assert!(NegotiationToken::explain(bytes, 0).first_error().is_some(), "{bytes:02x?}");
        error.kind
    }

    fn resp(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        DerWriter::new(&mut out).nest(RESP, |w| w.nest(Tag::SEQUENCE, |w| w.raw(body)));
        out
    }

    #[test]
    fn an_init_with_an_optimistic_token_in_every_framing() {
        let framed = init(&OFFER, Some(b"token"));
        let token = parsed_init(&framed);
        assert_eq!(token.mech_types.iter().collect::<Vec<_>>(), OFFER);
        assert_eq!((token.mech_types.first(), token.mech_token), (MechType::MS_KRB5, Some(&b"token"[..])));
        assert!(token.mech_types.contains(MechType::NTLMSSP) && !token.mech_types.contains(MechType::SPNEGO));
        let mut bare = Vec::new();
        token.write_bare(&mut bare);
        assert_eq!((bare[0], parsed_init(&bare)), (0xa0, token));
    }

    #[test]
    fn the_bytes_that_mech_list_mic_covers_are_the_list_with_its_tag() {
        let framed = init(&OFFER, None);
        let raw = parsed_init(&framed).mech_types.raw();
        let mut list = Vec::new();
        MechTypeList::write(&OFFER, &mut list);
        assert_eq!((raw, raw[0]), (&list[..], 0x30));
        assert!(framed.windows(raw.len()).any(|window| window == raw));
    }

    #[test]
    fn all_fields_of_init_and_init2() {
        let mut list = Vec::new();
        MechTypeList::write(&[MechType::NTLMSSP], &mut list);
        let hints = NegHints { hint_name: Some(b"not_defined_in_RFC4178@please_ignore"), hint_address: Some(b"a") };
        for neg_hints in [None, Some(hints)] {
            for flags in [None, Some(0), Some(0x4000_0000), Some(0xfe00_0000)] {
                let token = NegTokenInit {
                    mech_types: MechTypeList::parse(&list).unwrap(),
                    req_flags: flags,
                    mech_token: Some(b"\xf0"),
                    neg_hints,
                    mech_list_mic: Some(b"m"),
                };
                let mut out = Vec::new();
                token.write(&mut out);
                assert_eq!(NegotiationToken::parse(&out), Ok(NegotiationToken::Init(token)));
                assert_eq!(NegotiationToken::explain(&out, 0).first_error(), None);
            }
        }
    }

    #[test]
    fn all_fields_of_resp() {
        for neg_state in [None, Some(NegState::AcceptCompleted), Some(NegState::RequestMic), Some(NegState::Reject)] {
            for supported_mech in [None, Some(MechType::MS_KRB5)] {
                for (response_token, mech_list_mic) in [(None, None), (Some(&b"\xf0"[..]), Some(&b"mic"[..]))] {
                    let token = NegTokenResp { neg_state, supported_mech, response_token, mech_list_mic };
                    let mut out = Vec::new();
                    token.write(&mut out);
                    assert_eq!(NegotiationToken::parse(&out), Ok(NegotiationToken::Resp(token)));
                    assert_eq!(NegotiationToken::explain(&out, 0).first_error(), None);
                }
            }
        }
    }

    /// The acceptor's reject of RFC 4178 4.2.2 in its smallest form.
    #[test]
    fn the_smallest_answers() {
        let mut out = Vec::new();
        NegTokenResp { neg_state: Some(NegState::Reject), ..NegTokenResp::default() }.write(&mut out);
        assert_eq!(out, [0xa1, 7, 0x30, 5, 0xa0, 3, 0x0a, 1, 2]);
        assert_eq!(NegotiationToken::parse(&resp(&[])), Ok(NegotiationToken::Resp(NegTokenResp::default())));
    }

    #[test]
    fn empty_mech_types_are_refused() {
        let empty = [0xa0, 6, 0x30, 4, 0xa0, 2, 0x30, 0];
        assert!(matches!(NegotiationToken::parse(&empty).unwrap_err().kind, ErrorKind::Missing { .. }));
        assert!(matches!(refused(&[0xa0, 2, 0x30, 0]), ErrorKind::Missing { what: "mechTypes" }));
    }

    #[test]
    fn ten_thousand_mech_types_are_refused_at_the_sixty_fifth() {
        assert_eq!(parsed_init(&init(&[MechType::KRB5; 64], None)).mech_types.iter().count(), 64);
        for count in [65, 10_000] {
            let mut list = Vec::new();
            MechTypeList::write(&vec![MechType::KRB5; count], &mut list);
            let error = MechTypeList::parse(&list).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Limit { what: "mechTypes", limit: 64 });
            assert!(error.offset <= 64 * 11 + 5);
        }
    }

    #[test]
    fn indefinite_lengths_are_refused() {
        let mut bytes = init(&OFFER, None);
        let inner = bytes.iter().position(|byte| *byte == 0xa0).unwrap();
        bytes[inner + 1] = 0x80;
        assert_eq!(refused(&bytes), ErrorKind::Length);
        assert_eq!(refused(&[0xa1, 0x80, 0x30, 0, 0, 0]), ErrorKind::Length);
    }

    #[test]
    fn two_tokens_in_one_are_refused() {
        let one = init(&OFFER, Some(b"x"));
        assert!(matches!(refused(&[&one[..], &one].concat()), ErrorKind::Trailing { .. }));
        assert!(matches!(refused(&[&one[..], &[0]].concat()), ErrorKind::Trailing { count: 1 }));
        let answer = resp(&[0xa0, 3, 0x0a, 1, 0]);
        assert!(matches!(refused(&[&answer[..], &answer].concat()), ErrorKind::Trailing { .. }));
        // A second SEQUENCE inside the choice.
        assert!(matches!(refused(&[0xa1, 4, 0x30, 0, 0x30, 0]), ErrorKind::Trailing { .. }));
    }

    #[test]
    fn a_token_cut_at_any_byte_is_refused_and_explained() {
        let bytes = init(&OFFER, Some(b"NTLMSSP\0\x01\0\0\0"));
        for cut in 0..bytes.len() {
            refused(&bytes[..cut]);
        }
        let answer = resp(&[0xa0, 3, 0x0a, 1, 1, 0xa2, 3, 4, 1, 9]);
        for cut in 0..answer.len() {
            refused(&answer[..cut]);
        }
    }

    #[test]
    fn fields_out_of_order_doubled_or_unknown_are_refused() {
        let (state, token) = (&[0xa0, 3, 0x0a, 1, 1][..], &[0xa2, 3, 4, 1, 9][..]);
        assert!(NegotiationToken::parse(&resp(&[state, token].concat())).is_ok());
        refused(&resp(&[token, state].concat()));
        refused(&resp(&[state, state].concat()));
        refused(&resp(&[state, &[0xa4, 3, 4, 1, 9]].concat()));
        refused(&resp(&[0xa0, 6, 0x0a, 1, 1, 0x0a, 1, 1]));
    }

    #[test]
    fn wrong_types_and_states_are_refused() {
        assert!(matches!(refused(&resp(&[0xa0, 3, 2, 1, 0])), ErrorKind::Tag { wanted: 0x0a, found: 2 }));
        assert_eq!(refused(&resp(&[0xa0, 3, 0x0a, 1, 4])), ErrorKind::Value { what: "negState" });
        assert_eq!(refused(&resp(&[0xa0, 3, 0x0a, 1, 0xff])), ErrorKind::Value { what: "negState" });
        assert!(matches!(refused(&resp(&[0xa1, 4, 6, 2, 0x80, 1])), ErrorKind::Value { .. }));
        assert!(matches!(refused(b"NTLMSSP"), ErrorKind::Tag { .. }));
        assert!(matches!(refused(&[]), ErrorKind::Truncated { .. }));
    }

    #[test]
    fn framing_of_another_mechanism_is_not_spnego() {
        let mut out = Vec::new();
        InitialToken::write(MechType::KRB5, &mut out, |w| w.raw(&[1, 0]));
        assert!(matches!(NegotiationToken::parse(&out).unwrap_err().kind, ErrorKind::Magic { .. }));
        // negTokenResp is never framed.
        let mut out = Vec::new();
        InitialToken::write(MechType::SPNEGO, &mut out, |w| w.raw(&resp(&[])));
        assert!(matches!(
            NegotiationToken::parse(&out).unwrap_err().kind,
            ErrorKind::Tag { wanted: 0xa0, found: 0xa1 }
        ));
    }

    #[test]
    fn offsets_in_errors_and_nodes_count_from_the_outermost_byte() {
        let bytes = init(&[MechType::NTLMSSP], Some(b"NTLMSSP\0\x09\0\0\0"));
        let node = NegotiationToken::explain(&bytes, 0);
        let token = node.find("mechToken").unwrap();
        let inner = &token.children[0].range;
        assert_eq!(&bytes[inner.clone()], b"NTLMSSP\0\x09\0\0\0");
        assert_eq!(
            NegotiationToken::explain(&bytes, 1000).find("mechToken").unwrap().children[0].range.start,
            1000 + inner.start
        );
        let shifted = NegotiationToken::parse_at(&bytes[..bytes.len() - 1], 1000).unwrap_err();
        assert!(shifted.offset >= 1000);
    }
}
