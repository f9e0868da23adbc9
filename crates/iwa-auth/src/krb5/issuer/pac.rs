//! Making a PAC: logon information, names, requestor, and the four signatures. MS-PAC 2.8, MS-KILE 3.3.5.6.4.

use iwa_wire::pac::{
    self, Attributes, BufferType, ClientInfo, Pac, Requestor, Signature, UpnDnsInfo, logon_info::NewLogonInfo,
};
use iwa_wire::{ParseError, Sid};

use crate::env::UnixTime;
use crate::krb5::etype::ChecksumKey;
use crate::krb5::pac::Found;
use crate::reject::PacProblem;

/// A PAC on its way: buffers with their types.
pub(crate) type Buffers = Vec<(BufferType, Vec<u8>)>;

/// What a PAC says of an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PacAccount {
    /// `sAMAccountName`.
    pub name: String,
    /// The display name; may be empty.
    pub display_name: String,
    /// The user principal name; if empty it is made of the name and the DNS domain.
    pub upn: String,
    /// The NetBIOS name of the account's domain.
    pub domain: String,
    /// The DNS name of the account's domain, in capitals: the realm.
    pub dns_domain: String,
    /// The NetBIOS name of the KDC.
    pub server: String,
    /// The SID of the account's domain.
    pub domain_sid: Sid,
    /// The account's RID.
    pub rid: u32,
    /// The RID of its primary group.
    pub primary_group: u32,
    /// The RIDs of its groups in its domain.
    pub groups: Vec<u32>,
    /// Its other groups.
    pub extra_sids: Vec<Sid>,
    /// `UserAccountControl` (MS-SAMR 2.2.1.12).
    pub user_account_control: u32,
    /// When the password was set.
    pub password_set: UnixTime,
}

impl PacAccount {
    /// The account's SID; `None` if the domain's has no room for a RID.
    #[must_use]
    pub fn sid(&self) -> Option<Sid> {
        self.domain_sid.with_rid(self.rid)
    }
}

/// The buffers of a TGT's PAC, without signatures. `cname` and `authtime` are the ticket's.
///
/// # Errors
/// Names that are too long for `UPN_DNS_INFO`; a domain SID without room for a RID.
pub(crate) fn buffers(
    account: &PacAccount,
    cname: &str,
    authtime: UnixTime,
    attributes: Attributes,
) -> Result<Buffers, ParseError> {
    let kind = iwa_wire::ErrorKind::Limit { what: "SID sub-authorities", limit: Sid::MAX_SUB_AUTHORITIES };
    let sid = account.sid().ok_or(ParseError { format: "SID", offset: 0, kind })?;
    let mut logon_info = Vec::new();
    NewLogonInfo {
        effective_name: &account.name,
        full_name: &account.display_name,
        logon_server: &account.server,
        logon_domain_name: &account.domain,
        logon_domain_id: account.domain_sid,
        user_id: account.rid,
        primary_group_id: account.primary_group,
        group_ids: &account.groups,
        extra_sids: &account.extra_sids,
        user_account_control: account.user_account_control,
        logon_time: authtime.filetime(),
        password_last_set: account.password_set.filetime(),
    }
    .write(&mut logon_info);
    let mut client_info = Vec::new();
    ClientInfo::write(authtime.filetime(), cname, &mut client_info);
    let mut upn_dns = Vec::new();
    let constructed = format!("{}@{}", account.name, account.dns_domain.to_lowercase());
    let (upn, flags) = match account.upn.as_str() {
        "" => (constructed.as_str(), UpnDnsInfo::UPN_CONSTRUCTED),
        upn => (upn, 0),
    };
    UpnDnsInfo::write(upn, &account.dns_domain, flags, &account.name, &sid, &mut upn_dns)?;
    let mut attributes_info = Vec::new();
    attributes.write(&mut attributes_info);
    let mut requestor = Vec::new();
    Requestor(sid).write(&mut requestor);
    Ok(vec![
        (BufferType::LOGON_INFO, logon_info),
        (BufferType::CLIENT_INFO, client_info),
        (BufferType::UPN_DNS_INFO, upn_dns),
        (BufferType::ATTRIBUTES, attributes_info),
        (BufferType::REQUESTOR, requestor),
    ])
}

