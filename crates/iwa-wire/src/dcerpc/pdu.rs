//! DCE/RPC connection-oriented PDUs. C706 12.6, MS-RPCE 2.2.2.

use crate::error::{ErrorKind, ParseError};
use crate::reader::Reader;

use super::syntax::Syntax;

/// The common header, which says how long the PDU is. C706 12.6.3.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// `PTYPE`: what follows.
    pub ptype: u8,
    /// `pfc_flags`.
    pub flags: PduFlags,
    /// `frag_length`: bytes of the whole PDU, this header among them.
    pub frag_length: u16,
    /// `auth_length`: bytes of [`Verifier::value`].
    pub auth_length: u16,
    /// `call_id`: which call of its association it belongs to.
    pub call_id: u32,
}

impl Header {
    /// Bytes of the header.
    pub const SIZE: usize = 16;

    /// Reads the header of a PDU that may be `limit` bytes long: to be called before room is made for the rest.
    ///
    /// # Errors
    /// Another protocol, version, byte order or character set; a length below the header's or beyond the limit; an
    /// authentication verifier that is longer than the PDU.
    pub fn parse(bytes: &[u8; Self::SIZE], limit: u16) -> Result<Self, ParseError> {
        let reader = Reader::new(FORMAT, bytes);
        let header = Self::read(&mut Reader::new(FORMAT, bytes))?;
        if header.frag_length > limit {
            return Err(reader.error(ErrorKind::Limit { what: "frag_length", limit: usize::from(limit) }));
        }
        Ok(header)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let start = *reader;
        let (version, minor) = (reader.u8()?, reader.u8()?);
        if version != 5 || minor > 1 {
            return Err(start.error(ErrorKind::Magic { what: "rpc_vers (5.0)" }));
        }
        let (ptype, flags) = (reader.u8()?, PduFlags(reader.u8()?));
        if reader.array::<4>()? != &LITTLE_ENDIAN {
            return Err(start.error(ErrorKind::Magic { what: "packed_drep (little-endian, ASCII, IEEE)" }));
        }
        let (frag_length, auth_length) = (reader.u16_le()?, reader.u16_le()?);
        let trailer = if auth_length == 0 { 0 } else { SEC_TRAILER + usize::from(auth_length) };
        if usize::from(frag_length) < Self::SIZE + trailer {
            return Err(start.error(ErrorKind::Value { what: "frag_length" }));
        }
        Ok(Self { ptype, flags, frag_length, auth_length, call_id: reader.u32_le()? })
    }
}

/// `pfc_flags`. C706 12.6.3.1, MS-RPCE 2.2.2.3.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PduFlags(pub u8);

impl PduFlags {
    /// `PFC_FIRST_FRAG`.
    pub const FIRST: Self = Self(1);
    /// `PFC_LAST_FRAG`.
    pub const LAST: Self = Self(2);
    /// Both: a message of one fragment.
    pub const WHOLE: Self = Self(3);
    /// `PFC_SUPPORT_HEADER_SIGN` in a bind, `PFC_PENDING_CANCEL` elsewhere.
    pub const SUPPORT_HEADER_SIGN: Self = Self(4);
    /// `PFC_DID_NOT_EXECUTE`: a fault before the call began.
    pub const DID_NOT_EXECUTE: Self = Self(0x20);
    /// `PFC_OBJECT_UUID`: a request names an object. It is passed over when it is read, and never written.
    pub const OBJECT_UUID: Self = Self(0x80);

    /// Whether all of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A PDU, borrowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pdu<'a> {
    /// `pfc_flags`.
    pub flags: PduFlags,
    /// `call_id`.
    pub call_id: u32,
    /// What it says.
    pub body: Body<'a>,
    /// `auth_verifier`, if there is one.
    pub verifier: Option<Verifier<'a>>,
}

