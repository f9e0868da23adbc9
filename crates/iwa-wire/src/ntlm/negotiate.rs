//! NEGOTIATE_MESSAGE, the client's first. MS-NLMP 2.2.1.1.

use super::{Explainer, Flags, MessageType, Span, Text, Version, Writer, fixed_part};
use crate::error::ParseError;
use crate::explain::{Explain, Node};
use crate::reader::Reader;

/// What the client can do. Its names are in the OEM character set, and nothing proves them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Negotiate<'a> {
    /// What the client can do and wants.
    pub flags: Flags,
    /// The client's domain, if [`Flags::OEM_DOMAIN_SUPPLIED`].
    pub domain: Text<'a>,
    /// The client's own name, if [`Flags::OEM_WORKSTATION_SUPPLIED`].
    pub workstation: Text<'a>,
    /// The client's version, if [`Flags::VERSION`] and there is room before the payload.
    pub version: Option<Version>,
}

/// Signature, type, flags and the two fields. The fields are left out by old clients, the version by many.
const FIXED: usize = 32;
const WITH_VERSION: usize = 40;

impl<'a> Negotiate<'a> {
    /// Reads a message. It may end after its flags (Samba, scanners), after its fields (curl), or after the version.
    ///
    /// # Errors
    /// It is another message, ends before its flags, or a field that its flags announce lies outside.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        const FORMAT: &str = MessageType::Negotiate.name();
        let mut reader = fixed_part(MessageType::Negotiate, bytes)?;
        let mut message = Self { flags: Flags(reader.u32_le()?), ..Self::default() };
        if reader.is_empty() {
            return Ok(message);
        }
        let mut payload = bytes.len();
        let mut field = |reader: &mut Reader<'a>, announced: Flags| {
            let span = Span::read(reader)?;
            if !message.flags.has(announced) || span.length == 0 {
                return Ok(Text::default());
            }
            payload = payload.min(span.offset as usize);
            span.text(FORMAT, bytes, FIXED, false)
        };
        let domain = field(&mut reader, Flags::OEM_DOMAIN_SUPPLIED)?;
        let workstation = field(&mut reader, Flags::OEM_WORKSTATION_SUPPLIED)?;
        (message.domain, message.workstation) = (domain, workstation);
        if message.flags.has(Flags::VERSION) && payload >= WITH_VERSION {
            message.version = Some(Version::read(&mut reader)?);
        }
        Ok(message)
    }

    /// Appends the message. The flags that announce names and version are set as the fields are.
    ///
    /// # Errors
    /// A name is longer than 65535 bytes.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), ParseError> {
        let announced = [
            (Flags::OEM_DOMAIN_SUPPLIED, !self.domain.is_empty()),
            (Flags::OEM_WORKSTATION_SUPPLIED, !self.workstation.is_empty()),
            (Flags::VERSION, self.version.is_some()),
        ];
        let flags =
            announced.iter().fold(self.flags, |flags, (bit, on)| if *on { flags | *bit } else { flags & !*bit });
        let mut writer = Writer::new(MessageType::Negotiate, WITH_VERSION, out);
        writer.out.extend_from_slice(&flags.0.to_le_bytes());
        writer.span(self.domain.bytes, "DomainName")?;
        writer.span(self.workstation.bytes, "Workstation")?;
        Version::write(self.version, writer.out);
        out.extend_from_slice(self.domain.bytes);
        out.extend_from_slice(self.workstation.bytes);
        Ok(())
    }
}

impl Explain for Negotiate<'_> {
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let mut explainer = Explainer::new(MessageType::Negotiate, "MS-NLMP 2.2.1.1", bytes, offset);
        let flags = explainer.flags();
        if bytes.len() > 16 {
            let mut announced = |bit| {
                let span = explainer.span();
                span.filter(|span| flags.has(bit) && span.length > 0)
            };
            let domain = announced(Flags::OEM_DOMAIN_SUPPLIED);
            let workstation = announced(Flags::OEM_WORKSTATION_SUPPLIED);
            let payload = [domain, workstation].iter().flatten().map(|span| span.offset as usize).min();
            if flags.has(Flags::VERSION) && payload.unwrap_or(bytes.len()) >= WITH_VERSION {
                explainer.version();
            }
            if domain.is_some() {
                explainer.text("DomainName", domain, false);
            }
            if workstation.is_some() {
                explainer.text("Workstation", workstation, false);
            }
        }
        explainer.finish(Negotiate::parse(bytes).map(|_| ()))
    }
}
