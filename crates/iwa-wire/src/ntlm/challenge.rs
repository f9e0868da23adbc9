//! CHALLENGE_MESSAGE, the server's only one. MS-NLMP 2.2.1.2.

use super::{AvPairs, Explainer, Flags, MessageType, Span, Text, Version, Writer, fixed_part};
use crate::error::ParseError;
use crate::explain::{Explain, Node, hex};

/// The server's challenge and who it says it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Challenge<'a> {
    /// The server's name or its domain's, as [`Flags::TARGET_TYPE_SERVER`] and [`Flags::TARGET_TYPE_DOMAIN`] say.
    pub target_name: Text<'a>,
    /// What both ends can do.
    pub flags: Flags,
    /// `ServerChallenge`.
    pub server_challenge: [u8; 8],
    /// `TargetInfo`; empty if there is none.
    pub target_info: AvPairs<'a>,
    /// The server's version, if [`Flags::VERSION`] and there is room before the payload.
    pub version: Option<Version>,
}

/// Signature, type, target name, flags and challenge. Reserved bytes and target information are left out by old servers.
const FIXED: usize = 32;
const WITH_TARGET_INFO: usize = 48;
const WITH_VERSION: usize = 56;

impl<'a> Challenge<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// It is another message, is shorter than its fixed part, a field lies outside, or the target information is malformed.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        const FORMAT: &str = MessageType::Challenge.name();
        let mut reader = fixed_part(MessageType::Challenge, bytes)?;
        let target_name = Span::read(&mut reader)?;
        let flags = Flags(reader.u32_le()?);
        let server_challenge = *reader.array()?;
        let mut message = Self { flags, server_challenge, ..Self::default() };
        message.target_name = target_name.text(FORMAT, bytes, FIXED, flags.has(Flags::UNICODE))?;
        let mut payload = if target_name.length == 0 { bytes.len() } else { target_name.offset as usize };
        if payload < WITH_TARGET_INFO {
            return Ok(message);
        }
        reader.take(8)?;
        let target_info = Span::read(&mut reader)?;
        if target_info.length != 0 {
            payload = payload.min(target_info.offset as usize);
            let raw = target_info.bytes(FORMAT, bytes, WITH_TARGET_INFO)?;
            message.target_info = AvPairs::parse(raw, target_info.offset as usize)?;
        }
        if flags.has(Flags::VERSION) && payload >= WITH_VERSION {
            message.version = Some(Version::read(&mut reader)?);
        }
        Ok(message)
    }

    /// Appends the message. The flag that announces the version is set as the field is.
    ///
    /// # Errors
    /// A field is longer than 65535 bytes.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), ParseError> {
        let flags = if self.version.is_some() { self.flags | Flags::VERSION } else { self.flags & !Flags::VERSION };
        let mut writer = Writer::new(MessageType::Challenge, WITH_VERSION, out);
        writer.span(self.target_name.bytes, "TargetName")?;
        writer.out.extend_from_slice(&flags.0.to_le_bytes());
        writer.out.extend_from_slice(&self.server_challenge);
        writer.out.extend_from_slice(&[0; 8]);
        writer.span(self.target_info.bytes(), "TargetInfo")?;
        Version::write(self.version, writer.out);
        out.extend_from_slice(self.target_name.bytes);
        out.extend_from_slice(self.target_info.bytes());
        Ok(())
    }
}

impl Explain for Challenge<'_> {
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let mut explainer = Explainer::new(MessageType::Challenge, "MS-NLMP 2.2.1.2", bytes, offset);
        let target_name = explainer.span();
        let flags = explainer.flags();
        explainer.fixed("ServerChallenge", 8, hex);
        let start = |span: Option<Span>| match span {
            Some(Span { length: 1.., offset, .. }) => offset as usize,
            _ => usize::MAX,
        };
        let mut target_info = None;
        if bytes.len().min(start(target_name)) >= WITH_TARGET_INFO {
            explainer.fixed("Reserved", 8, hex);
            target_info = explainer.span();
            let payload = bytes.len().min(start(target_name)).min(start(target_info));
            if flags.has(Flags::VERSION) && payload >= WITH_VERSION {
                explainer.version();
            }
        }
        explainer.text("TargetName", target_name, flags.has(Flags::UNICODE));
        if target_info.is_some_and(|span| span.length > 0) {
            explainer.payload("TargetInfo", target_info, AvPairs::explain);
        }
        explainer.finish(Challenge::parse(bytes).map(|_| ()))
    }
}