/// What a PDU says. The stubs hold the filling before the verifier too ([`Verifier::pad_length`] bytes), because it is sealed
/// with them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body<'a> {
    /// `bind`, or `alter_context` if `alter`. C706 12.6.4.3.
    Bind {
        /// Whether it is `alter_context`.
        alter: bool,
        /// The most bytes of a PDU that the client sends.
        max_xmit_frag: u16,
        /// The most bytes of a PDU that the client takes.
        max_recv_frag: u16,
        /// The association group to join; 0 for a new one.
        assoc_group: u32,
        /// What is asked for.
        contexts: Vec<Context>,
    },
    /// `bind_ack`, or `alter_context_resp` if `alter`. C706 12.6.4.4.
    BindAck {
        /// Whether it is `alter_context_resp`.
        alter: bool,
        /// The most bytes of a PDU that the server sends.
        max_xmit_frag: u16,
        /// The most bytes of a PDU that the server takes.
        max_recv_frag: u16,
        /// The association group.
        assoc_group: u32,
        /// The port or pipe, with its terminating zero byte; may be empty.
        secondary_address: &'a [u8],
        /// One for each context that was asked for.
        results: Vec<ContextResult>,
    },
    /// `bind_nak`. C706 12.6.4.5.
    BindNak {
        /// `provider_reject_reason`.
        reason: u16,
    },
    /// `request`. C706 12.6.4.9.
    Request {
        /// A hint of how long the whole stub is.
        alloc_hint: u32,
        /// Which context.
        context_id: u16,
        /// Which operation of the interface.
        opnum: u16,
        /// The parameters, or a fragment of them.
        stub: &'a [u8],
    },
    /// `response`. C706 12.6.4.10.
    Response {
        /// A hint of how long the whole stub is.
        alloc_hint: u32,
        /// Which context.
        context_id: u16,
        /// The results, or a fragment of them.
        stub: &'a [u8],
    },
    /// `fault`. C706 12.6.4.7.
    Fault {
        /// Which context.
        context_id: u16,
        /// Why: an `nca_s_...` or Win32 number (MS-RPCE 2.2.2.8).
        status: u32,
    },
    /// Any other type, unread.
    Other {
        /// `PTYPE`.
        ptype: u8,
        /// What follows the header.
        bytes: &'a [u8],
    },
}

/// `p_cont_elem_t`: an interface, in a transfer syntax that the client can speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Context {
    /// What requests will call it.
    pub id: u16,
    /// The interface.
    pub interface: Syntax,
    /// The first transfer syntax offered.
    pub transfer: Syntax,
}

/// `p_result_t`: what became of a context.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContextResult {
    /// 0 if it is accepted.
    pub result: u16,
    /// Why not.
    pub reason: u16,
    /// The transfer syntax.
    pub transfer: Syntax,
}

/// `sec_trailer` and `auth_value`. MS-RPCE 2.2.2.11.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verifier<'a> {
    /// Which security provider: [`Verifier::NETLOGON`].
    pub auth_type: u8,
    /// How much it protects: [`Verifier::PRIVACY`].
    pub level: u8,
    /// Bytes of filling between the body and this.
    pub pad_length: u8,
    /// Which security context of the association.
    pub context_id: u32,
    /// The provider's token.
    pub value: &'a [u8],
}

impl Verifier<'_> {
    /// `RPC_C_AUTHN_NETLOGON`.
    pub const NETLOGON: u8 = 0x44;
    /// `RPC_C_AUTHN_LEVEL_PKT_PRIVACY`: signed and sealed.
    pub const PRIVACY: u8 = 6;
    /// Stubs are filled to a multiple of this before a verifier, as Windows does it.
    pub const ALIGNMENT: usize = 16;
}

