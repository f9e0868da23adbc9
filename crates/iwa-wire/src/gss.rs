//! The GSS-API initial context token: `0x60`, a length, the mechanism's OID, the mechanism's token. RFC 2743 3.1.

use core::fmt;

use crate::der::{Der, DerWriter, Tag};
use crate::error::{ErrorKind, ParseError};
use crate::explain::{self, Explain, Node};
use crate::krb5::token::KrbToken;

/// A security mechanism: the contents octets of its OBJECT IDENTIFIER, as they stand in the input.
///
/// Compared byte by byte, which is exact because padded arcs are refused when it is read.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MechType<'a>(&'a [u8]);

impl<'a> MechType<'a> {
    /// SPNEGO, 1.3.6.1.5.5.2. RFC 4178.
    pub const SPNEGO: MechType<'static> = MechType(&[0x2b, 6, 1, 5, 5, 2]);
    /// Kerberos 5, 1.2.840.113554.1.2.2. RFC 4121.
    pub const KRB5: MechType<'static> = MechType(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 1, 2, 2]);
    /// Kerberos 5 as Windows 2000 misspelt it (one arc was cut to 16 bits) and all its successors still offer it,
    /// 1.2.840.48018.1.2.2. MS-SPNG 3.1.5.2.
    pub const MS_KRB5: MechType<'static> = MechType(&[0x2a, 0x86, 0x48, 0x82, 0xf7, 0x12, 1, 2, 2]);
    /// Kerberos 5 user-to-user, 1.2.840.113554.1.2.2.3.
    pub const KRB5_USER_TO_USER: MechType<'static> = MechType(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 1, 2, 2, 3]);
    /// NTLMSSP, 1.3.6.1.4.1.311.2.2.10. MS-NLMP 1.9.
    pub const NTLMSSP: MechType<'static> = MechType(&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 2, 10]);
    /// NEGOEX, 1.3.6.1.4.1.311.2.2.30. draft-zhu-negoex.
    pub const NEGOEX: MechType<'static> = MechType(&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 2, 30]);
    /// IAKERB, 1.3.6.1.5.2.5. draft-ietf-kitten-iakerb.
    pub const IAKERB: MechType<'static> = MechType(&[0x2b, 6, 1, 5, 2, 5]);

    /// A mechanism from the contents octets of its OID.
    ///
    /// # Errors
    /// [`ErrorKind::Value`] if they are empty, end inside an arc, have a padded arc, or are longer than 64 bytes.
    pub fn new(contents: &'a [u8]) -> Result<Self, ErrorKind> {
        let mut at_start = true;
        for &byte in contents {
            if at_start && byte == 0x80 {
                return Err(ErrorKind::Value { what: "OBJECT IDENTIFIER" });
            }
            at_start = byte & 0x80 == 0;
        }
        if contents.is_empty() || !at_start || contents.len() > MAX_OID {
            return Err(ErrorKind::Value { what: "OBJECT IDENTIFIER" });
        }
        Ok(Self(contents))
    }

    /// The OID that stands next in `der`.
    pub(crate) fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        let start = *der;
        Self::new(der.expect(Tag::OID)?.body).map_err(|kind| start.error(kind))
    }

    /// The contents octets.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The mechanism's usual name, if it is one that occurs under Negotiate.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        NAMES.iter().find(|(mech, _)| mech.0 == self.0).map(|(_, name)| *name)
    }

    /// Whether this is Kerberos 5 under its own or under Microsoft's OID.
    #[must_use]
    pub fn is_krb5(&self) -> bool {
        *self == MechType::KRB5 || *self == MechType::MS_KRB5
    }
}

/// The name and the dotted form: `SPNEGO (1.3.6.1.5.5.2)`; only the dotted form if it has no name.
impl fmt::Display for MechType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dotted = explain::oid(self.0);
        match self.name() {
            Some(name) => write!(f, "{name} ({dotted})"),
            None => f.write_str(&dotted),
        }
    }
}

impl fmt::Debug for MechType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An initial context token: which mechanism, and the mechanism's own token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InitialToken<'a> {
    /// `thisMech`.
    pub mech: MechType<'a>,
    /// `innerContextToken`.
    pub inner: &'a [u8],
    /// Where `inner` begins in the outermost input.
    pub inner_offset: usize,
}

impl<'a> InitialToken<'a> {
    /// Reads a token that fills `bytes`; `offset` is where they begin in the outermost input.
    ///
    /// # Errors
    /// Truncated, trailing bytes, a length that is not DER, or something else than an OID inside.
    pub fn parse(bytes: &'a [u8], offset: usize) -> Result<Self, ParseError> {
        let mut der = Der::new(FORMAT, bytes, offset);
        let mut inside = der.enter(Tag::application(0))?;
        der.finish()?;
        let mech = MechType::read(&mut inside)?;
        Ok(Self { mech, inner: inside.peek(), inner_offset: inside.offset() })
    }

    /// Appends a token of `mech` whose inner token `inner` writes.
    pub fn write(mech: MechType<'_>, out: &mut Vec<u8>, inner: impl FnOnce(&mut DerWriter<'_>)) {
        DerWriter::new(out).nest(Tag::application(0), |w| {
            w.primitive(Tag::OID, mech.as_bytes());
            inner(w);
        });
    }
}

