//! Verifying a PAC and reading from it who the client is. MS-PAC 2.8, 3.2; MS-KILE 3.4.5.3, 3.3.5.6.4.
//!
//! What is held against what, in this order:
//!
//! 1. No type of buffer stands twice, and server signature, KDC signature and `PAC_CLIENT_INFO` are there.
//! 2. The server signature is of the one checksum type that belongs to the service key's etype (an RC4 or unkeyed
//!    signature on an AES ticket is a downgrade), and verifies. Where the key of the KDC is known, so do the KDC signature
//!    and, if there is one, the extended KDC signature. Without that key a *silver ticket* - forged by whoever stole the
//!    service key - cannot be told from a true one: the server signature is then the thief's own.
//! 3. `PAC_CLIENT_INFO` names the ticket's client and the ticket's authentication time.
//! 4. All SIDs that the PAC gives for its client are one.
//!
//! A KDC of MIT issues PACs that hold signatures and `PAC_CLIENT_INFO` only. Such a PAC is verified as any other, and says
//! nothing of SIDs: under [`PacPolicy::Optional`] the client is then known by its principal alone, exactly as without a PAC,
//! and under [`PacPolicy::Required`] it is refused, because what that policy demands is the KDC's word on SIDs and groups.
//! A PAC that is there and does not hold is refused under either policy.

use iwa_wire::krb5::EncTicketPart;
use iwa_wire::pac::{BufferType, ClientInfo, LogonInfo, Pac, Requestor, Signature, UpnDnsInfo, signature};
use iwa_wire::{ErrorKind, ParseError, Sid, Utf16};

use super::etype::ChecksumKey;
use crate::env::UnixTime;
use crate::identity::Account;
use crate::reject::{PacProblem, Reason};

/// The PAC is the KDC's word about this very client, or the policy does without. Made only by the check.
#[derive(Debug)]
pub struct PacVerified(());

/// Whether a ticket must carry a PAC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PacPolicy {
    /// A PAC with logon information, as Active Directory issues it.
    #[default]
    Required,
    /// A PAC is verified and used if there is one; a client without it has no SIDs and no groups.
    Optional,
}

/// What a ticket, with or without a PAC, says of its client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authorization {
    /// The account: as the logon information names it, else as the ticket does.
    pub account: Account,
    /// The groups that grant something, as full SIDs.
    pub groups: Vec<Sid>,
}

/// Verifies the PAC of `ticket` against the service's key and, where they are known, one of the KDC's (all for key usage 17).
///
/// # Errors
/// [`PacProblem`], or a malformed name in the ticket.
pub(crate) fn verify(
    pac: Option<&[u8]>,
    ticket: &EncTicketPart<'_>,
    key: &ChecksumKey,
    kdc_keys: &[ChecksumKey],
    policy: PacPolicy,
) -> Result<(PacVerified, Authorization), Reason> {
    let Some(bytes) = pac else {
        return match policy {
            PacPolicy::Required => Err(PacProblem::Absent.into()),
            PacPolicy::Optional => Ok((PacVerified(()), by_name(ticket)?)),
        };
    };
    let pac = Pac::parse(bytes, 0).map_err(PacProblem::Malformed)?;
    no_type_twice(&pac)?;
    verify_signatures(&pac, key, kdc_keys)?;
    verify_client(&pac, ticket)?;
    let info = pac.read(BufferType::LOGON_INFO, LogonInfo::parse).map_err(PacProblem::Malformed)?;
    let upn_dns = pac.read(BufferType::UPN_DNS_INFO, UpnDnsInfo::parse).map_err(PacProblem::Malformed)?;
    let requestor = pac.read(BufferType::REQUESTOR, Requestor::parse).map_err(PacProblem::Malformed)?;

    let sid = info.and_then(|info| info.account_sid());
    let others = [upn_dns.and_then(|info| info.extended).map(|(_, sid)| sid), requestor.map(|Requestor(sid)| sid)];
    let mut known = sid;
    for other in others.into_iter().flatten() {
        if *known.get_or_insert(other) != other {
            return Err(PacProblem::Sid.into());
        }
    }
    let Some(info) = info else {
        return match policy {
            PacPolicy::Required => Err(missing(BufferType::LOGON_INFO).into()),
            PacPolicy::Optional => Ok((PacVerified(()), by_name(ticket)?)),
        };
    };
    if sid.is_none() {
        return Err(PacProblem::BufferMissing("SID of the account").into());
    }
    let not_utf8 = ParseError { format: "EncTicketPart", offset: 0, kind: ErrorKind::Value { what: "crealm" } };
    let realm = ticket.crealm.as_str().ok_or(not_utf8)?;
    let mut groups = Vec::with_capacity(info.group_count());
    // `extend` would ask the chain of three sources for one group at a time, which costs half as much again.
    info.groups().for_each(|group| {
        if group.grants() {
            groups.push(group.sid);
        }
    });
    let optional = |text: Utf16<'_>, what| if text.is_empty() { Ok(None) } else { name(text, what).map(Some) };
    let account = Account {
        name: name(info.effective_name, "EffectiveName")?,
        domain: name(info.logon_domain_name, "LogonDomainName")?,
        realm: Some(realm.to_owned()),
        upn: upn_dns.map_or(Ok(None), |info| optional(info.upn, "Upn"))?,
        display_name: optional(info.full_name, "FullName")?,
        sid,
    };
    Ok((PacVerified(()), Authorization { account, groups }))
}

