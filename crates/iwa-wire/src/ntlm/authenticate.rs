//! AUTHENTICATE_MESSAGE, the client's second, and the response in it. MS-NLMP 2.2.1.3, 2.2.2.6, 2.2.2.7, 2.2.2.8.

use super::{AvPairs, Explainer, Flags, MessageType, Span, Text, Version, Writer, filetime, fixed_part, number};
use crate::error::{ErrorKind, ParseError};
use crate::explain::{Explain, Node, hex};
use crate::reader::Reader;

/// Who the client is and its proof.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Authenticate<'a> {
    /// `LmChallengeResponse`.
    pub lm_response: &'a [u8],
    /// `NtChallengeResponse`; see [`NtResponse`].
    pub nt_response: &'a [u8],
    /// `DomainName`.
    pub domain: Text<'a>,
    /// `UserName`.
    pub user: Text<'a>,
    /// `Workstation`: the client's own name.
    pub workstation: Text<'a>,
    /// `EncryptedRandomSessionKey`; has a meaning only with [`Flags::KEY_EXCH`].
    pub encrypted_random_session_key: &'a [u8],
    /// What both ends can do.
    pub flags: Flags,
    /// The client's version, if [`Flags::VERSION`] and there is room before the payload.
    pub version: Option<Version>,
    /// The bytes at [`MIC_OFFSET`], if there is room before the payload. Whether they are a MIC is said by
    /// [`AvFlags::MIC`](super::AvFlags::MIC) in the response.
    pub mic: Option<[u8; 16]>,
}

/// Where the MIC stands in the message.
pub const MIC_OFFSET: usize = 72;
/// Signature, type, six fields and flags.
const FIXED: usize = 64;
const WITH_MIC: usize = MIC_OFFSET + 16;

impl<'a> Authenticate<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// It is another message, is shorter than its fixed part, or a field lies outside.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        const FORMAT: &str = MessageType::Authenticate.name();
        let mut reader = fixed_part(MessageType::Authenticate, bytes)?;
        let mut spans = [Span::default(); 6];
        for span in &mut spans {
            *span = Span::read(&mut reader)?;
        }
        let [lm_response, nt_response, domain, user, workstation, session_key] = spans;
        let flags = Flags(reader.u32_le()?);
        let unicode = flags.has(Flags::UNICODE);
        let message = Self {
            lm_response: lm_response.bytes(FORMAT, bytes, FIXED)?,
            nt_response: nt_response.bytes(FORMAT, bytes, FIXED)?,
            domain: domain.text(FORMAT, bytes, FIXED, unicode)?,
            user: user.text(FORMAT, bytes, FIXED, unicode)?,
            workstation: workstation.text(FORMAT, bytes, FIXED, unicode)?,
            encrypted_random_session_key: session_key.bytes(FORMAT, bytes, FIXED)?,
            flags,
            version: None,
            mic: None,
        };
        let payload = payload_start(&spans, bytes.len());
        let version = if payload >= MIC_OFFSET { Some(Version::read(&mut reader)?) } else { None };
        let mic = if payload >= WITH_MIC { Some(*reader.array()?) } else { None };
        Ok(Self { version: version.filter(|_| flags.has(Flags::VERSION)), mic, ..message })
    }

    /// Appends the message. There is room for the MIC if `mic` is given: fill it with zeros first, compute, and put the
    /// result at [`MIC_OFFSET`].
    ///
    /// # Errors
    /// A field is longer than 65535 bytes.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), ParseError> {
        let flags = if self.version.is_some() { self.flags | Flags::VERSION } else { self.flags & !Flags::VERSION };
        let payload = if self.mic.is_some() { WITH_MIC } else { MIC_OFFSET };
        let mut writer = Writer::new(MessageType::Authenticate, payload, out);
        let fields = [
            (self.lm_response, "LmChallengeResponse"),
            (self.nt_response, "NtChallengeResponse"),
            (self.domain.bytes, "DomainName"),
            (self.user.bytes, "UserName"),
            (self.workstation.bytes, "Workstation"),
            (self.encrypted_random_session_key, "EncryptedRandomSessionKey"),
        ];
        for (field, what) in fields {
            writer.span(field, what)?;
        }
        out.extend_from_slice(&flags.0.to_le_bytes());
        Version::write(self.version, out);
        if let Some(mic) = &self.mic {
            out.extend_from_slice(mic);
        }
        for (field, _) in fields {
            out.extend_from_slice(field);
        }
        Ok(())
    }
}

