//! Reads some bytes and writes what was read: the writers against the parsers.

use iwa_wire::ccache::Ccache;
use iwa_wire::keytab::Keytab;
use iwa_wire::krb5::cfx::CfxToken;
use iwa_wire::krb5::token::KrbToken;
use iwa_wire::krb5::{
    ApRep, ApReq, Authenticator, AuthorizationData, EncApRepPart, EncKdcRepPart, EncKrbCredPart, EncTicketPart, KdcRep,
    KdcReq, KrbCred, KrbError, Ticket,
};
use iwa_wire::spnego::NegotiationToken;

/// `None` if the kind has no writer, or the bytes do not parse.
pub(crate) fn rewrite(kind: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    iwa_wire::sniff::check(kind, bytes)?.ok()?;
    let mut out = Vec::new();
    match kind {
        "spnego-init" | "spnego-resp" => match NegotiationToken::parse(bytes).ok()? {
            NegotiationToken::Init(init) if bytes.first() == Some(&0x60) => init.write(&mut out),
            NegotiationToken::Init(init) => init.write_bare(&mut out),
            NegotiationToken::Resp(resp) => resp.write(&mut out),
        },
        "gss-krb5-ap-req" | "gss-krb5-ap-rep" | "gss-krb5-error" => KrbToken::parse(bytes, 0).ok()?.write(&mut out),
        "gss-krb5-cfx" => CfxToken::parse(bytes).ok()?.write(&mut out),
        "ap-req" => ApReq::parse(bytes).ok()?.write(&mut out),
        "ap-rep" => ApRep::parse(bytes).ok()?.write(&mut out),
        "as-req" | "tgs-req" => KdcReq::parse(bytes).ok()?.write(&mut out),
        "as-rep" | "tgs-rep" => KdcRep::parse(bytes).ok()?.write(&mut out),
        "krb-error" => KrbError::parse(bytes).ok()?.write(&mut out),
        "krb-cred" => KrbCred::parse(bytes).ok()?.write(&mut out),
        "ticket" => Ticket::parse(bytes).ok()?.write(&mut out),
        "authenticator" => Authenticator::parse(bytes).ok()?.write(&mut out),
        "enc-ticket-part" => EncTicketPart::parse(bytes).ok()?.write(&mut out),
        "enc-as-rep-part" | "enc-tgs-rep-part" => EncKdcRepPart::parse(bytes).ok()?.write(&mut out),
        "enc-ap-rep-part" => EncApRepPart::parse(bytes).ok()?.write(&mut out),
        "enc-krb-cred-part" => EncKrbCredPart::parse(bytes).ok()?.write(&mut out),
        "authorization-data" => AuthorizationData::parse(bytes).ok()?.write(&mut out),
        "keytab" => {
            Keytab::write_head(&mut out);
            Keytab::parse(bytes).ok()?.entries().for_each(|entry| entry.write(&mut out));
        }
        "ccache" => {
            let cache = Ccache::parse(bytes).ok()?;
            Ccache::write_head(cache.principal, cache.time_offset, &mut out);
            cache.credentials().for_each(|credential| credential.write(&mut out));
        }
        _ => return None,
    }
    Some(out)
}

/// What is written reads, and writing it again changes nothing.
pub(crate) fn assert_stable(kind: &str, written: &[u8], name: &str) {
    assert!(
        iwa_wire::sniff::check(kind, written).is_some_and(|result| result.is_ok()),
        "{name}: what is written does not read"
    );
    assert_eq!(rewrite(kind, written).as_deref(), Some(written), "{name}: writing again changes it");
}