impl<'a> Pdu<'a> {
    /// Reads a whole PDU.
    ///
    /// # Errors
    /// As [`Header::parse`]; bytes beyond or below `frag_length`; counts that do not fit; filling that is longer than what
    /// it fills; trailing bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(FORMAT, bytes);
        let header = Header::read(&mut reader)?;
        let start = reader;
        if usize::from(header.frag_length) != bytes.len() {
            return Err(start.error(ErrorKind::Value { what: "frag_length" }));
        }
        let (mut inside, verifier) = if header.auth_length == 0 {
            (reader, None)
        } else {
            // Not below zero: the header was read.
            let length = reader.len().saturating_sub(SEC_TRAILER + usize::from(header.auth_length));
            let mut inside = reader.sub(FORMAT, length)?;
            let verifier = Verifier {
                auth_type: reader.u8()?,
                level: reader.u8()?,
                pad_length: reader.u8()?,
                context_id: {
                    reader.u8()?;
                    reader.u32_le()?
                },
                value: reader.rest(),
            };
            let is_stub = matches!(header.ptype, REQUEST | RESPONSE);
            let pad = usize::from(verifier.pad_length);
            let kept =
                inside.len().checked_sub(pad).ok_or(start.error(ErrorKind::Value { what: "auth_pad_length" }))?;
            if !is_stub {
                inside = inside.sub(FORMAT, kept)?;
            }
            (inside, Some(verifier))
        };
        let body = Body::read(header, &mut inside)?;
        if let (Body::Request { stub, .. } | Body::Response { stub, .. }, Some(verifier)) = (&body, &verifier)
            && stub.len() < usize::from(verifier.pad_length)
        {
            return Err(start.error(ErrorKind::Value { what: "auth_pad_length" }));
        }
        inside.finish()?;
        Ok(Self { flags: header.flags, call_id: header.call_id, body, verifier })
    }

    /// Appends the PDU. What does not fit into 65,535 bytes cannot be one, and the reader will say so: whoever writes stubs
    /// cuts them into fragments before.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let auth_length = self.verifier.map_or(0, |verifier| verifier.value.len()) as u16;
        // The object of a request is not kept, and nobody here names one.
        let flags = self.flags.0 & !PduFlags::OBJECT_UUID.0;
        out.extend_from_slice(&[5, 0, self.body.ptype(), flags]);
        out.extend_from_slice(&LITTLE_ENDIAN);
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&auth_length.to_le_bytes());
        out.extend_from_slice(&self.call_id.to_le_bytes());
        self.body.write(out);
        if let Some(verifier) = &self.verifier {
            if !matches!(self.body, Body::Request { .. } | Body::Response { .. }) {
                out.resize(out.len() + usize::from(verifier.pad_length), 0);
            }
            out.extend_from_slice(&[verifier.auth_type, verifier.level, verifier.pad_length, 0]);
            out.extend_from_slice(&verifier.context_id.to_le_bytes());
            out.extend_from_slice(verifier.value);
        }
        let length = ((out.len() - start) as u16).to_le_bytes();
        if let Some(place) = out.get_mut(start + 8..start + 10) {
            place.copy_from_slice(&length);
        }
    }
}

impl<'a> Body<'a> {
    /// Bytes of a request before its stub, the header among them.
    pub const REQUEST_HEAD: usize = Header::SIZE + 8;