/// Where the payload begins: the lowest offset of a field that is not empty.
fn payload_start(spans: &[Span], end: usize) -> usize {
    spans.iter().filter(|span| span.length != 0).map(|span| span.offset as usize).min().unwrap_or(end)
}

impl Explain for Authenticate<'_> {
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let mut explainer = Explainer::new(MessageType::Authenticate, "MS-NLMP 2.2.1.3", bytes, offset);
        let spans: [Option<Span>; 6] = core::array::from_fn(|_| explainer.span());
        let [lm_response, nt_response, domain, user, workstation, session_key] = spans;
        let flags = explainer.flags();
        let unicode = flags.has(Flags::UNICODE);
        let known = spans.map(Option::unwrap_or_default);
        let payload = payload_start(&known, bytes.len());
        if payload >= MIC_OFFSET {
            explainer.version();
        }
        if payload >= WITH_MIC {
            explainer.fixed("MIC", 16, hex);
        }
        explainer.payload("LmChallengeResponse", lm_response, explain_lm_response);
        explainer.payload("NtChallengeResponse", nt_response, NtResponse::explain);
        explainer.text("DomainName", domain, unicode);
        explainer.text("UserName", user, unicode);
        explainer.text("Workstation", workstation, unicode);
        explainer.payload("EncryptedRandomSessionKey", session_key, |raw, start| {
            Node::leaf("", hex(raw), start..start + raw.len()).secret()
        });
        let empty = bytes.len() >= FIXED && known.iter().all(|span| span.length == 0);
        if empty && flags.has(Flags::LOCAL_CALL) {
            explainer.node.note = Some("a local call: the client is on the server's machine and proves nothing".into());
        } else if empty || (flags.has(Flags::ANONYMOUS) && known[1].length == 0) {
            explainer.node.note = Some("anonymous: no user and no proof".into());
        }
        explainer.finish(Authenticate::parse(bytes).map(|_| ()))
    }
}

fn explain_lm_response(raw: &[u8], start: usize) -> Node {
    let node = Node::leaf("", hex(raw), start..start + raw.len());
    match raw {
        [] => node,
        [0] => node.noted("anonymous"),
        _ if raw.iter().all(|byte| *byte == 0) => {
            node.noted("none: zeros, as NTLMv2 clients send that got a timestamp")
        }
        _ => node.noted("LM, LMv2, or the client challenge of NTLMv1 with extended session security"),
    }
}

/// `NtChallengeResponse`, told apart by its length as Windows does it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NtResponse<'a> {
    /// There is none.
    Absent,
    /// NTLMv1, with or without extended session security. MS-NLMP 2.2.2.6.
    V1(&'a [u8; 24]),
    /// NTLMv2.
    V2(Ntlmv2Response<'a>),
}

impl<'a> NtResponse<'a> {
    /// Reads a response.
    ///
    /// # Errors
    /// It is longer than NTLMv1's and not an NTLMv2 response, or has another length.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        if bytes.is_empty() {
            return Ok(Self::Absent);
        }
        match <&[u8; 24]>::try_from(bytes) {
            Ok(v1) => Ok(Self::V1(v1)),
            Err(_) => Ntlmv2Response::parse(bytes).map(Self::V2),
        }
    }
}

