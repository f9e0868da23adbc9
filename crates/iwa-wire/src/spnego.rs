//! SPNEGO: `NegTokenInit`, `NegTokenInit2`, `NegTokenResp`. RFC 4178 4.2, MS-SPNG 2.2.

use core::fmt;

use crate::der::{Der, DerWriter, Tag};
use crate::error::{ErrorKind, ParseError};
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