    fn read(header: Header, reader: &mut Reader<'a>) -> Result<Self, ParseError> {
        Ok(match header.ptype {
            BIND | ALTER_CONTEXT => {
                let (max_xmit_frag, max_recv_frag, assoc_group) =
                    (reader.u16_le()?, reader.u16_le()?, reader.u32_le()?);
                let count = counted(reader)?;
                // Not made larger than the bytes can fill.
                let mut contexts = Vec::with_capacity(count.min(reader.len() / CONTEXT_SIZE));
                for _ in 0..count {
                    let (id, transfers) = (reader.u16_le()?, reader.u8()?);
                    reader.u8()?;
                    let interface = Syntax::read(reader)?;
                    if transfers == 0 {
                        return Err(reader.error(ErrorKind::Missing { what: "transfer_syntaxes" }));
                    }
                    let transfer = Syntax::read(reader)?;
                    reader.take(20 * (usize::from(transfers) - 1))?;
                    contexts.push(Context { id, interface, transfer });
                }
                let alter = header.ptype == ALTER_CONTEXT;
                Self::Bind { alter, max_xmit_frag, max_recv_frag, assoc_group, contexts }
            }
            BIND_ACK | ALTER_CONTEXT_RESP => {
                let (max_xmit_frag, max_recv_frag, assoc_group) =
                    (reader.u16_le()?, reader.u16_le()?, reader.u32_le()?);
                let length = usize::from(reader.u16_le()?);
                let secondary_address = reader.take(length)?;
                // Aligned to four; the length stands at a multiple of four, and two bytes.
                reader.take((length + 2).next_multiple_of(4) - (length + 2))?;
                let count = counted(reader)?;
                let mut results = Vec::with_capacity(count.min(reader.len() / RESULT_SIZE));
                for _ in 0..count {
                    let (result, reason) = (reader.u16_le()?, reader.u16_le()?);
                    results.push(ContextResult { result, reason, transfer: Syntax::read(reader)? });
                }
                let alter = header.ptype == ALTER_CONTEXT_RESP;
                Self::BindAck { alter, max_xmit_frag, max_recv_frag, assoc_group, secondary_address, results }
            }
            BIND_NAK => {
                let reason = reader.u16_le()?;
                // The versions that the server speaks, and what Windows adds: nothing that we could act on.
                reader.rest();
                Self::BindNak { reason }
            }
            REQUEST => {
                let (alloc_hint, context_id, opnum) = (reader.u32_le()?, reader.u16_le()?, reader.u16_le()?);
                if header.flags.has(PduFlags::OBJECT_UUID) {
                    reader.array::<16>()?;
                }
                Self::Request { alloc_hint, context_id, opnum, stub: reader.rest() }
            }
            RESPONSE => {
                let (alloc_hint, context_id) = (reader.u32_le()?, reader.u16_le()?);
                reader.array::<2>()?;
                Self::Response { alloc_hint, context_id, stub: reader.rest() }
            }
            FAULT => {
                reader.u32_le()?;
                let context_id = reader.u16_le()?;
                reader.array::<2>()?;
                let status = reader.u32_le()?;
                // Four reserved bytes, and extended error information that only a person could use.
                reader.rest();
                Self::Fault { context_id, status }
            }
            ptype => Self::Other { ptype, bytes: reader.rest() },
        })
    }