impl Explain for NtResponse<'_> {
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let range = offset..offset + bytes.len();
        match bytes.len() {
            0 => Node::leaf("NtChallengeResponse", "", range),
            24 => Node::leaf("NtChallengeResponse", hex(bytes), range).noted("NTLMv1"),
            _ => Ntlmv2Response::explain(bytes, offset),
        }
    }
}

/// `NTLMv2_RESPONSE`: the proof and what it covers. MS-NLMP 2.2.2.8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ntlmv2Response<'a> {
    /// `NTProofStr`: the HMAC over the server's challenge and `client_challenge`.
    pub nt_proof_str: &'a [u8; 16],
    /// `NTLMv2_CLIENT_CHALLENGE` whole: what the proof covers besides the server's challenge.
    pub client_challenge: &'a [u8],
    /// `TimeStamp`: the client's time as a FILETIME, or the server's if it gave one.
    pub time_stamp: u64,
    /// `ChallengeFromClient`.
    pub challenge_from_client: &'a [u8; 8],
    /// `AvPairs`: the server's target information as the client got it, and the client's additions.
    pub av_pairs: AvPairs<'a>,
}

impl<'a> Ntlmv2Response<'a> {
    /// Reads a response; offsets in errors count from its start.
    ///
    /// # Errors
    /// It is truncated, its version is not 1, or its pairs are malformed.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(FORMAT, bytes);
        let nt_proof_str = reader.array()?;
        let client_challenge = reader.peek();
        let start = reader;
        if *reader.array()? != [1, 1] {
            return Err(start.error(ErrorKind::Magic { what: "RespType" }));
        }
        let _reserved_1_and_2 = reader.take(6)?;
        let time_stamp = reader.u64_le()?;
        let challenge_from_client = reader.array()?;
        let _reserved_3 = reader.take(4)?;
        let av_pairs = AvPairs::parse(reader.peek(), reader.offset())?;
        Ok(Self { nt_proof_str, client_challenge, time_stamp, challenge_from_client, av_pairs })
    }

    /// Appends an `NTLMv2_CLIENT_CHALLENGE`, whose pairs end with `MsvAvEOL`, and the four zeros that Windows puts behind it.
    pub fn write_client_challenge(time_stamp: u64, challenge: &[u8; 8], av_pairs: AvPairs<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&[1, 1, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(&time_stamp.to_le_bytes());
        out.extend_from_slice(challenge);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(av_pairs.bytes());
        out.extend_from_slice(&[0; 4]);
    }
}

impl Explain for Ntlmv2Response<'_> {
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let mut node = Node::branch(FORMAT, offset..offset + bytes.len(), "MS-NLMP 2.2.2.8").noted("NTLMv2");
        let mut reader = Reader::at(FORMAT, bytes, offset);
        type Words = fn(&[u8]) -> String;
        let fields: [(&'static str, usize, Words); 8] = [
            ("NTProofStr", 16, hex),
            ("RespType", 1, |raw| number(raw).to_string()),
            ("HiRespType", 1, |raw| number(raw).to_string()),
            ("Reserved1", 2, hex),
            ("Reserved2", 4, hex),
            ("TimeStamp", 8, |raw| filetime(number(raw))),
            ("ChallengeFromClient", 8, hex),
            ("Reserved3", 4, hex),
        ];
        for (name, count, words) in fields {
            let start = reader.offset();
            match reader.take(count) {
                Ok(raw) => node.children.push(Node::leaf(name, words(raw), start..start + count)),
                Err(error) => return node.broken(error),
            }
        }
        let mut pairs = AvPairs::explain(reader.peek(), reader.offset());
        pairs.name = "AvPairs".into();
        node.children.push(pairs);
        if let Err(error) = Ntlmv2Response::parse(bytes)
            && node.first_error().is_none()
        {
            node.error = Some(ParseError { offset: offset + error.offset, ..error });
        }
        node
    }
}

const FORMAT: &str = "NTLMv2_RESPONSE";
