//! Mints AP-REQs: tickets, PACs, authenticators and forwarded credentials as a KDC and a client make them, and with any
//! deviation that a test wants.
//!
//! ```
//! use iwa_testkit::mint::Mint;
//! use iwa_testkit::pair::{NOW, Seeded};
//!
//! // A ticket that ended an hour ago.
//! let token = Mint { endtime: NOW.secs() - 3600, ..Mint::new(NOW) }.token(&mut Seeded(1));
//! assert_eq!(token[0], 0x60);
//! ```

use iwa_auth::krb5::etype::{Etype, Key};
use iwa_auth::krb5::keys::{KeyEntry, Keys};
use iwa_auth::krb5::usage;
use iwa_auth::{Entropy, UnixTime};
use iwa_wire::Sid;
use iwa_wire::gss::MechType;
use iwa_wire::krb5::ap::ap_options;
use iwa_wire::krb5::authdata::ad_type;
use iwa_wire::krb5::checksum::{GSS_CHECKSUM, GssChecksum, gss_flags};
use iwa_wire::krb5::principal::name_type;
use iwa_wire::krb5::ticket::{HostAddress, TransitedEncoding};
use iwa_wire::krb5::token::{KrbToken, TokenId};
use iwa_wire::krb5::{
    ApReq, AuthDataElement, Authenticator, AuthorizationData, Checksum, EncKrbCredPart, EncTicketPart, EncryptedData,
    EncryptionKey, KerberosTime, KrbCred, KrbCredInfo, Principal, SequenceOf, Ticket, TicketFlags,
};
use iwa_wire::pac::logon_info::NewLogonInfo;
use iwa_wire::pac::{self, BufferType, ClientInfo, Pac, Requestor, Signature, UpnDnsInfo};

/// The realm of the tests.
pub const REALM: &str = "EXAMPLE.TEST";
/// The host of the tests.
pub const HOST: &str = "web.example.test";

/// An AP-REQ to be made. Every field may be set to what it should not be.
#[derive(Clone, Debug)]
pub struct Mint {
    /// The service that the ticket names.
    pub service: Principal,
    /// The key number that the ticket names.
    pub kvno: Option<u32>,
    /// The key under which the ticket is.
    pub service_key: Key,
    /// The etype that the ticket names, if not that of its key.
    pub ticket_etype: Option<i32>,
    /// The ticket's client.
    pub client: Principal,
    /// The ticket's flags.
    pub flags: TicketFlags,
    /// The session key.
    pub session: Key,
    /// `authtime`, in seconds since 1970.
    pub authtime: i64,
    /// `starttime`.
    pub starttime: Option<i64>,
    /// `endtime`.
    pub endtime: i64,
    /// `caddr`: types and addresses.
    pub addresses: Option<Vec<(i32, Vec<u8>)>>,
    /// `transited`.
    pub transited: Vec<u8>,
    /// The PAC.
    pub pac: MintPac,
    /// `authorization-data` whole, in the place of one with the PAC.
    pub authorization_data: Option<Vec<u8>>,
    /// The plaintext of the ticket's encrypted part whole, in the place of one made of these fields.
    pub ticket_plain: Option<Vec<u8>>,
    /// The authenticator's plaintext whole, in the place of one made of these fields.
    pub authenticator_plain: Option<Vec<u8>>,
    /// The authenticator's client, if not the ticket's.
    pub authenticator_client: Option<Principal>,
    /// The key under which the authenticator is, if not the session key.
    pub authenticator_key: Option<Key>,
    /// The client's clock.
    pub made: UnixTime,
    /// The authenticator's checksum.
    pub checksum: MintChecksum,
    /// The channel bindings in the checksum 0x8003.
    pub bindings: [u8; 16],
    /// Whether the client says that it knows of channel bindings: `KERB_AP_OPTIONS_CBT` (MS-KILE 2.2.5).
    pub says_cbt: bool,
    /// The flags in the checksum 0x8003; `DELEG` follows from [`Mint::delegated`].
    pub gss_flags: u32,
    /// A KRB-CRED in the checksum 0x8003.
    pub delegated: Option<Vec<u8>>,
    /// The initiator's subkey.
    pub subkey: Option<Key>,
    /// The initiator's first sequence number.
    pub sequence: Option<u32>,
    /// `ap-options`.
    pub ap_options: u32,
    /// The mechanism's OID in the framing; `None` leaves the framing out.
    pub mechanism: Option<MechType<'static>>,
    /// The token identifier in the framing.
    pub token_id: TokenId,
}

