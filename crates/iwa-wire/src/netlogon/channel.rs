//! Opening a secure channel, and changing the machine's password through it: `NetrServerReqChallenge`,
//! `NetrServerAuthenticate3`, `NetrServerPasswordSet2`. MS-NRPC 3.5.4.4.1, 3.5.4.4.2, 3.5.4.4.6.

use core::fmt;
use std::borrow::Cow;

use crate::error::ParseError;
use crate::ndr::{NdrReader, NdrWriter};
use crate::reader::Reader;

use super::{FORMAT, NegotiateFlags};

/// `WorkstationSecureChannel` (MS-NRPC 2.2.1.3.13): of a member, be it workstation or server.
pub const WORKSTATION_SECURE_CHANNEL: u16 = 2;

/// The parameters of `NetrServerReqChallenge`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReqChallenge<'a> {
    /// `ComputerName`: the member's NetBIOS name.
    pub computer: Cow<'a, str>,
    /// `ClientChallenge`.
    pub client_challenge: [u8; 8],
}

impl ReqChallenge<'_> {
    /// Appends the stub of the request.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut w = NdrWriter::new(out);
        // `PrimaryName`: the server that is connected to.
        w.pointer(false);
        w.wide_string(&self.computer);
        w.bytes(&self.client_challenge);
    }

    /// Reads the stub of a request.
    ///
    /// # Errors
    /// As NDR has it.
    pub fn parse(stub: &[u8]) -> Result<Self, ParseError> {
        let mut ndr = NdrReader::new(Reader::new(FORMAT, stub));
        primary_name(&mut ndr)?;
        let computer = Cow::Owned(ndr.wide_string()?.to_string());
        let client_challenge = *ndr.array()?;
        ndr.finish()?;
        Ok(Self { computer, client_challenge })
    }

    /// Appends the stub of the response: the server's challenge and the status.
    pub fn write_response(server_challenge: &[u8; 8], status: u32, out: &mut Vec<u8>) {
        let mut w = NdrWriter::new(out);
        w.bytes(server_challenge);
        w.u32(status);
    }

    /// Reads the stub of the response: the server's challenge and the status.
    ///
    /// # Errors
    /// As NDR has it.
    pub fn parse_response(stub: &[u8]) -> Result<([u8; 8], u32), ParseError> {
        let mut ndr = NdrReader::new(Reader::new(FORMAT, stub));
        let answer = (*ndr.array()?, ndr.u32()?);
        ndr.finish()?;
        Ok(answer)
    }
}

/// The parameters of `NetrServerAuthenticate3`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authenticate3<'a> {
    /// `AccountName`: the computer's name with a `$`.
    pub account: Cow<'a, str>,
    /// `SecureChannelType`: [`WORKSTATION_SECURE_CHANNEL`].
    pub channel_type: u16,
    /// `ComputerName`.
    pub computer: Cow<'a, str>,
    /// `ClientCredential`.
    pub client_credential: [u8; 8],
    /// `NegotiateFlags`: what the member can do.
    pub flags: NegotiateFlags,
}

/// What `NetrServerAuthenticate3` returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Authenticated {
    /// `ServerCredential`: proves that the server knows the password too.
    pub server_credential: [u8; 8],
    /// `NegotiateFlags`: what both can do.
    pub flags: NegotiateFlags,
    /// `AccountRid`: the RID of the machine's account.
    pub account_rid: u32,
    /// The status.
    pub status: u32,
}

impl Authenticate3<'_> {
    /// Appends the stub of the request.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut w = NdrWriter::new(out);
        w.pointer(false);
        w.wide_string(&self.account);
        w.u16(self.channel_type);
        w.wide_string(&self.computer);
        w.bytes(&self.client_credential);
        w.u32(self.flags.0);
    }

    /// Reads the stub of a request.
    ///
    /// # Errors
    /// As NDR has it.
    pub fn parse(stub: &[u8]) -> Result<Self, ParseError> {
        let mut ndr = NdrReader::new(Reader::new(FORMAT, stub));
        primary_name(&mut ndr)?;
        let call = Self {
            account: Cow::Owned(ndr.wide_string()?.to_string()),
            channel_type: ndr.u16()?,
            computer: Cow::Owned(ndr.wide_string()?.to_string()),
            client_credential: *ndr.array()?,
            flags: NegotiateFlags(ndr.u32()?),
        };
        ndr.finish()?;
        Ok(call)
    }
}