/// The client as the ticket itself names it: no SID, no groups.
fn by_name(ticket: &EncTicketPart<'_>) -> Result<Authorization, Reason> {
    let principal = ticket.cname.to_principal(ticket.crealm)?;
    let account = Account {
        name: principal.components.join("/"),
        domain: principal.realm.clone(),
        realm: Some(principal.realm),
        ..Account::default()
    };
    Ok(Authorization { account, groups: Vec::new() })
}

/// Whoever reads the first and whoever reads the last of two buffers would take one ticket for two clients.
fn no_type_twice(pac: &Pac<'_>) -> Result<(), PacProblem> {
    for (index, buffer) in pac.buffers().enumerate() {
        if pac.buffers().take(index).any(|earlier| earlier.kind == buffer.kind) {
            return Err(PacProblem::BufferTwice(buffer.kind.name().unwrap_or("buffer of one unknown type")));
        }
    }
    Ok(())
}

fn verify_signatures(pac: &Pac<'_>, key: &ChecksumKey, kdc_keys: &[ChecksumKey]) -> Result<(), PacProblem> {
    verify_signature(pac, BufferType::SERVER_SIGNATURE, key)?;
    // It must be there whether it can be verified or not.
    Found::required(pac, BufferType::KDC_SIGNATURE)?;
    let by = |key: &ChecksumKey| {
        verify_signature(pac, BufferType::KDC_SIGNATURE, key)?;
        match verify_signature(pac, BufferType::FULL_SIGNATURE, key) {
            Err(PacProblem::BufferMissing(_)) => Ok(()),
            verdict => verdict,
        }
    };
    let mut verdict = Ok(());
    for key in kdc_keys {
        verdict = by(key);
        if verdict.is_ok() {
            break;
        }
    }
    verdict
}

/// Verifies one signature of a PAC: the server's under the key of the ticket's service, the KDC's or the extended one under
/// the KDC's (for key usage 17). The ticket signature covers what is not in the PAC, and is not verified here.
///
/// # Errors
/// [`PacProblem::BufferMissing`], [`PacProblem::SignatureType`] if it is not of the key's etype, or that it does not hold.
pub fn verify_signature(pac: &Pac<'_>, which: BufferType, key: &ChecksumKey) -> Result<(), PacProblem> {
    let signature = Found::required(pac, which)?;
    let server = Found::required(pac, BufferType::SERVER_SIGNATURE)?;
    let wrong =
        if which == BufferType::SERVER_SIGNATURE { PacProblem::ServerSignature } else { PacProblem::KdcSignature };
    if signature.checksum_type != key.etype().checksum_type() {
        let (found, etype) = (signature.checksum_type, key.etype().number());
        return Err(if which == BufferType::SERVER_SIGNATURE {
            PacProblem::SignatureType { found, etype }
        } else {
            wrong
        });
    }
    let verdict = match which {
        BufferType::KDC_SIGNATURE => key.verify(&[server.value], signature.value),
        BufferType::SERVER_SIGNATURE | BufferType::FULL_SIGNATURE => {
            let kdc = Found::required(pac, BufferType::KDC_SIGNATURE)?;
            let full = if which == BufferType::FULL_SIGNATURE { Some(signature) } else { None };
            key.verify(&Zeroed::new(pac.bytes(), [Some(server), Some(kdc), full]).parts(), signature.value)
        }
        _ => return Err(missing(which)),
    };
    verdict.map_err(|_| wrong)
}