/// The PAC of a minted ticket.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a test has few of them, and writes them without boxes")]
pub enum MintPac {
    /// None.
    Absent,
    /// These bytes.
    Bytes(Vec<u8>),
    /// One with this content, signed as it should be.
    Signed(PacContent),
}

/// What a minted PAC says.
#[derive(Clone, Debug)]
pub struct PacContent {
    /// `sAMAccountName`.
    pub name: String,
    /// The name in `PAC_CLIENT_INFO`.
    pub client: String,
    /// The domain's SID.
    pub domain: Sid,
    /// The account's RID.
    pub rid: u32,
    /// RIDs of groups in the domain.
    pub groups: Vec<u32>,
    /// Other groups.
    pub extra_sids: Vec<Sid>,
    /// The SID in `PAC_REQUESTOR`, if not the account's.
    pub requestor: Option<Sid>,
    /// The key of the server signature, if not the service's.
    pub server_key: Option<Key>,
    /// The KDC's key.
    pub kdc_key: Key,
}

/// The checksum of a minted authenticator.
#[derive(Clone, Debug)]
pub enum MintChecksum {
    /// None.
    Absent,
    /// 0x8003 with the content that [`Mint`] describes.
    Gss,
    /// This type with these bytes.
    Raw(i32, Vec<u8>),
}

/// A key of repeated bytes.
///
/// # Panics
/// Never: the length is that of the etype.
#[must_use]
pub fn key(etype: Etype, fill: u8) -> Key {
    Key::new(etype, &vec![fill; etype.key_size()]).expect("the length is that of the etype")
}

/// The key of the test realm's KDC.
#[must_use]
pub fn kdc_key() -> Key {
    key(Etype::Aes256CtsHmacSha1, 0x4b)
}

/// The keytab that fits [`Mint::new`]: `HTTP/web.example.test`, kvno 4, all etypes.
#[must_use]
pub fn keytab() -> Keys {
    let service = Principal::service("HTTP", HOST, REALM);
    let keys: Vec<Key> = Etype::ALL.into_iter().map(|etype| key(etype, 4)).collect();
    Keys::new(keys.iter().map(|key| KeyEntry {
        name: service.name(),
        realm: service.realm(),
        kvno: 4,
        etype: key.etype().number(),
        key: key.expose(),
    }))
}

impl PacContent {
    /// Alice of `EXAMPLE`, member of Domain Users.
    ///
    /// # Panics
    /// Never: the SID is short.
    #[must_use]
    pub fn new() -> Self {
        Self {
            name: "alice".to_owned(),
            client: "alice".to_owned(),
            domain: Sid::new(5, &[21, 1, 2, 3]).expect("the SID is short"),
            rid: 1105,
            groups: vec![513],
            extra_sids: Vec::new(),
            requestor: None,
            server_key: None,
            kdc_key: kdc_key(),
        }
    }

    /// With so many groups, all of the domain.
    #[must_use]
    pub fn with_groups(count: u32) -> Self {
        Self { groups: (0..count).map(|n| 2000 + n).collect(), ..Self::new() }
    }

    /// The buffers, without signatures.
    fn buffers(&self, authtime: UnixTime) -> Vec<(BufferType, Vec<u8>)> {
        let sid = self.domain.with_rid(self.rid).expect("the SID is short");
        let mut logon_info = Vec::new();
        NewLogonInfo {
            effective_name: &self.name,
            full_name: "Alice Example",
            logon_server: "KDC",
            logon_domain_name: "EXAMPLE",
            logon_domain_id: self.domain,
            user_id: self.rid,
            primary_group_id: 513,
            group_ids: &self.groups,
            extra_sids: &self.extra_sids,
            user_account_control: 0x10,
            logon_time: authtime.filetime(),
            password_last_set: 0,
        }
        .write(&mut logon_info);
        let (mut client_info, mut upn, mut requestor) = (Vec::new(), Vec::new(), Vec::new());
        ClientInfo::write(authtime.filetime(), &self.client, &mut client_info);
        let upn_text = format!("{}@example.test", self.name);
        UpnDnsInfo::write(&upn_text, REALM, 0, &self.name, &sid, &mut upn).expect("the names are short");
        Requestor(self.requestor.unwrap_or(sid)).write(&mut requestor);
        vec![
            (BufferType::LOGON_INFO, logon_info),
            (BufferType::CLIENT_INFO, client_info),
            (BufferType::UPN_DNS_INFO, upn),
            (BufferType::REQUESTOR, requestor),
        ]
    }

