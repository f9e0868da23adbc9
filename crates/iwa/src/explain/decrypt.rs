//! What a keytab opens: tickets, then with their session keys authenticators, replies and forwarded credentials; and
//! whether the signatures of the PAC hold.

use iwa_auth::krb5::etype::{Etype, Key};
use iwa_auth::krb5::{pac, usage};
use iwa_wire::explain::{Explain as _, Node};
use iwa_wire::header::decode_patiently;
use iwa_wire::keytab::{Entry, Keytab};
use iwa_wire::krb5::kdc::Exchange;
use iwa_wire::krb5::{ApRep, ApReq, Authenticator, EncApRepPart, EncKrbCredPart, EncTicketPart, EncryptedData};
use iwa_wire::krb5::{EncKdcRepPart, EncryptionKey, KdcRep, KrbCred, Ticket};
use iwa_wire::pac::{BufferType, Pac};

use super::Explained;

/// Keys of a keytab, and the session keys that were found with them so far.
pub(crate) struct Keys {
    long_term: Vec<LongTerm>,
    session: Vec<Key>,
}

struct LongTerm {
    principal: String,
    kvno: u32,
    etype: i32,
    /// `None` for an encryption type that is not implemented.
    key: Option<Key>,
}

impl Keys {
    /// The keys of a keytab file.
    ///
    /// # Errors
    /// A sentence for the person who named the file.
    pub(crate) fn read(keytab: &[u8]) -> Result<Self, String> {
        let keytab = Keytab::parse(keytab).map_err(|error| error.to_string())?;
        let long_term = keytab.entries().map(|entry| LongTerm {
            principal: entry.principal.to_string(),
            kvno: entry.kvno,
            etype: entry.etype,
            key: key_of(&entry),
        });
        Ok(Self { long_term: long_term.collect(), session: Vec::new() })
    }

    /// Decrypts what can be decrypted in `explained`, and adds it to the tree.
    pub(crate) fn open(&mut self, explained: &mut Explained) {
        self.walk(&mut explained.tree, &explained.bytes, usage::AP_REQ_AUTHENTICATOR);
    }

    /// `input` is what the ranges of `node` count in; `usage` that of an authenticator, which differs inside a TGS-REQ.
    fn walk(&mut self, node: &mut Node, input: &[u8], usage: u32) {
        let bytes = input.get(node.range.clone()).unwrap_or_default();
        match node.name.as_ref() {
            // A token in a header field: below it the ranges count in what it decodes to.
            "token" if node.spec == "RFC 4648 4" => {
                let decoded = decode_patiently(bytes);
                node.children.iter_mut().for_each(|child| self.walk(child, &decoded, usage));
                return;
            }
            "AP-REQ" => {
                if let Ok(message) = ApReq::parse(bytes) {
                    return self.ap_req(node, &message, usage);
                }
            }
            "AP-REP" => {
                if let Ok(message) = ApRep::parse(bytes) {
                    return self.ap_rep(node, &message);
                }
            }
            // In the checksum of an authenticator it has the name of its place.
            "KRB-CRED" | "Deleg" => {
                if let Ok(message) = KrbCred::parse(bytes) {
                    self.krb_cred(node, &message);
                }
            }
            "AS-REP" | "TGS-REP" => {
                if let Ok(message) = KdcRep::parse(bytes) {
                    self.kdc_rep(node, &message);
                }
            }
            "Ticket" | "ticket" => {
                if let Some(ticket) = ticket_in(bytes) {
                    return self.ticket(node, &ticket);
                }
            }
            _ => {}
        }
        let usage = if node.name == "TGS-REQ" { usage::TGS_REQ_AUTHENTICATOR } else { usage };
        node.children.iter_mut().for_each(|child| self.walk(child, input, usage));
    }

