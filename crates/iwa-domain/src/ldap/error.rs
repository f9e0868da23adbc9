//! Why a directory did not do what was asked, in words that say what to do. RFC 4511 appendix A, MS-ADTS 5.1.1.1.1.

use std::fmt;

use iwa_auth::Reject;
use iwa_auth::krb5::sasl::SaslError;
use iwa_wire::ldap::{LdapResult, ResultCode};

/// Something did not come about at a directory server.
#[derive(Debug)]
pub struct LdapError {
    /// The server, with its port.
    pub server: String,
    /// What was to be done: `binding as WEB$`, `searching below DC=corp,DC=example,DC=test`.
    pub doing: String,
    /// Why it was not.
    pub why: Why,
}

/// What stood in the way.
#[derive(Debug)]
#[non_exhaustive]
pub enum Why {
    /// No server could be reached.
    Unreachable(String),
    /// The connection ended, hung, or carried something that is not LDAP.
    Broken(String),
    /// TLS: the certificate, its name, or a server that does not offer it.
    Tls(String),
    /// There is no ticket for the server.
    Ticket(Box<Reject>),
    /// The SASL exchange: the server did not prove itself, or does not seal.
    Sasl(SaslError),
    /// It was not begun, because it would have been dangerous.
    Refused(&'static str),
    /// The account was refused a moment ago, as the text says, and rests: every wrong try brings its lock-out nearer.
    Resting(String),
    /// The server said no.
    Result(Answered),
    /// There is more than was to be taken.
    Limit {
        /// Of what there is too much.
        what: &'static str,
        /// How much was to be taken.
        limit: usize,
    },
}

/// A server's refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered {
    /// `resultCode`.
    pub code: ResultCode,
    /// The Windows error of a refused bind: `0x52e`.
    pub data: Option<u32>,
    /// `diagnosticMessage`, safe to print.
    pub message: String,
    /// `referral`: where the server sends the client. Nobody goes there.
    pub referral: Vec<String>,
}

impl Answered {
    pub(super) fn of(result: &LdapResult<'_>) -> Self {
        let text = |octets: iwa_wire::ldap::Octets<'_>| octets.to_string().chars().take(TEXT_LIMIT).collect();
        Self {
            code: result.code,
            data: result.data(),
            message: text(result.diagnostic),
            referral: result.referral.iter().take(8).map(text).collect(),
        }
    }
}

/// How many characters of a server's text are repeated.
const TEXT_LIMIT: usize = 512;

impl LdapError {
    /// Whether another server, or the same over a new connection, may do it.
    #[must_use]
    pub const fn elsewhere(&self) -> bool {
        match &self.why {
            Why::Unreachable(_) | Why::Broken(_) | Why::Tls(_) => true,
            Why::Sasl(error) => !matches!(error, SaslError::Entropy),
            Why::Result(answered) => matches!(
                answered.code,
                ResultCode::BUSY
                    | ResultCode::UNAVAILABLE
                    | ResultCode::OPERATIONS_ERROR
                    | ResultCode::UNAVAILABLE_CRITICAL_EXTENSION
            ),
            Why::Ticket(_) | Why::Refused(_) | Why::Resting(_) | Why::Limit { .. } => false,
        }
    }

    /// The server's result code, if it said one.
    #[must_use]
    pub const fn code(&self) -> Option<ResultCode> {
        match &self.why {
            Why::Result(answered) => Some(answered.code),
            _ => None,
        }
    }

    /// The Windows error behind a refused bind.
    #[must_use]
    pub const fn data(&self) -> Option<u32> {
        match &self.why {
            Why::Result(answered) => answered.data,
            _ => None,
        }
    }
}

impl fmt::Display for LdapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}: ", self.server, self.doing)?;
        match &self.why {
            Why::Unreachable(why) => write!(f, "it cannot be reached: {why}"),
            Why::Broken(why) => write!(f, "the connection broke: {why}"),
            Why::Tls(why) => write!(f, "no TLS: {why}"),
            Why::Ticket(reject) => write!(f, "no ticket for it: {}", reject.reason),
            Why::Sasl(error) => error.fmt(f),
            Why::Refused(why) => f.write_str(why),
            Why::Resting(why) => write!(f, "the account is not tried again for a while after it was refused: {why}"),
            Why::Limit { what, limit } => write!(f, "{what}: more than the limit of {limit}"),
            Why::Result(answered) => answered.fmt(f),
        }
    }
}