    const fn ptype(&self) -> u8 {
        match self {
            Self::Bind { alter: false, .. } => BIND,
            Self::Bind { alter: true, .. } => ALTER_CONTEXT,
            Self::BindAck { alter: false, .. } => BIND_ACK,
            Self::BindAck { alter: true, .. } => ALTER_CONTEXT_RESP,
            Self::BindNak { .. } => BIND_NAK,
            Self::Request { .. } => REQUEST,
            Self::Response { .. } => RESPONSE,
            Self::Fault { .. } => FAULT,
            Self::Other { ptype, .. } => *ptype,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let frags = |out: &mut Vec<u8>, xmit: u16, recv: u16, group: u32| {
            out.extend_from_slice(&xmit.to_le_bytes());
            out.extend_from_slice(&recv.to_le_bytes());
            out.extend_from_slice(&group.to_le_bytes());
        };
        match self {
            Self::Bind { max_xmit_frag, max_recv_frag, assoc_group, contexts, .. } => {
                frags(out, *max_xmit_frag, *max_recv_frag, *assoc_group);
                out.extend_from_slice(&[contexts.len() as u8, 0, 0, 0]);
                for context in contexts {
                    out.extend_from_slice(&context.id.to_le_bytes());
                    out.extend_from_slice(&[1, 0]);
                    context.interface.write(out);
                    context.transfer.write(out);
                }
            }
            Self::BindAck { max_xmit_frag, max_recv_frag, assoc_group, secondary_address, results, .. } => {
                frags(out, *max_xmit_frag, *max_recv_frag, *assoc_group);
                let length = secondary_address.len();
                out.extend_from_slice(&(length as u16).to_le_bytes());
                out.extend_from_slice(secondary_address);
                out.resize(out.len() + (length + 2).next_multiple_of(4) - (length + 2), 0);
                out.extend_from_slice(&[results.len() as u8, 0, 0, 0]);
                for result in results {
                    out.extend_from_slice(&result.result.to_le_bytes());
                    out.extend_from_slice(&result.reason.to_le_bytes());
                    result.transfer.write(out);
                }
            }
            Self::BindNak { reason } => {
                out.extend_from_slice(&reason.to_le_bytes());
                out.extend_from_slice(&[1, 5, 0]);
            }
            Self::Request { alloc_hint, context_id, opnum, stub } => {
                out.extend_from_slice(&alloc_hint.to_le_bytes());
                out.extend_from_slice(&context_id.to_le_bytes());
                out.extend_from_slice(&opnum.to_le_bytes());
                out.extend_from_slice(stub);
            }
            Self::Response { alloc_hint, context_id, stub } => {
                out.extend_from_slice(&alloc_hint.to_le_bytes());
                out.extend_from_slice(&context_id.to_le_bytes());
                out.extend_from_slice(&[0, 0]);
                out.extend_from_slice(stub);
            }
            Self::Fault { context_id, status } => {
                out.extend_from_slice(&[0; 4]);
                out.extend_from_slice(&context_id.to_le_bytes());
                out.extend_from_slice(&[0, 0]);
                out.extend_from_slice(&status.to_le_bytes());
                out.extend_from_slice(&[0; 4]);
            }
            Self::Other { bytes, .. } => out.extend_from_slice(bytes),
        }
    }
}

/// A count of one byte and three reserved ones.
fn counted(reader: &mut Reader<'_>) -> Result<usize, ParseError> {
    let count = usize::from(reader.u8()?);
    reader.array::<3>()?;
    Ok(count)
}

const FORMAT: &str = "DCE/RPC PDU";
const LITTLE_ENDIAN: [u8; 4] = [0x10, 0, 0, 0];
/// Bytes of `sec_trailer`.
const SEC_TRAILER: usize = 8;
/// Bytes of a context with one transfer syntax.
const CONTEXT_SIZE: usize = 44;
/// Bytes of a result.
const RESULT_SIZE: usize = 24;

const REQUEST: u8 = 0;
const RESPONSE: u8 = 2;
const FAULT: u8 = 3;
const BIND: u8 = 11;
const BIND_ACK: u8 = 12;
const BIND_NAK: u8 = 13;
const ALTER_CONTEXT: u8 = 14;
const ALTER_CONTEXT_RESP: u8 = 15;

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Verifier<'_> = Verifier {
        auth_type: Verifier::NETLOGON,
        level: Verifier::PRIVACY,
        pad_length: 4,
        context_id: 7,
        value: &[9; 56],
    };

    fn samples() -> Vec<Pdu<'static>> {
        let bodies = [
            Body::Bind {
                alter: false,
                max_xmit_frag: 5840,
                max_recv_frag: 5840,
                assoc_group: 0,
                contexts: vec![Context { id: 0, interface: Syntax::NETLOGON, transfer: Syntax::NDR }],
            },
            Body::BindAck {
                alter: true,
                max_xmit_frag: 4280,
                max_recv_frag: 4280,
                assoc_group: 0x5_3002,
                secondary_address: b"49153\0",
                results: vec![ContextResult { result: 0, reason: 0, transfer: Syntax::NDR }],
            },
            Body::Request { alloc_hint: 24, context_id: 0, opnum: 39, stub: &[1; 32] },
            Body::Response { alloc_hint: 24, context_id: 0, stub: &[2; 16] },
        ];
        let mut all: Vec<_> = bodies
            .into_iter()
            .flat_map(|body| {
                [None, Some(TOKEN)].map(|verifier| Pdu {
                    flags: PduFlags::WHOLE,
                    call_id: 3,
                    body: body.clone(),
                    verifier,
                })
            })
            .collect();
        for body in [
            Body::BindNak { reason: 8 },
            Body::Fault { context_id: 0, status: 5 },
            Body::Other { ptype: 19, bytes: &[1, 2] },
        ] {
            all.push(Pdu { flags: PduFlags::WHOLE, call_id: 1, body, verifier: None });
        }
        all
    }

    fn written(pdu: &Pdu<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        pdu.write(&mut out);
        out
    }

    #[test]
    fn what_is_written_is_read() {
        for pdu in samples() {
            let bytes = written(&pdu);
            assert_eq!(Pdu::parse(&bytes), Ok(pdu));
            let head = Header::parse(bytes.first_chunk().unwrap(), 5840).unwrap();
            assert_eq!(usize::from(head.frag_length), bytes.len());
        }
    }

    #[test]
    fn cut_anywhere_or_longer_than_it_says_it_is_refused() {
        for pdu in samples() {
            let bytes = written(&pdu);
            for cut in 0..bytes.len() {
                assert!(Pdu::parse(&bytes[..cut]).is_err(), "{pdu:?} cut at {cut}");
            }
            assert!(Pdu::parse(&[&bytes[..], &[0]].concat()).is_err());
        }
    }

    #[test]
    fn another_version_byte_order_or_length_is_refused() {
        let bytes = written(&samples()[0]);
        for (at, value) in [(0, 4), (1, 2), (4, 0), (5, 1), (6, 1), (8, 15), (8, 0), (10, 200)] {
            let mut bad = bytes.clone();
            bad[at] = value;
            assert!(Pdu::parse(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_fragment_beyond_the_limit_is_refused_by_its_header_alone() {
        let mut head = *written(&samples()[0]).first_chunk::<16>().unwrap();
        head[8..10].copy_from_slice(&5841u16.to_le_bytes());
        assert!(matches!(
            Header::parse(&head, 5840),
            Err(ParseError { kind: ErrorKind::Limit { what: "frag_length", limit: 5840 }, .. })
        ));
        head[8..10].copy_from_slice(&5840u16.to_le_bytes());
        assert!(Header::parse(&head, 5840).is_ok());
    }

    #[test]
    fn the_object_of_a_request_is_passed_over() {
        let mut bytes = written(&samples()[4]);
        bytes[3] |= PduFlags::OBJECT_UUID.0;
        let read = Pdu::parse(&bytes).unwrap();
        assert!(matches!(read.body, Body::Request { stub: [1, ..], .. }));
        assert!(Pdu::parse(&written(&read)).is_ok());
        let mut short = written(&Pdu {
            body: Body::Request { alloc_hint: 0, context_id: 0, opnum: 1, stub: &[0; 15] },
            ..samples()[4].clone()
        });
        short[3] |= PduFlags::OBJECT_UUID.0;
        assert!(Pdu::parse(&short).is_err());
    }

    #[test]
    fn filling_longer_than_the_body_is_refused() {
        for pdu in samples().into_iter().filter(|pdu| pdu.verifier.is_some()) {
            let mut bytes = written(&pdu);
            let at = bytes.len() - 56 - 8 + 2;
            bytes[at] = 255;
            assert!(Pdu::parse(&bytes).is_err(), "{pdu:?}");
        }
    }

    #[test]
    fn counts_beyond_the_bytes_are_refused() {
        for (pdu, at) in [(&samples()[0], 24), (&samples()[2], 32)] {
            for count in [0, 2, 255] {
                let mut bytes = written(pdu);
                bytes[at] = count;
                assert!(Pdu::parse(&bytes).is_err(), "{pdu:?}: {count}");
            }
        }
        let mut bytes = written(&samples()[0]);
        bytes[30] = 0;
        assert!(Pdu::parse(&bytes).is_err(), "a context without a transfer syntax");
    }
}
