//! Reading the messages of one Kerberos accept. `cargo bench -p iwa-wire --bench krb5`.

use divan::{Bencher, black_box};
use iwa_wire::gss::MechType;
use iwa_wire::krb5::ticket::TransitedEncoding;
use iwa_wire::krb5::token::{KrbToken, TokenId};
use iwa_wire::krb5::{
    ApReq, AuthDataElement, Authenticator, AuthorizationData, Checksum, EncTicketPart, EncryptedData, EncryptionKey,
    KerberosTime, PrincipalName, Ticket, TicketFlags,
};

fn main() {
    divan::main();
}

const NOW: KerberosTime = KerberosTime(1_700_000_000);

fn ap_req() -> Vec<u8> {
    let sealed = |cipher| EncryptedData { etype: 18, kvno: Some(5), cipher };
    let sname = PrincipalName::of(2, &["HTTP", "web.example.test"]);
    let ticket = Ticket::new("EXAMPLE.TEST".into(), sname, sealed(&[7; 1200]));
    let (mut message, mut token) = (Vec::new(), Vec::new());
    ApReq { ap_options: 0x2000_0000, ticket, authenticator: sealed(&[8; 300]) }.write(&mut message);
    KrbToken { mech: MechType::KRB5, id: TokenId::ApReq, message: &message, message_offset: 0 }.write(&mut token);
    token
}

#[divan::bench]
fn token_and_ap_req(bencher: Bencher<'_, '_>) {
    let token = ap_req();
    bencher.bench(|| {
        let token = KrbToken::parse(black_box(&token), 0).expect("it is a token");
        ApReq::parse(token.message).expect("it is an AP-REQ").authenticator.cipher.len()
    });
}

#[divan::bench]
fn enc_ticket_part(bencher: Bencher<'_, '_>) {
    let pac = [AuthDataElement { ad_type: 128, ad_data: &[9; 900] }];
    let mut inner = Vec::new();
    AuthorizationData::of(&pac).write(&mut inner);
    let outer = [AuthDataElement { ad_type: 1, ad_data: &inner }];
    let mut bytes = Vec::new();
    EncTicketPart {
        flags: TicketFlags::PRE_AUTHENT,
        key: EncryptionKey { etype: 18, value: &[1; 32] },
        crealm: "EXAMPLE.TEST".into(),
        cname: PrincipalName::of(1, &["alice"]),
        transited: TransitedEncoding::none(),
        authtime: NOW,
        starttime: Some(NOW),
        endtime: NOW,
        renew_till: Some(NOW),
        caddr: None,
        authorization_data: Some(AuthorizationData::of(&outer)),
    }
    .write(&mut bytes);
    bencher.bench(|| {
        let part = EncTicketPart::parse(black_box(&bytes)).expect("it is an EncTicketPart");
        part.authorization_data.and_then(|data| data.pac().ok().flatten()).map(<[u8]>::len)
    });
}

#[divan::bench]
fn authenticator(bencher: Bencher<'_, '_>) {
    let mut bytes = Vec::new();
    Authenticator {
        crealm: "EXAMPLE.TEST".into(),
        cname: PrincipalName::of(1, &["alice"]),
        cksum: Some(Checksum { cksumtype: 0x8003, checksum: &[0; 24] }),
        cusec: 1,
        ctime: NOW,
        subkey: Some(EncryptionKey { etype: 18, value: &[1; 32] }),
        seq_number: Some(7),
        authorization_data: None,
    }
    .write(&mut bytes);
    bencher.bench(|| Authenticator::parse(black_box(&bytes)).expect("it is an Authenticator").cusec);
}