impl std::error::Error for LdapError {}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some((meaning, remedy)) = self.data.and_then(data_meaning) {
            write!(f, "; data {:x}: {meaning}; {remedy}", self.data.unwrap_or_default())?;
        } else if let Some(remedy) = remedy(self.code) {
            write!(f, "; {remedy}")?;
        }
        if !self.message.is_empty() {
            write!(f, " (the server says: {})", self.message)?;
        }
        if !self.referral.is_empty() {
            write!(f, " (it refers to {}, which is not followed)", self.referral.join(" "))?;
        }
        Ok(())
    }
}

/// The Windows errors of a refused bind: what each means, and what to do.
#[must_use]
pub const fn data_meaning(data: u32) -> Option<(&'static str, &'static str)> {
    Some(match data {
        0x525 => ("there is no such account", "check the name that is bound with"),
        0x52e => ("the password or the name is wrong", "check both; several wrong tries lock the account"),
        0x52f => ("a restriction of the account forbids it", "look at the account's sign-in restrictions"),
        0x530 => ("the account may not sign in at this time", "look at the account's sign-in hours"),
        0x531 => ("the account may not sign in from this machine", "look at the account's list of workstations"),
        0x532 => ("the password has expired", "set a new one"),
        0x533 => ("the account is disabled", "enable it, or use another"),
        0x568 => ("the account is in too many groups", "take it out of some"),
        0x569 => ("the account may not sign in in this way", "grant it the right to sign in over the network"),
        0x701 => ("the account has expired", "set another end date, or use another account"),
        0x773 => ("the password must be changed first", "change it, or clear \"must change password at next logon\""),
        0x775 => ("the account is locked after too many wrong passwords", "unlock it, and find out who tries"),
        0x57 => ("the server did not understand the credentials", "check the form of the name"),
        0x8009_0346 => (
            "the server wants a channel binding (LdapEnforceChannelBinding) and got none or another's",
            "let nothing between this machine and the server end TLS",
        ),
        _ => return None,
    })
}

const fn remedy(code: ResultCode) -> Option<&'static str> {
    Some(match code {
        ResultCode::STRONGER_AUTH_REQUIRED | ResultCode::CONFIDENTIALITY_REQUIRED => "bind with Kerberos, or over TLS",
        ResultCode::INSUFFICIENT_ACCESS_RIGHTS => {
            "let an administrator grant the account this right, or use another account"
        }
        ResultCode::NO_SUCH_OBJECT => "check the base of the search, and what the account may see",
        ResultCode::BUSY | ResultCode::UNAVAILABLE => "it is asked again later, or another one is",
        ResultCode::OPERATIONS_ERROR => "the server may want a bind before this",
        ResultCode::SIZE_LIMIT_EXCEEDED => "search for less, or in pages",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use iwa_wire::ldap::Octets;

    use super::*;

    fn refused(code: ResultCode, text: &'static str) -> LdapError {
        let result = LdapResult { diagnostic: Octets(text.as_bytes()), ..LdapResult::of(code) };
        LdapError {
            server: "dc1.example.test:389".into(),
            doing: "binding as alice".into(),
            why: Why::Result(Answered::of(&result)),
        }
    }

    #[test]
    fn a_refused_bind_says_what_to_do() {
        let text = "80090308: LdapErr: DSID-0C090446, comment: AcceptSecurityContext error, data 775, v4563\0";
        let error = refused(ResultCode::INVALID_CREDENTIALS, text);
        let shown = error.to_string();
        assert_eq!(error.data(), Some(0x775));
        assert!(shown.starts_with("dc1.example.test:389, binding as alice: invalidCredentials (49)"), "{shown}");
        assert!(shown.contains("locked") && shown.contains("unlock it") && !shown.contains('\0'), "{shown}");
        assert!(!shown.contains('\n'));
    }

    #[test]
    fn another_server_is_asked_where_that_may_help() {
        assert!(refused(ResultCode::BUSY, "").elsewhere() && refused(ResultCode::UNAVAILABLE, "").elsewhere());
        assert!(!refused(ResultCode::INVALID_CREDENTIALS, "").elsewhere());
        assert!(!refused(ResultCode::INSUFFICIENT_ACCESS_RIGHTS, "").elsewhere());
    }

    #[test]
    fn what_a_server_says_is_cut_and_made_safe() {
        let long: &'static str = Box::leak("x\u{1b}".repeat(10_000).into_boxed_str());
        let shown = refused(ResultCode::OTHER, long).to_string();
        assert!(shown.len() < 4096 && !shown.contains('\u{1b}'));
    }
}