impl Authenticated {
    /// Appends the stub of the response.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut w = NdrWriter::new(out);
        w.bytes(&self.server_credential);
        w.u32(self.flags.0);
        w.u32(self.account_rid);
        w.u32(self.status);
    }

    /// Reads the stub of the response.
    ///
    /// # Errors
    /// As NDR has it.
    pub fn parse(stub: &[u8]) -> Result<Self, ParseError> {
        let mut ndr = NdrReader::new(Reader::new(FORMAT, stub));
        let answer = Self {
            server_credential: *ndr.array()?,
            flags: NegotiateFlags(ndr.u32()?),
            account_rid: ndr.u32()?,
            status: ndr.u32()?,
        };
        ndr.finish()?;
        Ok(answer)
    }
}

/// `NETLOGON_AUTHENTICATOR`. MS-NRPC 2.2.1.1.5.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Authenticator {
    /// `Credential`.
    pub credential: [u8; 8],
    /// `Timestamp`: seconds since 1970, if it is a client's.
    pub timestamp: u32,
}

impl Authenticator {
    fn write(&self, w: &mut NdrWriter<'_>) {
        w.align(4);
        w.bytes(&self.credential);
        w.u32(self.timestamp);
    }

    fn read(ndr: &mut NdrReader<'_>) -> Result<Self, ParseError> {
        ndr.align(4)?;
        Ok(Self { credential: *ndr.array()?, timestamp: ndr.u32()? })
    }
}

/// Bytes of an `NL_TRUST_PASSWORD`: 512 of filling and password, and their length. MS-NRPC 2.2.1.3.7.
pub const NL_TRUST_PASSWORD: usize = 516;

/// The parameters of `NetrServerPasswordSet2`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordSet2<'a> {
    /// `AccountName`.
    pub account: Cow<'a, str>,
    /// `SecureChannelType`.
    pub channel_type: u16,
    /// `ComputerName`.
    pub computer: Cow<'a, str>,
    /// `Authenticator`.
    pub authenticator: Authenticator,
    /// `ClearNewPassword`: an `NL_TRUST_PASSWORD`, encrypted with the session key.
    pub password: [u8; NL_TRUST_PASSWORD],
}

impl fmt::Debug for PasswordSet2<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordSet2").field("account", &self.account).finish_non_exhaustive()
    }
}

impl PasswordSet2<'_> {
    /// Appends the stub of the request.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut w = NdrWriter::new(out);
        w.pointer(false);
        w.wide_string(&self.account);
        w.u16(self.channel_type);
        w.wide_string(&self.computer);
        self.authenticator.write(&mut w);
        w.bytes(&self.password);
    }

    /// Reads the stub of a request.
    ///
    /// # Errors
    /// As NDR has it.
    pub fn parse(stub: &[u8]) -> Result<Self, ParseError> {
        let mut ndr = NdrReader::new(Reader::new(FORMAT, stub));
        primary_name(&mut ndr)?;
        let call = Self {
            account: Cow::Owned(ndr.wide_string()?.to_string()),
            channel_type: ndr.u16()?,
            computer: Cow::Owned(ndr.wide_string()?.to_string()),
            authenticator: Authenticator::read(&mut ndr)?,
            password: *ndr.array()?,
        };
        ndr.finish()?;
        Ok(call)
    }

    /// Appends the stub of the response: `ReturnAuthenticator` and the status.
    pub fn write_response(authenticator: &Authenticator, status: u32, out: &mut Vec<u8>) {
        let mut w = NdrWriter::new(out);
        authenticator.write(&mut w);
        w.u32(status);
    }

    /// Reads the stub of the response: `ReturnAuthenticator` and the status.
    ///
    /// # Errors
    /// As NDR has it.
    pub fn parse_response(stub: &[u8]) -> Result<(Authenticator, u32), ParseError> {
        let mut ndr = NdrReader::new(Reader::new(FORMAT, stub));
        let answer = (Authenticator::read(&mut ndr)?, ndr.u32()?);
        ndr.finish()?;
        Ok(answer)
    }
}