    /// The PAC of a ticket under `service_key`.
    ///
    /// # Panics
    /// Never: it reads what it wrote.
    #[must_use]
    pub fn sign(&self, service_key: &Key, authtime: UnixTime) -> Vec<u8> {
        let server_key = self.server_key.as_ref().unwrap_or(service_key);
        let mut buffers = self.buffers(authtime);
        for (kind, key) in [(BufferType::SERVER_SIGNATURE, server_key), (BufferType::KDC_SIGNATURE, &self.kdc_key)] {
            let mut zeroed = Vec::new();
            Signature::write_zeroed(key.etype().checksum_type(), &mut zeroed).expect("the type is known");
            buffers.push((kind, zeroed));
        }
        let mut bytes = pac::write(&buffers);
        let of_server = server_key.checksum(usage::NON_KERBEROS_CHECKSUM).compute(&[&bytes]);
        let of_kdc = self.kdc_key.checksum(usage::NON_KERBEROS_CHECKSUM).compute(&[&of_server]);
        for (kind, value) in [(BufferType::SERVER_SIGNATURE, of_server), (BufferType::KDC_SIGNATURE, of_kdc)] {
            let pac = Pac::parse(&bytes, 0).expect("it was just written");
            let buffer = pac.buffer(kind).expect("it stands once").expect("it was just written");
            let at = buffer.at + Signature::HEADER;
            bytes[at..at + value.len()].copy_from_slice(&value);
        }
        bytes
    }
}

impl Default for PacContent {
    fn default() -> Self {
        Self::new()
    }
}

impl Mint {
    /// What a good client sends at `now`: AES-256, kvno 4, a PAC, a subkey, no mutual authentication.
    #[must_use]
    pub fn new(now: UnixTime) -> Self {
        let aes = Etype::Aes256CtsHmacSha1;
        Self {
            service: Principal::service("HTTP", HOST, REALM),
            kvno: Some(4),
            service_key: key(aes, 4),
            ticket_etype: None,
            client: Principal::user("alice", REALM),
            flags: TicketFlags::PRE_AUTHENT,
            session: key(aes, 0x5e),
            authtime: now.secs() - 600,
            starttime: Some(now.secs() - 60),
            endtime: now.secs() + 36_000,
            addresses: None,
            transited: Vec::new(),
            pac: MintPac::Signed(PacContent::new()),
            authorization_data: None,
            ticket_plain: None,
            authenticator_plain: None,
            authenticator_client: None,
            authenticator_key: None,
            made: now,
            checksum: MintChecksum::Gss,
            bindings: [0; 16],
            says_cbt: false,
            gss_flags: gss_flags::INTEG | gss_flags::CONF,
            delegated: None,
            subkey: Some(key(aes, 0x5b)),
            sequence: Some(77),
            ap_options: 0,
            mechanism: Some(MechType::KRB5),
            token_id: TokenId::ApReq,
        }
    }

    /// All of it of one etype: service key, session key, subkey.
    #[must_use]
    pub fn of_etype(now: UnixTime, etype: Etype) -> Self {
        Self { service_key: key(etype, 4), session: key(etype, 0x5e), subkey: Some(key(etype, 0x5b)), ..Self::new(now) }
    }

    /// Asks for an AP-REP.
    #[must_use]
    pub fn mutual(self) -> Self {
        Self {
            ap_options: self.ap_options | ap_options::MUTUAL_REQUIRED,
            gss_flags: self.gss_flags | gss_flags::MUTUAL,
            ..self
        }
    }

