//! Credentials that a client forwards in its authenticator's checksum: a KRB-CRED. RFC 4121 4.1.1, RFC 4120 3.6, 5.8.

use iwa_wire::krb5::{EncKrbCredPart, KerberosTime, KrbCred, KrbCredInfo, Principal, Ticket, TicketFlags};
use zeroize::Zeroizing;

use crate::krb5::client::Credential;
use crate::krb5::etype::{Etype, Key, ProtocolKey};
use crate::krb5::usage;
use crate::reject::Peer;

/// What a client forwarded: its own TGT, with which the server can act in its name until the TGT ends.
#[derive(Clone, Debug)]
pub struct Delegated {
    /// The tickets with their session keys, as they go into a credential cache. At least one.
    pub credentials: Vec<Credential>,
}

impl Delegated {
    /// Decrypts under the session key, as RFC 4121 has it, or the initiator's subkey, as some clients do.
    pub(super) fn decrypt(bytes: &[u8], session: &ProtocolKey, subkey: Option<&Key>) -> Result<Self, Peer> {
        let krb_cred = KrbCred::parse(bytes).map_err(|_| bad("the forwarded credentials are no KRB-CRED"))?;
        let mut plain = Zeroizing::new(Vec::new());
        let cipher = krb_cred.enc_part.cipher;
        let etype = krb_cred.enc_part.etype;
        let specific = session.specific(usage::KRB_CRED);
        // Etype 0 would be no encryption at all; the etype that counts is that of the key.
        let mut opened = etype == session.etype().number() && specific.decrypt(cipher, &mut plain).is_ok();
        let mut used = specific;
        if let Some(subkey) = subkey.filter(|subkey| !opened && etype == subkey.etype().number()) {
            used = subkey.specific(usage::KRB_CRED);
            opened = used.decrypt(cipher, &mut plain).is_ok();
        }
        if !opened {
            return Err(bad("the forwarded credentials do not decrypt under the session key"));
        }
        let part = plain.get(used.plaintext_range(plain.len())).unwrap_or_default();
        let part = EncKrbCredPart::parse(part).map_err(|_| bad("the forwarded credentials are malformed inside"))?;
        let (mut infos, mut credentials) = (part.ticket_info.iter(), Vec::new());
        for ticket in krb_cred.tickets.iter() {
            let info = infos.next().ok_or(bad("the forwarded credentials have a ticket without a key"))?;
            credentials.push(credential(&ticket, &info)?);
        }
        if credentials.is_empty() || infos.next().is_some() {
            return Err(bad("the forwarded credentials have a key without a ticket, or none at all"));
        }
        Ok(Self { credentials })
    }
}

fn credential(ticket: &Ticket<'_>, info: &KrbCredInfo<'_>) -> Result<Credential, Peer> {
    let incomplete = bad("the forwarded credentials do not name their owner");
    let principal = |name: Option<iwa_wire::krb5::PrincipalName<'_>>, realm| -> Result<Principal, Peer> {
        match (name, realm) {
            (Some(name), Some(realm)) => name.to_principal(realm).map_err(|_| bad("a forwarded name is not UTF-8")),
            _ => Err(incomplete.clone()),
        }
    };
    let etype = Etype::from_number(info.key.etype);
    let authtime = info.authtime.or(info.starttime).unwrap_or(KerberosTime(0));
    Ok(Credential {
        client: principal(info.pname, info.prealm)?,
        server: principal(info.sname.or(Some(ticket.sname)), info.srealm.or(Some(ticket.realm)))?,
        key: etype
            .and_then(|etype| Key::new(etype, info.key.value))
            .ok_or(bad("the forwarded session key is of an unknown etype"))?,
        flags: info.flags.unwrap_or(TicketFlags(0)),
        authtime,
        starttime: info.starttime.unwrap_or(authtime),
        endtime: info.endtime.ok_or(bad("the forwarded credentials do not say when they end"))?,
        renew_till: info.renew_till,
        ticket: ticket.raw().to_vec(),
        clock_offset: 0,
    })
}

const fn bad(what: &'static str) -> Peer {
    Peer::GssChecksum { what }
}
