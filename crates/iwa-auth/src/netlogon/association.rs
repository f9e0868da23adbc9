//! A connection to an RPC server as a state machine: bind, calls one after the other, fragments, protection. C706 12.6,
//! MS-RPCE 3.3.

use core::fmt;

use iwa_wire::ParseError;
use iwa_wire::dcerpc::pdu::{Context, Header};
use iwa_wire::dcerpc::{Body, Pdu, PduFlags, Syntax, Verifier};
use iwa_wire::netlogon::{NlAuthMessage, NlAuthSha2Signature};
use zeroize::Zeroizing;

use super::channel::Session;
use super::sealing::{SealError, Sealing};
use crate::env::{EntropyError, Env};

/// What protects the stubs of an association.
#[derive(Debug)]
pub enum Security {
    /// Nothing: the endpoint mapper, and the calls that open a channel, which prove themselves.
    None,
    /// Signed and sealed with a session key.
    Netlogon(Sealing),
}

/// The most bytes of a PDU that we send or take, as Windows and Samba have it.
pub const MAX_FRAG: u16 = 5840;
/// The most bytes of a whole answer: a logon with ten thousand groups has 80 kB.
pub const STUB_LIMIT: usize = 1 << 20;

/// An association that waits for the answer to its bind.
#[derive(Debug)]
pub struct Binding {
    security: Security,
}

/// An association that can make a call.
#[derive(Debug)]
pub struct Association {
    security: Security,
    max_xmit: u16,
    call_id: u32,
}

/// A call that waits for its answer, of which `stub` is here.
#[derive(Debug)]
pub struct Call {
    association: Association,
    stub: Zeroizing<Vec<u8>>,
    first: bool,
}

/// What a fragment led to.
#[derive(Debug)]
pub enum Turn {
    /// More fragments follow.
    More(Call),
    /// The answer is whole. It may hold a user's session key.
    Done(Association, Zeroizing<Vec<u8>>),
}

/// Why an association is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RpcError {
    /// A PDU does not follow its format.
    Malformed(ParseError),
    /// A PDU that should not come now.
    Unexpected(&'static str),
    /// The server does not bind the interface.
    NotBound {
        /// `reason` of a `bind_nak` or of a result.
        reason: u16,
    },
    /// The server could not make the call. MS-RPCE 2.2.2.8.
    Fault(u32),
    /// The protection does not hold.
    Sealing(SealError),
    /// More than we are willing to read.
    TooLong,
    /// There is no randomness.
    Entropy,
}

impl RpcError {
    /// `nca_s_fault_access_denied`, which is Win32's `ERROR_ACCESS_DENIED`.
    pub const ACCESS_DENIED: u32 = 5;
    /// `ERROR_SEC_PKG_ERROR`: what Windows says of a session key that it does not know.
    pub const SEC_PKG_ERROR: u32 = 0x721;
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => error.fmt(f),
            Self::Unexpected(what) => write!(f, "{what}: not what an RPC server answers"),
            Self::NotBound { reason } => write!(f, "it does not bind the interface (reason {reason})"),
            Self::Fault(Self::ACCESS_DENIED) => f.write_str("it refuses the call (fault 5: access denied)"),
            Self::Fault(Self::SEC_PKG_ERROR) => f.write_str("it does not know our session (fault 0x721)"),
            Self::Fault(status) => write!(f, "it could not make the call (fault 0x{status:08x})"),
            Self::Sealing(error) => error.fmt(f),
            Self::TooLong => write!(f, "an answer is longer than {STUB_LIMIT} bytes"),
            Self::Entropy => f.write_str("the system gives no randomness"),
        }
    }
}

impl std::error::Error for RpcError {}

impl From<ParseError> for RpcError {
    fn from(error: ParseError) -> Self {
        Self::Malformed(error)
    }
}

impl From<EntropyError> for RpcError {
    fn from(_: EntropyError) -> Self {
        Self::Entropy
    }
}