/// `PrimaryName`, which says nothing that the connection does not.
fn primary_name(ndr: &mut NdrReader<'_>) -> Result<(), ParseError> {
    if ndr.pointer()? {
        ndr.wide_string()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_anywhere<T: core::fmt::Debug>(stub: &[u8], parse: impl Fn(&[u8]) -> Result<T, ParseError>) {
        for cut in 0..stub.len() {
            assert!(parse(&stub[..cut]).is_err(), "cut at {cut}");
        }
        assert!(parse(&[stub, &[0; 8]].concat()).is_err(), "trailing bytes");
    }

    #[test]
    fn a_challenge_is_read_as_it_was_written_and_refused_when_cut() {
        let call = ReqChallenge { computer: "WEB".into(), client_challenge: *b"12345678" };
        let (mut stub, mut answer) = (Vec::new(), Vec::new());
        call.write(&mut stub);
        // The layout that Windows and Samba read: no primary name, a string of four units, the challenge right behind it.
        assert_eq!(stub, b"\0\0\0\0\x04\0\0\0\0\0\0\0\x04\0\0\0W\0E\0B\0\0\x0012345678");
        assert_eq!(ReqChallenge::parse(&stub), Ok(call));
        ReqChallenge::write_response(b"abcdefgh", 0, &mut answer);
        assert_eq!(ReqChallenge::parse_response(&answer), Ok((*b"abcdefgh", 0)));
        cut_anywhere(&stub, |stub| ReqChallenge::parse(stub).map(|_| ()));
        cut_anywhere(&answer, ReqChallenge::parse_response);
    }

    #[test]
    fn an_authentication_is_read_as_it_was_written_and_refused_when_cut() {
        let call = Authenticate3 {
            account: "WEB$".into(),
            channel_type: WORKSTATION_SECURE_CHANNEL,
            computer: "WEB".into(),
            client_credential: [7; 8],
            flags: NegotiateFlags::ASKED,
        };
        let answer = Authenticated {
            server_credential: [8; 8],
            flags: NegotiateFlags(5),
            account_rid: 1105,
            status: 0xc000_0022,
        };
        let (mut stub, mut returned) = (Vec::new(), Vec::new());
        call.write(&mut stub);
        answer.write(&mut returned);
        assert_eq!(Authenticate3::parse(&stub), Ok(call));
        assert_eq!(Authenticated::parse(&returned), Ok(answer));
        cut_anywhere(&stub, |stub| Authenticate3::parse(stub).map(|_| ()));
        cut_anywhere(&returned, Authenticated::parse);
    }

    #[test]
    fn a_new_password_is_read_as_it_was_written_and_refused_when_cut() {
        let authenticator = Authenticator { credential: [3; 8], timestamp: 1_700_000_000 };
        let call = PasswordSet2 {
            account: "WEB$".into(),
            channel_type: WORKSTATION_SECURE_CHANNEL,
            computer: "WEB".into(),
            authenticator,
            password: [0x5a; NL_TRUST_PASSWORD],
        };
        let (mut stub, mut answer) = (Vec::new(), Vec::new());
        call.write(&mut stub);
        PasswordSet2::write_response(&authenticator, 0, &mut answer);
        assert_eq!(PasswordSet2::parse(&stub), Ok(call));
        assert_eq!(PasswordSet2::parse_response(&answer), Ok((authenticator, 0)));
        cut_anywhere(&stub, |stub| PasswordSet2::parse(stub).map(|_| ()));
        cut_anywhere(&answer, PasswordSet2::parse_response);
    }
}