    fn ap_req(&mut self, node: &mut Node, message: &ApReq<'_>, usage: u32) {
        let before = self.session.len();
        if let Some(ticket) = child(node, "ticket") {
            self.ticket(ticket, &message.ticket);
        }
        let Some(place) = child(node, "authenticator") else { return };
        // The key of this ticket, or for user-to-user that of another one.
        let newest: Vec<Key> =
            self.session.iter().skip(before).chain(self.session.iter().take(before)).cloned().collect();
        let Some((key, plain)) = newest.iter().find_map(|key| Some((key, open(key, usage, &message.authenticator)?)))
        else {
            return;
        };
        let mut tree = Authenticator::explain(&plain, 0);
        tree.note =
            Some("decrypted with the session key of the ticket; the ranges below count in the plaintext".into());
        if let Some(subkey) = Authenticator::parse(&plain).ok().and_then(|it| it.subkey).and_then(session_key) {
            self.session.push(subkey);
        }
        self.session.push(key.clone());
        // Forwarded credentials stand in the checksum.
        self.walk(&mut tree, &plain, usage);
        place.children.push(tree);
    }

    fn ap_rep(&mut self, node: &mut Node, message: &ApRep<'_>) {
        let Some(plain) = self.session.iter().find_map(|key| open(key, usage::AP_REP, &message.enc_part)) else {
            return;
        };
        let mut tree = EncApRepPart::explain(&plain, 0);
        tree.note = Some("decrypted with the session key; the ranges below count in the plaintext".into());
        if let Some(place) = child(node, "enc-part") {
            place.children.push(tree);
        }
    }

    /// The part for the client: under its long-term key, or under the key of the TGT that it used.
    fn kdc_rep(&mut self, node: &mut Node, message: &KdcRep<'_>) {
        let (usages, keys): (&[u32], Vec<&Key>) = match message.exchange {
            Exchange::As => (&[usage::AS_REP], self.long_term.iter().filter_map(|entry| entry.key.as_ref()).collect()),
            Exchange::Tgs => (&[usage::TGS_REP_SESSION, usage::TGS_REP_SUBKEY], self.session.iter().collect()),
        };
        let attempts = keys.iter().flat_map(|key| usages.iter().map(move |usage| (key, *usage)));
        let Some(plain) = attempts.into_iter().find_map(|(key, usage)| open(key, usage, &message.enc_part)) else {
            return;
        };
        let mut tree = EncKdcRepPart::explain(&plain, 0);
        let whose = if message.exchange == Exchange::As { "client's key" } else { "key of the request" };
        tree.note = Some(format!("decrypted with the {whose}; the ranges below count in the plaintext"));
        self.session.extend(EncKdcRepPart::parse(&plain).ok().and_then(|part| session_key(part.key)));
        if let Some(place) = child(node, "enc-part") {
            place.children.push(tree);
        }
    }

    fn krb_cred(&mut self, node: &mut Node, message: &KrbCred<'_>) {
        let Some(plain) = self.session.iter().find_map(|key| open(key, usage::KRB_CRED, &message.enc_part)) else {
            return;
        };
        let mut tree = EncKrbCredPart::explain(&plain, 0);
        tree.note = Some("decrypted with the session key; the ranges below count in the plaintext".into());
        if let Some(place) = child(node, "enc-part") {
            place.children.push(tree);
        }
    }

    fn ticket(&mut self, node: &mut Node, ticket: &Ticket<'_>) {
        let wanted = format!("{}@{}", ticket.sname, ticket.realm);
        let part = &ticket.enc_part;
        let fits = |entry: &&LongTerm| entry.etype == part.etype;
        let mut candidates: Vec<&LongTerm> = self.long_term.iter().filter(fits).collect();
        // The key the ticket names first; then all others, because a key under a wrong name is a finding, too.
        candidates.sort_by_key(|entry| (entry.principal != wanted, Some(entry.kvno) != part.kvno));
        let opened = candidates.iter().find_map(|entry| {
            let key = entry.key.as_ref()?;
            Some((*entry, key, open(key, usage::TICKET, part)?))
        });
        let Some((entry, key, plain)) = opened else {
            node.note = Some(format!("not decrypted: {}", self.why_not(&wanted, part)));
            return;
        };
        let mut tree = EncTicketPart::explain(&plain, 0);
        tree.note = Some(format!(
            "decrypted with the key of {} kvno {}; the ranges below count in the plaintext",
            entry.principal, entry.kvno
        ));
        if let Ok(part) = EncTicketPart::parse(&plain) {
            if let Some(bytes) = part.authorization_data.and_then(|data| data.pac().ok().flatten()) {
                self.pac_signatures(&mut tree, bytes, key, &entry.principal);
            }
            self.session.extend(session_key(part.key));
        }
        node.children.push(tree);
    }