    /// The plaintext of the ticket's encrypted part.
    ///
    /// # Panics
    /// If [`Mint::authorization_data`] is none.
    #[must_use]
    pub fn enc_ticket_part(&self) -> Vec<u8> {
        if let Some(plain) = &self.ticket_plain {
            return plain.clone();
        }
        let pac = match &self.pac {
            MintPac::Absent => None,
            MintPac::Bytes(bytes) => Some(bytes.clone()),
            MintPac::Signed(content) => Some(content.sign(&self.service_key, UnixTime::from_secs(self.authtime))),
        };
        let mut relevant = Vec::new();
        if let Some(pac) = &pac {
            let element = [AuthDataElement { ad_type: ad_type::WIN2K_PAC, ad_data: pac }];
            AuthorizationData::of(&element).write(&mut relevant);
        }
        let elements = [AuthDataElement { ad_type: ad_type::IF_RELEVANT, ad_data: &relevant }];
        let mut authorization_data = pac.is_some().then_some(AuthorizationData::of(&elements));
        if let Some(bytes) = &self.authorization_data {
            authorization_data = Some(AuthorizationData::parse(bytes).expect("it is authorization data"));
        }
        let addresses: Vec<_> =
            self.addresses.iter().flatten().map(|(t, a)| HostAddress { addr_type: *t, address: a }).collect();
        let part = EncTicketPart {
            flags: self.flags,
            key: EncryptionKey { etype: self.session.etype().number(), value: self.session.expose() },
            crealm: self.client.realm(),
            cname: self.client.name(),
            transited: TransitedEncoding { tr_type: 1, contents: &self.transited },
            authtime: KerberosTime(self.authtime),
            starttime: self.starttime.map(KerberosTime),
            endtime: KerberosTime(self.endtime),
            renew_till: None,
            caddr: self.addresses.as_ref().map(|_| SequenceOf::of(&addresses)),
            authorization_data,
        };
        let mut plain = Vec::new();
        part.write(&mut plain);
        plain
    }

    /// The ticket, encoded.
    ///
    /// # Panics
    /// If the source of randomness has none.
    #[must_use]
    pub fn ticket(&self, entropy: &mut dyn Entropy) -> Vec<u8> {
        let cipher = encrypt(&self.service_key, usage::TICKET, &self.enc_ticket_part(), entropy);
        let etype = self.ticket_etype.unwrap_or(self.service_key.etype().number());
        let enc_part = EncryptedData { etype, kvno: self.kvno, cipher: &cipher };
        let mut out = Vec::new();
        Ticket::new(self.service.realm(), self.service.name(), enc_part).write(&mut out);
        out
    }

    /// The AP-REQ, without framing.
    ///
    /// # Panics
    /// If the source of randomness has none.
    #[must_use]
    pub fn ap_req(&self, entropy: &mut dyn Entropy) -> Vec<u8> {
        let ticket = self.ticket(entropy);
        self.ap_req_with(&ticket, entropy)
    }

    /// The authenticator's plaintext.
    #[must_use]
    pub fn authenticator(&self) -> Vec<u8> {
        if let Some(plain) = &self.authenticator_plain {
            return plain.clone();
        }
        let client = self.authenticator_client.as_ref().unwrap_or(&self.client);
        let mut gss = Vec::new();
        GssChecksum {
            bindings: self.bindings,
            flags: self.gss_flags,
            delegated: self.delegated.as_deref(),
            extensions: &[],
        }
        .write(&mut gss);
        let options = [AuthDataElement { ad_type: ad_type::AP_OPTIONS, ad_data: &0x4000_u32.to_le_bytes() }];
        let mut relevant = Vec::new();
        AuthorizationData::of(&options).write(&mut relevant);
        let elements = [AuthDataElement { ad_type: ad_type::IF_RELEVANT, ad_data: &relevant }];
        let authenticator = Authenticator {
            crealm: client.realm(),
            cname: client.name(),
            cksum: match &self.checksum {
                MintChecksum::Absent => None,
                MintChecksum::Gss => Some(Checksum { cksumtype: GSS_CHECKSUM, checksum: &gss }),
                MintChecksum::Raw(cksumtype, checksum) => Some(Checksum { cksumtype: *cksumtype, checksum }),
            },
            cusec: self.made.subsec_micros(),
            ctime: KerberosTime(self.made.secs()),
            subkey: self.subkey.as_ref().map(|key| EncryptionKey { etype: key.etype().number(), value: key.expose() }),
            seq_number: self.sequence,
            authorization_data: self.says_cbt.then_some(AuthorizationData::of(&elements)),
        };
        let mut plain = Vec::new();
        authenticator.write(&mut plain);
        plain
    }