/// A signature and where in the PAC its value stands.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) checksum_type: i32,
    pub(super) value: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Found<'a> {
    pub(super) fn read(pac: &Pac<'a>, kind: BufferType) -> Result<Option<Self>, PacProblem> {
        let Some(buffer) = pac.buffer(kind).map_err(PacProblem::Malformed)? else { return Ok(None) };
        let Signature { checksum_type, value, .. } =
            Signature::parse(buffer.data, buffer.offset).map_err(PacProblem::Malformed)?;
        // Of an unknown type nobody knows how much of the buffer is the signature.
        if signature::length(checksum_type).is_none() {
            let kind = ErrorKind::Value { what: "SignatureType" };
            return Err(PacProblem::Malformed(ParseError {
                format: "PAC_SIGNATURE_DATA",
                offset: buffer.offset,
                kind,
            }));
        }
        Ok(Some(Self { checksum_type, value, at: buffer.at + Signature::HEADER }))
    }

    fn required(pac: &Pac<'a>, kind: BufferType) -> Result<Self, PacProblem> {
        Self::read(pac, kind)?.ok_or(missing(kind))
    }
}

/// A PAC as a signature covers it: with zeros where signatures stand. Nothing is copied.
pub(super) struct Zeroed<'a> {
    bytes: &'a [u8],
    holes: [Option<Found<'a>>; 3],
}

impl<'a> Zeroed<'a> {
    pub(super) fn new(bytes: &'a [u8], mut holes: [Option<Found<'a>>; 3]) -> Self {
        holes.sort_unstable_by_key(|hole| hole.map_or(usize::MAX, |hole| hole.at));
        Self { bytes, holes }
    }

    pub(super) fn parts(&self) -> [&'a [u8]; 7] {
        let mut parts: [&[u8]; 7] = [&[]; 7];
        let mut from = 0;
        for (pair, hole) in parts.chunks_mut(2).zip(self.holes) {
            let ([before, zeros], Some(hole)) = (pair, hole) else { break };
            *before = self.bytes.get(from..hole.at).unwrap_or_default();
            *zeros = ZEROS.get(..hole.value.len()).unwrap_or_default();
            from = hole.at + hole.value.len();
        }
        parts[6] = self.bytes.get(from..).unwrap_or_default();
        parts
    }
}

fn verify_client(pac: &Pac<'_>, ticket: &EncTicketPart<'_>) -> Result<(), PacProblem> {
    let client = pac
        .read(BufferType::CLIENT_INFO, ClientInfo::parse)
        .map_err(PacProblem::Malformed)?
        .ok_or(missing(BufferType::CLIENT_INFO))?;
    let authtime = UnixTime::from_secs(ticket.authtime.0);
    if client.client_id == authtime.filetime() && names(client.name, ticket) {
        return Ok(());
    }
    Err(PacProblem::ClientInfo {
        ticket: format!("{}@{}, authenticated at {authtime}", ticket.cname, ticket.crealm),
        pac: format!("{}, authenticated at {}", client.name, UnixTime::from_filetime(client.client_id)),
    })
}

/// Whether `name` is the ticket's client: its components joined by `/`, alone or followed by `@` and the realm (S4U2Self
/// across realms). Exact, case included, as the KDC copies the one from the other.
fn names(name: Utf16<'_>, ticket: &EncTicketPart<'_>) -> bool {
    let mut rest = name.chars();
    let mut take = |text: &str| text.chars().all(|c| matches!(rest.next(), Some(Ok(found)) if found == c));
    for (index, component) in ticket.cname.components().enumerate() {
        let Some(component) = component.as_str() else { return false };
        if (index > 0 && !take("/")) || !take(component) {
            return false;
        }
    }
    match rest.next() {
        None => true,
        Some(Ok('@')) => {
            let mut realm = ticket.crealm.as_str().unwrap_or_default().chars();
            rest.all(|c| c.is_ok_and(|c| realm.next() == Some(c))) && realm.next().is_none()
        }
        Some(_) => false,
    }
}

/// A name for an [`Account`]. What cannot be a name of Windows - half a character, a control character - is not replaced
/// but refused: replaced, it could become somebody else's.
fn name(text: Utf16<'_>, what: &'static str) -> Result<String, PacProblem> {
    let kind = ErrorKind::Value { what };
    let wrong = PacProblem::Malformed(ParseError { format: "KERB_VALIDATION_INFO", offset: 0, kind });
    let mut name = String::with_capacity(text.bytes().len());
    for c in text.chars() {
        match c {
            Ok(c) if !c.is_control() => name.push(c),
            _ => return Err(wrong),
        }
    }
    if name.is_empty() && what == "EffectiveName" { Err(wrong) } else { Ok(name) }
}

const fn missing(kind: BufferType) -> PacProblem {
    PacProblem::BufferMissing(match kind.name() {
        Some(name) => name,
        None => "buffer",
    })
}

/// As many as the longest signature has bytes.
const ZEROS: [u8; 24] = [0; 24];

#[cfg(test)]
#[path = "pac_tests.rs"]
mod tests;