    fn why_not(&self, wanted: &str, part: &EncryptedData<'_>) -> String {
        let kvno = part.kvno.map_or_else(String::new, |kvno| format!(" kvno {kvno}"));
        let etype = iwa_wire::krb5::enc::etype_name(part.etype).map_or_else(|| part.etype.to_string(), str::to_owned);
        let ticket = format!("the ticket is for {wanted}{kvno} {etype}");
        let same: Vec<_> = self
            .long_term
            .iter()
            .filter(|entry| entry.principal == wanted)
            .map(|entry| format!("kvno {} etype {}", entry.kvno, entry.etype))
            .collect();
        if same.is_empty() {
            format!("{ticket}; the keytab has no key of that name")
        } else {
            format!("{ticket}; the keytab has of that name {}, and none of its keys opens it", same.join(", "))
        }
    }

    fn pac_signatures(&self, tree: &mut Node, bytes: &[u8], service: &Key, principal: &str) {
        let Ok(pac) = Pac::parse(bytes, 0) else { return };
        let checksum = service.checksum(usage::NON_KERBEROS_CHECKSUM);
        let verdict = match pac::verify_signature(&pac, BufferType::SERVER_SIGNATURE, &checksum) {
            Ok(()) => format!("holds under the key of {principal}"),
            Err(problem) => format!("DOES NOT HOLD: {problem}"),
        };
        note(tree, "server signature", &verdict);
        let krbtgt = self.long_term.iter().filter(|entry| entry.principal.starts_with("krbtgt/"));
        let kdc: Vec<_> = krbtgt.filter_map(|entry| Some((entry, entry.key.as_ref()?))).collect();
        for which in [BufferType::KDC_SIGNATURE, BufferType::FULL_SIGNATURE] {
            let name = which.name().unwrap_or_default();
            let holds = |(_, key): &&(&LongTerm, &Key)| {
                pac::verify_signature(&pac, which, &key.checksum(usage::NON_KERBEROS_CHECKSUM)).is_ok()
            };
            let verdict = match kdc.iter().find(holds) {
                Some((entry, _)) => format!("holds under the key of {} kvno {}", entry.principal, entry.kvno),
                None if kdc.is_empty() => "not verified: the keytab has no key of a krbtgt".to_owned(),
                None => "DOES NOT HOLD under any krbtgt key of the keytab".to_owned(),
            };
            note(tree, name, &verdict);
        }
    }
}

fn key_of(entry: &Entry<'_>) -> Option<Key> {
    Key::new(Etype::from_number(entry.etype)?, entry.key)
}

fn session_key(key: EncryptionKey<'_>) -> Option<Key> {
    Key::new(Etype::from_number(key.etype)?, key.value)
}

fn open(key: &Key, usage: u32, data: &EncryptedData<'_>) -> Option<Vec<u8>> {
    if key.etype().number() != data.etype {
        return None;
    }
    let mut scratch = Vec::new();
    key.decrypt(usage, data.cipher, &mut scratch).ok().map(<[u8]>::to_vec)
}

/// The ticket that `bytes` are, or that stands alone in their EXPLICIT tag.
fn ticket_in(bytes: &[u8]) -> Option<Ticket<'_>> {
    if bytes.first() == Some(&0x61) {
        return Ticket::parse(bytes).ok();
    }
    let mut der = iwa_wire::der::Der::new("Ticket", bytes, 0);
    Ticket::parse(der.any().ok()?.body).ok()
}

fn child<'a>(node: &'a mut Node, name: &str) -> Option<&'a mut Node> {
    node.children.iter_mut().find(|child| child.name == name)
}

/// Notes `verdict` at the first node of that name.
fn note(tree: &mut Node, name: &str, verdict: &str) -> bool {
    if tree.name == name {
        tree.note = Some(verdict.to_owned());
        return true;
    }
    tree.children.iter_mut().any(|child| note(child, name, verdict))
}