    /// An AP-REQ with a ticket that is there already, as a client makes one after the other.
    ///
    /// # Panics
    /// If the ticket is none, or the source of randomness has none.
    #[must_use]
    pub fn ap_req_with(&self, ticket: &[u8], entropy: &mut dyn Entropy) -> Vec<u8> {
        let plain = self.authenticator();
        let key = self.authenticator_key.as_ref().unwrap_or(&self.session);
        let cipher = encrypt(key, usage::AP_REQ_AUTHENTICATOR, &plain, entropy);
        let mut out = Vec::new();
        ApReq {
            ap_options: self.ap_options,
            ticket: Ticket::parse(ticket).expect("the ticket is one"),
            authenticator: EncryptedData { etype: key.etype().number(), kvno: None, cipher: &cipher },
        }
        .write(&mut out);
        out
    }

    /// The token as it goes over the wire.
    ///
    /// # Panics
    /// If the source of randomness has none.
    #[must_use]
    pub fn token(&self, entropy: &mut dyn Entropy) -> Vec<u8> {
        let ap_req = self.ap_req(entropy);
        self.framed(&ap_req)
    }

    /// A message in the framing that is asked for.
    #[must_use]
    pub fn framed(&self, message: &[u8]) -> Vec<u8> {
        let Some(mechanism) = self.mechanism else { return message.to_vec() };
        let mut out = Vec::new();
        KrbToken::frame(mechanism, self.token_id, &mut out, |w| w.raw(message));
        out
    }
}

/// A KRB-CRED of a TGT of `client` that ends at `endtime`, under `key`, for [`Mint::delegated`].
///
/// # Panics
/// If the source of randomness has none.
#[must_use]
pub fn krb_cred(client: &Principal, endtime: i64, key: &Key, entropy: &mut dyn Entropy) -> Vec<u8> {
    let tgs = Principal::krbtgt(REALM, REALM);
    let session = self::key(Etype::Aes256CtsHmacSha1, 0xdd);
    let info = [KrbCredInfo {
        key: EncryptionKey { etype: session.etype().number(), value: session.expose() },
        prealm: Some(client.realm()),
        pname: Some(client.name()),
        flags: Some(TicketFlags::FORWARDED),
        authtime: Some(KerberosTime(endtime - 36_000)),
        starttime: Some(KerberosTime(endtime - 36_000)),
        endtime: Some(KerberosTime(endtime)),
        renew_till: None,
        srealm: Some(tgs.realm()),
        sname: Some(tgs.name()),
        caddr: None,
    }];
    let part = EncKrbCredPart {
        ticket_info: SequenceOf::of(&info),
        nonce: None,
        timestamp: None,
        usec: None,
        s_address: None,
        r_address: None,
    };
    let mut plain = Vec::new();
    part.write(&mut plain);
    let cipher = encrypt(key, usage::KRB_CRED, &plain, entropy);
    let etype = Etype::Aes256CtsHmacSha1.number();
    let tickets = [Ticket::new(tgs.realm(), tgs.name(), EncryptedData { etype, kvno: Some(1), cipher: &[0xee; 60] })];
    let mut out = Vec::new();
    let enc_part = EncryptedData { etype: key.etype().number(), kvno: None, cipher: &cipher };
    KrbCred { tickets: SequenceOf::of(&tickets), enc_part }.write(&mut out);
    out
}

/// A client of another realm or name, by its components.
#[must_use]
pub fn principal(components: &[&str], realm: &str) -> Principal {
    Principal {
        name_type: name_type::PRINCIPAL,
        components: components.iter().map(|&component| component.to_owned()).collect(),
        realm: realm.to_owned(),
    }
}

fn encrypt(key: &Key, usage: u32, plain: &[u8], entropy: &mut dyn Entropy) -> Vec<u8> {
    let mut out = Vec::new();
    key.encrypt(usage, plain, entropy, &mut out).expect("the source of randomness has some");
    out
}