impl Explain for InitialToken<'_> {
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let mut node = Node::branch(FORMAT, offset..offset + bytes.len(), "RFC 2743 3.1");
        let (body, body_offset, error) = explain::open(FORMAT, bytes, offset);
        node.error = error;
        let mut inside = Der::new(FORMAT, body, body_offset);
        match MechType::read(&mut inside) {
            Ok(mech) => {
                let range = body_offset..inside.offset();
                node.children.push(Node::leaf("thisMech", mech.to_string(), range));
                let (inner, at) = (inside.peek(), inside.offset());
                node.children.push(match mech {
                    MechType::SPNEGO => crate::spnego::explain_choice(inner, at),
                    _ => explain_inner(mech, inner, at),
                });
            }
            Err(error) => {
                node.error.get_or_insert(error);
            }
        }
        node
    }
}

fn explain_inner(mech: MechType<'_>, inner: &[u8], offset: usize) -> Node {
    let range = offset..offset + inner.len();
    let leaf = |name: &'static str| Node::leaf(name, explain::hex(inner), range.clone());
    let kerberos = mech.is_krb5() || mech == MechType::KRB5_USER_TO_USER || mech == MechType::IAKERB;
    match inner {
        [1, 1, ..] if kerberos => leaf("GSS_GetMIC token").noted("RFC 1964 1.2.1"),
        [2, 1, ..] if kerberos => leaf("GSS_Wrap token").noted("RFC 1964 1.2.2"),
        _ if kerberos => KrbToken::explain_inner(inner, offset),
        _ => leaf("innerContextToken"),
    }
}

const FORMAT: &str = "InitialContextToken";

/// The longest OID of a mechanism in use has 11 bytes; longer ones than this only cost time.
const MAX_OID: usize = 64;

const NAMES: [(MechType<'static>, &str); 7] = [
    (MechType::SPNEGO, "SPNEGO"),
    (MechType::KRB5, "Kerberos 5"),
    (MechType::MS_KRB5, "Kerberos 5, Microsoft's OID"),
    (MechType::KRB5_USER_TO_USER, "Kerberos 5 user-to-user"),
    (MechType::NTLMSSP, "NTLMSSP"),
    (MechType::NEGOEX, "NEGOEX"),
    (MechType::IAKERB, "IAKERB"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_mechanisms_have_their_registered_numbers() {
        for (mech, dotted) in [
            (MechType::SPNEGO, "SPNEGO (1.3.6.1.5.5.2)"),
            (MechType::KRB5, "Kerberos 5 (1.2.840.113554.1.2.2)"),
            (MechType::MS_KRB5, "Kerberos 5, Microsoft's OID (1.2.840.48018.1.2.2)"),
            (MechType::KRB5_USER_TO_USER, "Kerberos 5 user-to-user (1.2.840.113554.1.2.2.3)"),
            (MechType::NTLMSSP, "NTLMSSP (1.3.6.1.4.1.311.2.2.10)"),
            (MechType::NEGOEX, "NEGOEX (1.3.6.1.4.1.311.2.2.30)"),
            (MechType::IAKERB, "IAKERB (1.3.6.1.5.2.5)"),
        ] {
            assert_eq!(mech.to_string(), dotted);
            assert_eq!(MechType::new(mech.as_bytes()), Ok(mech));
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for size in [0, 1, 100, 117, 118, 128, 300, 70_000] {
            let body = vec![0x5a; size];
            let mut out = Vec::new();
            InitialToken::write(MechType::KRB5, &mut out, |w| w.raw(&body));
            let token = InitialToken::parse(&out, 7).unwrap();
            assert_eq!((token.mech, token.inner), (MechType::KRB5, &body[..]));
            assert_eq!(token.inner_offset, 7 + out.len() - size);
        }
    }

    #[test]
    fn padded_cut_and_huge_object_identifiers_are_refused() {
        assert!(MechType::new(&[]).is_err());
        assert!(MechType::new(&[0x2b, 0x80, 0x06]).is_err());
        assert!(MechType::new(&[0x2b, 6, 0x86]).is_err());
        assert!(MechType::new(&[1; 65]).is_err());
        assert!(MechType::new(&[1; 64]).is_ok());
    }

    #[test]
    fn broken_framing_is_refused() {
        let good = [0x60, 10, 6, 6, 0x2b, 6, 1, 5, 5, 2, 0xaa, 0xbb];
        assert!(InitialToken::parse(&good, 0).is_ok());
        for cut in 0..good.len() {
            assert!(InitialToken::parse(&good[..cut], 0).is_err(), "cut at {cut}");
        }
        let mut trailing = good.to_vec();
        trailing.push(0);
        assert_eq!(InitialToken::parse(&trailing, 0).map_err(|e| e.kind), Err(ErrorKind::Trailing { count: 1 }));
        assert!(InitialToken::parse(&[0x60, 0], 0).is_err());
        assert!(InitialToken::parse(&[0x60, 2, 6, 0], 0).is_err());
        assert!(InitialToken::parse(&[0x60, 0x80, 6, 1, 0x2b, 0, 0], 0).is_err());
        assert!(InitialToken::parse(&[0x60, 3, 4, 1, 0x2b], 0).is_err());
    }
}