impl Binding {
    /// Appends the bind to `interface`; under a `session` everything after it is sealed.
    #[must_use]
    pub fn begin(interface: Syntax, session: Option<&Session>, out: &mut Vec<u8>) -> Self {
        let mut token = Vec::new();
        let security = match session {
            Some(session) => {
                session.bind_token().write(&mut token);
                Security::Netlogon(session.sealing())
            }
            None => Security::None,
        };
        let body = Body::Bind {
            alter: false,
            max_xmit_frag: MAX_FRAG,
            max_recv_frag: MAX_FRAG,
            assoc_group: 0,
            contexts: vec![Context { id: CONTEXT, interface, transfer: Syntax::NDR }],
        };
        let verifier = session.map(|_| verifier(0, &token));
        Pdu { flags: PduFlags::WHOLE, call_id: 1, body, verifier }.write(out);
        Self { security }
    }

    /// Takes the answer.
    ///
    /// # Errors
    /// [`RpcError::NotBound`], or an answer that is none.
    pub fn bound(self, pdu: &[u8]) -> Result<Association, RpcError> {
        let pdu = Pdu::parse(pdu)?;
        let (max_recv_frag, results) = match pdu.body {
            Body::BindAck { alter: false, max_recv_frag, results, .. } => (max_recv_frag, results),
            Body::BindNak { reason } => return Err(RpcError::NotBound { reason }),
            Body::Fault { status, .. } => return Err(RpcError::Fault(status)),
            _ => return Err(RpcError::Unexpected("something else than the answer to a bind")),
        };
        match results.as_slice() {
            [result] if result.result == 0 && result.transfer == Syntax::NDR => {}
            [result] => return Err(RpcError::NotBound { reason: result.reason }),
            _ => return Err(RpcError::Unexpected("not one result for one context")),
        }
        match (&self.security, pdu.verifier) {
            (Security::None, None) => {}
            (Security::Netlogon(_), Some(verifier)) => {
                is_ours(&verifier)?;
                if NlAuthMessage::parse(verifier.value)? != NlAuthMessage::Response {
                    return Err(RpcError::Unexpected("a bind's token as the answer to a bind"));
                }
            }
            _ => return Err(RpcError::Unexpected("another protection than was asked for")),
        }
        // Too small a fragment would hold nothing but its own frame.
        if max_recv_frag < MIN_FRAG {
            return Err(RpcError::Unexpected("fragments of less than 1432 bytes"));
        }
        Ok(Association { security: self.security, max_xmit: max_recv_frag.min(MAX_FRAG), call_id: 1 })
    }
}

impl Association {
    /// Appends a call of operation `opnum`, in as many fragments as it takes.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn request(mut self, opnum: u16, stub: &[u8], env: &mut Env<'_>, out: &mut Vec<u8>) -> Result<Call, RpcError> {
        self.call_id = self.call_id.wrapping_add(1);
        let room = usize::from(self.max_xmit) - Body::REQUEST_HEAD - SECURITY;
        let room = room - room % Verifier::ALIGNMENT;
        let count = stub.len().div_ceil(room).max(1);
        let mut data = Zeroizing::new(Vec::with_capacity(room.min(stub.len() + Verifier::ALIGNMENT)));
        for number in 0..count {
            let rest = stub.get(number * room..).unwrap_or_default();
            let part = rest.get(..room).unwrap_or(rest);
            data.clear();
            data.extend_from_slice(part);
            let mut flags = PduFlags(0);
            flags.0 |= if number == 0 { PduFlags::FIRST.0 } else { 0 };
            flags.0 |= if number + 1 == count { PduFlags::LAST.0 } else { 0 };
            let alloc_hint = rest.len() as u32;
            let mut write = |stub: &[u8], verifier| {
                let body = Body::Request { alloc_hint, context_id: CONTEXT, opnum, stub };
                Pdu { flags, call_id: self.call_id, body, verifier }.write(out);
            };
            match &mut self.security {
                Security::None => write(&data, None),
                Security::Netlogon(sealing) => {
                    let pad = part.len().next_multiple_of(Verifier::ALIGNMENT) - part.len();
                    data.resize(part.len() + pad, 0);
                    let token = sealing.seal(&mut data, env)?;
                    write(&data, Some(verifier(pad as u8, &token)));
                }
            }
        }
        Ok(Call { association: self, stub: Zeroizing::new(Vec::new()), first: true })
    }
}

