//! Every PAC and PAC buffer of the corpus is read as its header says.
#![allow(clippy::unwrap_used)]

use iwa_auth::krb5::etype::{Etype, Key};
use iwa_auth::krb5::pac::verify_signature;
use iwa_auth::krb5::usage;
use iwa_testkit::corpus::{load, of_kind};
use iwa_wire::explain::Explain as _;
use iwa_wire::pac::{
    self, Attributes, BufferType, ClientInfo, DelegationInfo, LogonInfo, Pac, Requestor, Signature, UpnDnsInfo,
};

#[test]
fn every_pac_of_the_corpus_is_read_as_others_read_it() {
    let items = of_kind("pac");
    for item in &items {
        let name = &item.name;
        let pac = Pac::parse(&item.data, 0).unwrap_or_else(|error| panic!("{name}: {error}"));
        let node = Pac::explain(&item.data, 0);
        assert_eq!(node.first_error(), None, "{name}");
        let expect = |header: &str, found: String| {
            if let Some(wanted) = item.header(header) {
                assert_eq!(found, wanted, "{name}: {header}");
            }
        };
        let table: Vec<_> = pac.buffers().map(|b| format!("{}:{}", b.kind.0, b.data.len())).collect();
        expect("decoded-pac-buffers", table.join(","));
        if let Some(info) = pac.read(BufferType::LOGON_INFO, LogonInfo::parse).unwrap() {
            expect("decoded-pac-user", info.effective_name.to_string());
            expect("decoded-pac-full-name", info.full_name.to_string());
            expect("decoded-pac-logon-server", info.logon_server.to_string());
            expect("decoded-pac-logon-domain", info.logon_domain_name.to_string());
            expect("decoded-pac-user-sid", info.account_sid().unwrap().to_string());
            expect("decoded-pac-user-flags", format!("0x{:x}", info.user_flags));
            expect("decoded-pac-user-account-control", format!("0x{:x}", info.user_account_control));
            let sids: Vec<_> = info.groups().map(|group| group.sid.to_string()).collect();
            assert_eq!(sids.len(), info.group_count(), "{name}");
            let domain = item.header("decoded-pac-domain-sid").unwrap();
            let wanted: Vec<_> = [
                item.header("decoded-pac-groups")
                    .map(|rids| rids.split(',').map(|rid| format!("{domain}-{rid}")).collect::<Vec<_>>()),
                item.header("decoded-pac-extra-sids").map(|sids| sids.split(',').map(str::to_owned).collect()),
                item.header("decoded-pac-resource-groups").map(|sids| sids.split(',').map(str::to_owned).collect()),
            ]
            .into_iter()
            .flatten()
            .flatten()
            .filter(|sid| !sid.is_empty())
            .collect();
            assert_eq!(sids, wanted, "{name}");
        }
        let client = pac.read(BufferType::CLIENT_INFO, ClientInfo::parse).unwrap().unwrap();
        expect("decoded-pac-client-name", client.name.to_string());
        expect("decoded-pac-client-id-filetime", client.client_id.to_string());
        if let Some(info) = pac.read(BufferType::UPN_DNS_INFO, UpnDnsInfo::parse).unwrap() {
            expect("decoded-pac-upn", info.upn.to_string());
            expect("decoded-pac-dns-domain", info.dns_domain.to_string());
        }
        for kind in [6, 7, 16, 19] {
            if let Some(signature) = pac.read(BufferType(kind), Signature::parse).unwrap() {
                expect(&format!("decoded-pac-sig-{kind}-type"), signature.checksum_type.to_string());
            }
        }
        pac.read(BufferType::ATTRIBUTES, Attributes::parse).unwrap();
        pac.read(BufferType::REQUESTOR, Requestor::parse).unwrap();
        for cut in 0..item.data.len() {
            let _ = Pac::explain(&item.data[..cut], 0);
        }
    }
}

#[test]
fn every_pac_buffer_of_the_corpus_is_read() {
    for item in load().unwrap_or_default() {
        let Some(kind) = item.kind.strip_prefix("pac-buffer-") else { continue };
        let (name, data) = (&item.name, &item.data[..]);
        let kind = match kind {
            _ if kind.starts_with("kerb-validation-info") => BufferType::LOGON_INFO,
            "client-info" => BufferType::CLIENT_INFO,
            "upn-dns-info" => BufferType::UPN_DNS_INFO,
            "server-signature" => BufferType::SERVER_SIGNATURE,
            "kdc-signature" => BufferType::KDC_SIGNATURE,
            "s4u-delegation-info" => BufferType::DELEGATION_INFO,
            _ if kind.starts_with("clientclaims") => BufferType::CLIENT_CLAIMS,
            _ => panic!("{name}: a kind of buffer without a test: {kind}"),
        };
        let node = pac::explain_buffer(kind, data, 0);
        assert_eq!(node.first_error(), None, "{name}");
        if kind == BufferType::LOGON_INFO {
            let info = LogonInfo::parse(data, 0).unwrap();
            assert_eq!(info.groups().count(), info.group_count(), "{name}");
        }
        if kind == BufferType::DELEGATION_INFO {
            assert!(DelegationInfo::parse(data, 0).unwrap().transited().count() > 0, "{name}");
        }
    }
}

#[test]
fn a_byte_changed_anywhere_makes_no_panic() {
    for item in of_kind("pac") {
        let mut data = item.data.clone();
        for at in 0..data.len().min(1200) {
            for value in [1, 0xff] {
                let kept = std::mem::replace(&mut data[at], value);
                let _ = Pac::explain(&data, 0);
                let _ = LogonInfo::parse(&data, 0).map(|info| info.groups().count());
                data[at] = kept;
            }
        }
    }
}

#[test]
fn signatures_of_the_corpus_verify_under_their_keys_and_under_no_other() {
    let mut verified = 0;
    for item in of_kind("pac") {
        let name = &item.name;
        let pac = Pac::parse(&item.data, 0).unwrap();
        let server = item.keys("server-").into_iter().map(|key| (BufferType::SERVER_SIGNATURE, key));
        let kdc = item
            .keys("kdc-")
            .into_iter()
            .flat_map(|key| [(BufferType::KDC_SIGNATURE, key.clone()), (BufferType::FULL_SIGNATURE, key)]);
        for (kind, (etype, key)) in server.chain(kdc) {
            if pac.buffer(kind).unwrap().is_none() {
                continue;
            }
            let key = Key::new(Etype::from_number(etype).unwrap(), &key).unwrap();
            let checksum = key.checksum(usage::NON_KERBEROS_CHECKSUM);
            verify_signature(&pac, kind, &checksum).unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut other = key.expose().to_vec();
            other[0] ^= 1;
            let other = Key::new(key.etype(), &other).unwrap().checksum(usage::NON_KERBEROS_CHECKSUM);
            assert!(verify_signature(&pac, kind, &other).is_err(), "{name}");
            verified += 1;
        }
    }
    assert!(verified >= 25 || of_kind("pac").is_empty(), "{verified} signatures");
}
