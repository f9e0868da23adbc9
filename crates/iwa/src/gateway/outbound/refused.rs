//! Why the gateway does not sign in to the application: the status for the client, and the words for the administrator.

use core::fmt::Write as _;

use http::StatusCode;
use iwa_auth::krb5::client::Credential;
use iwa_auth::reject::{Peer, Policy, Reason, Unavailable};
use iwa_http::Status;
use iwa_wire::krb5::Principal;
use iwa_wire::krb5::error::code;

use super::Way;
use crate::config::How;

/// No sign-in.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: Status,
    pub(crate) reason: Reason,
    /// Who, where, why, and what to do.
    pub(crate) words: String,
}

impl Refused {
    pub(super) fn new(reason: Reason, way: Option<Way>, service: &Principal, account: Option<&Principal>) -> Self {
        let status = match &reason {
            Reason::Policy(Policy::Delegation { .. }) => Status::FORBIDDEN,
            Reason::Peer(Peer::KdcError { code, .. }) if FORBIDS.contains(code) => Status::FORBIDDEN,
            Reason::Unavailable(Unavailable::Kdc(_) | Unavailable::Accounts(_)) => Status::of(&reason),
            _ => Status::served(StatusCode::BAD_GATEWAY),
        };
        let mut words = format!("no sign-in to {service}");
        if let Some(way) = way {
            let _ = write!(words, " ({})", way.in_words());
        }
        let _ = write!(words, ": {reason}");
        if let (Reason::Peer(Peer::KdcError { code, .. }), Some(account)) = (&reason, account) {
            let advice = advice(*code, way);
            if !advice.is_empty() {
                let _ = write!(words, "; our account is {account}: {advice} (docs/delegation.md)");
            }
        }
        Self { status, reason, words }
    }

    /// It was the application that did not take the ticket.
    pub(super) fn by_the_application(mut self, ticket: &Credential) -> Self {
        self.status = Status::served(StatusCode::BAD_GATEWAY);
        let etype = iwa_domain::machine::kerberos::key_of(ticket)
            .map(|(kvno, etype)| {
                let kvno = kvno.map_or_else(String::new, |kvno| format!(", kvno {kvno}"));
                let name = iwa_auth::krb5::etype::Etype::from_number(etype)
                    .map_or_else(|| format!("etype {etype}"), |etype| etype.to_string());
                format!("{name}{kvno}")
            })
            .unwrap_or_default();
        let _ = write!(
            self.words,
            "; the ticket is of {} for {}, {etype}: has the application a key of that name, type and version, and does it offer \
             Negotiate here?",
            ticket.client, ticket.server
        );
        self
    }
}

impl Way {
    const fn in_words(self) -> &'static str {
        match self {
            Self::OurSelf => "as the gateway itself",
            Self::As(How::DelegatedTgt) => "with the visitor's forwarded TGT",
            Self::As(How::Constrained) => "constrained delegation",
            Self::As(How::Transition) => "protocol transition",
        }
    }
}

/// What a KDC says of users that must not be acted for, or accounts that must not act for them.
const FORBIDS: [i32; 4] =
    [code::KDC_ERR_BADOPTION, code::KDC_ERR_POLICY, code::KDC_ERR_CLIENT_REVOKED, code::KDC_ERR_C_PRINCIPAL_UNKNOWN];

fn advice(code: i32, way: Option<Way>) -> &'static str {
    match (code, way) {
        (code::KDC_ERR_S_PRINCIPAL_UNKNOWN, _) => {
            "no account has the SPN `service`, or two have it: setspn -Q, setspn -X"
        }
        (code::KDC_ERR_PREAUTH_FAILED, _) => "its keytab is older than its password: make the keytab anew",
        (code::KDC_ERR_ETYPE_NOSUPP, _) => {
            "no encryption type is common to it, the service and the KDC: give both accounts AES (msDS-SupportedEncryptionTypes)"
        }
        (code::KDC_ERR_BADOPTION | code::KDC_ERR_POLICY, Some(Way::As(How::Constrained))) => {
            "msDS-AllowedToDelegateTo must list the service, the visitor's account must not be sensitive or in Protected Users, and \
             the visitor's ticket must be one for this very account"
        }
        (code::KDC_ERR_BADOPTION | code::KDC_ERR_POLICY, Some(Way::As(How::Transition))) => {
            "msDS-AllowedToDelegateTo must list the service, TrustedToAuthForDelegation must be set, and the visitor's account must \
             not be sensitive or in Protected Users"
        }
        (code::KDC_ERR_C_PRINCIPAL_UNKNOWN, Some(Way::As(How::Transition))) => {
            "the visitor, or this account, is not known there"
        }
        (code::KDC_ERR_C_PRINCIPAL_UNKNOWN, _) => {
            "it is not known there: `principal` is the account's name, not an SPN"
        }
        (code::KDC_ERR_CLIENT_REVOKED, _) => "it, or the visitor's account, is disabled or locked",
        _ => "",
    }
}