impl Call {
    /// Takes the next fragment of the answer.
    ///
    /// # Errors
    /// [`RpcError`]: the association is over.
    pub fn take(mut self, fragment: &[u8]) -> Result<Turn, RpcError> {
        let pdu = Pdu::parse(fragment)?;
        if pdu.call_id != self.association.call_id {
            return Err(RpcError::Unexpected("the answer to another call"));
        }
        let stub = match pdu.body {
            Body::Response { context_id: CONTEXT, stub, .. } => stub,
            Body::Fault { status, .. } => return Err(RpcError::Fault(status)),
            _ => return Err(RpcError::Unexpected("something else than the answer to a call")),
        };
        if pdu.flags.has(PduFlags::FIRST) != self.first {
            return Err(RpcError::Unexpected("fragments out of order"));
        }
        self.first = false;
        if stub.len() > STUB_LIMIT - self.stub.len() {
            return Err(RpcError::TooLong);
        }
        let from = self.stub.len();
        self.append(stub);
        match (&mut self.association.security, pdu.verifier) {
            (Security::None, None) => {}
            (Security::Netlogon(sealing), Some(verifier)) => {
                is_ours(&verifier)?;
                let data = self.stub.get_mut(from..).unwrap_or_default();
                sealing.unseal(data, verifier.value).map_err(RpcError::Sealing)?;
                // Not longer than the fragment: it was parsed.
                let kept = self.stub.len().saturating_sub(usize::from(verifier.pad_length));
                self.stub.truncate(kept);
            }
            _ => return Err(RpcError::Unexpected("another protection than was asked for")),
        }
        if pdu.flags.has(PduFlags::LAST) { Ok(Turn::Done(self.association, self.stub)) } else { Ok(Turn::More(self)) }
    }

    /// Appends to the stub, and erases the place from which it had to move.
    fn append(&mut self, more: &[u8]) {
        let length = self.stub.len() + more.len();
        if length > self.stub.capacity() {
            let mut moved = Zeroizing::new(Vec::with_capacity((2 * length).min(STUB_LIMIT)));
            moved.extend_from_slice(&self.stub);
            self.stub = moved;
        }
        self.stub.extend_from_slice(more);
    }
}

const fn verifier(pad_length: u8, value: &[u8]) -> Verifier<'_> {
    Verifier {
        auth_type: Verifier::NETLOGON,
        level: Verifier::PRIVACY,
        pad_length,
        context_id: SECURITY_CONTEXT,
        value,
    }
}

fn is_ours(verifier: &Verifier<'_>) -> Result<(), RpcError> {
    let Verifier { auth_type, level, context_id, .. } = *verifier;
    if (auth_type, level, context_id) == (Verifier::NETLOGON, Verifier::PRIVACY, SECURITY_CONTEXT) {
        Ok(())
    } else {
        Err(RpcError::Unexpected("another protection than was asked for"))
    }
}

/// The one context of an association.
const CONTEXT: u16 = 0;
/// The one security context of an association.
const SECURITY_CONTEXT: u32 = 1;
/// Bytes of `sec_trailer` and signature.
const SECURITY: usize = 8 + NlAuthSha2Signature::SIZE;
/// `MustRecvFragSize`: what every implementation takes (C706 12.6.3.1).
const MIN_FRAG: u16 = 1432;
const _: () = assert!(MIN_FRAG as usize > Body::REQUEST_HEAD + SECURITY + Verifier::ALIGNMENT);
const _: () = assert!(MAX_FRAG as usize > Header::SIZE);