/// The buffers of a service ticket: without what is for the KDC alone.
pub(crate) fn for_service(mut buffers: Buffers) -> Buffers {
    buffers.retain(|(kind, _)| ![BufferType::ATTRIBUTES, BufferType::REQUESTOR].contains(kind));
    buffers
}

/// Puts the buffers together and signs them: with the server's key and the KDC's (both for key usage 17).
///
/// `ticket` is the encrypted part of a service ticket with a single zero byte in the PAC's place; it is `None` for a TGT,
/// which has neither ticket signature nor extended KDC signature.
///
/// # Errors
/// None that this crate's checksum types can give.
pub(crate) fn sign(
    mut buffers: Buffers,
    server: &ChecksumKey,
    kdc: &ChecksumKey,
    ticket: Option<&[u8]>,
) -> Result<Vec<u8>, PacProblem> {
    let mut add = |kind, key: &ChecksumKey| {
        let mut zeroed = Vec::new();
        Signature::write_zeroed(key.etype().checksum_type(), &mut zeroed).map_err(PacProblem::Malformed)?;
        buffers.push((kind, zeroed));
        Ok(())
    };
    if ticket.is_some() {
        add(BufferType::TICKET_SIGNATURE, kdc)?;
        add(BufferType::FULL_SIGNATURE, kdc)?;
    }
    add(BufferType::SERVER_SIGNATURE, server)?;
    add(BufferType::KDC_SIGNATURE, kdc)?;
    let mut bytes = pac::write(&buffers);

    // In this order, because each covers those before it, and each field is zero until it is its turn.
    if let Some(ticket) = ticket {
        let value = kdc.compute(&[ticket]);
        put(&mut bytes, BufferType::TICKET_SIGNATURE, &value)?;
        let value = kdc.compute(&[&bytes]);
        put(&mut bytes, BufferType::FULL_SIGNATURE, &value)?;
    }
    let of_server = server.compute(&[&bytes]);
    put(&mut bytes, BufferType::SERVER_SIGNATURE, &of_server)?;
    let value = kdc.compute(&[&of_server]);
    put(&mut bytes, BufferType::KDC_SIGNATURE, &value)?;
    Ok(bytes)
}

fn put(bytes: &mut [u8], kind: BufferType, value: &[u8]) -> Result<(), PacProblem> {
    let pac = Pac::parse(bytes, 0).map_err(PacProblem::Malformed)?;
    let missing = PacProblem::BufferMissing(kind.name().unwrap_or("signature"));
    let Found { at, value: place, .. } = Found::read(&pac, kind)?.ok_or_else(|| missing.clone())?;
    let end = at + place.len();
    match bytes.get_mut(at..end) {
        Some(place) if place.len() == value.len() => place.copy_from_slice(value),
        _ => return Err(missing),
    }
    Ok(())
}

/// Verifies the ticket signature of a service ticket's PAC: `ticket` is its encrypted part with a single zero byte in the
/// PAC's place (MS-PAC 2.8.3).
///
/// # Errors
/// There is none, or it does not verify.
#[cfg_attr(not(test), expect(dead_code, reason = "constrained delegation is not issued here"))]
pub(crate) fn verify_ticket_signature(pac: &Pac<'_>, kdc: &ChecksumKey, ticket: &[u8]) -> Result<(), PacProblem> {
    let found = Found::read(pac, BufferType::TICKET_SIGNATURE)?
        .filter(|found| found.checksum_type == kdc.etype().checksum_type())
        .ok_or(PacProblem::BufferMissing("ticket signature"))?;
    kdc.verify(&[ticket], found.value).map_err(|_| PacProblem::KdcSignature)
}
