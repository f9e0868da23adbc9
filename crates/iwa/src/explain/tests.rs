//! `iwa explain` against the corpus: what independent decoders say of an item, and what is in it once it is decrypted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iwa_testkit::corpus::{self, Item};
use iwa_wire::explain::Node;
use iwa_wire::keytab::{Entry, Keytab};
use iwa_wire::krb5::{KerberosTime, Principal};

use super::decrypt::Keys;
use super::{Explained, json, tree};

fn explained(item: &Item) -> Explained {
    Explained::of(item.data.clone())
}

/// The value of the first node of this path, each step somewhere below the one before.
fn value<'a>(tree: &'a Node, path: &str) -> Option<&'a str> {
    path.split('>').try_fold(tree, |node, name| node.find(name)).map(|node| node.value.as_str())
}

/// A header of the corpus, where its value stands in a tree, and how much of the text there is the value.
type Fact = (&'static str, &'static [&'static str], fn(&str) -> &str);

/// A number without the name that follows it.
fn number(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

#[test]
fn the_tree_says_what_independent_decoders_say() {
    let Some(items) = corpus::load() else { return };
    let paths: [Fact; 24] = [
        ("decoded-ticket-realm", &["ticket>realm", "Ticket>realm"], |text| text),
        ("decoded-ticket-sname", &["ticket>sname", "Ticket>sname"], |text| text),
        ("decoded-ticket-sname-type", &["ticket>sname>name-type", "Ticket>sname>name-type"], number),
        ("decoded-ticket-etype", &["ticket>enc-part>etype", "Ticket>enc-part>etype"], number),
        ("decoded-ticket-kvno", &["ticket>enc-part>kvno", "Ticket>enc-part>kvno"], number),
        ("decoded-authenticator-etype", &["authenticator>etype"], number),
        ("decoded-ap-options", &["ap-options"], number),
        ("decoded-nonce", &["nonce"], number),
        ("decoded-error-code", &["error-code"], number),
        ("decoded-ntlm-flags", &["NegotiateFlags"], number),
        ("decoded-ntlm-user", &["UserName"], |text| text),
        ("decoded-ntlm-domain", &["DomainName"], |text| text),
        ("decoded-ntlm-workstation", &["Workstation"], |text| text),
        ("decoded-ntlm-target-name", &["TargetName"], |text| text),
        ("decoded-pac-user", &["EffectiveName"], |text| text),
        ("decoded-pac-full-name", &["FullName"], |text| text),
        ("decoded-pac-logon-domain", &["LogonDomainName"], |text| text),
        ("decoded-pac-logon-server", &["LogonServer"], |text| text),
        ("decoded-pac-domain-sid", &["LogonDomainId"], |text| text),
        ("decoded-pac-client-name", &["PAC_CLIENT_INFO>Name"], |text| text),
        ("decoded-pac-upn", &["Upn"], |text| text),
        ("decoded-pac-dns-domain", &["DnsDomainName"], |text| text),
        ("decoded-pac-sig-6-type", &["server signature>SignatureType"], number),
        ("decoded-pac-sig-7-type", &["KDC signature>SignatureType"], number),
    ];
    let (mut compared, mut wrong) = (0, Vec::new());
    for item in items.iter().filter(|item| iwa_wire::sniff::kinds().any(|kind| kind == item.kind)) {
        let tree = explained(item).tree;
        for (header, places, cut) in paths {
            let Some(wanted) = item.header(header) else { continue };
            let found: Vec<_> = places.iter().filter_map(|path| value(&tree, path)).map(cut).map(str::trim).collect();
            // The other decoder took UTF-8 in an OEM field for Latin-1.
            if !wanted.is_ascii() && found.contains(&"caf\u{e9}") {
                continue;
            }
            compared += 1;
            if !found.contains(&wanted) {
                wrong.push(format!("{} {header}: {found:?}, not {wanted:?}", item.name));
            }
        }
    }
    println!("{compared} facts compared, {} differ", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 500);
}

/// A keytab with all keys of an item under a name of its own.
fn keytab(item: &Item) -> Vec<u8> {
    let anyone = Principal::user("somebody", "EXAMPLE.TEST");
    let kdc = Principal::krbtgt("EXAMPLE.TEST", "EXAMPLE.TEST");
    let mut out = Vec::new();
    Keytab::write_head(&mut out);
    for (role, principal) in [("", &anyone), ("server-", &anyone), ("kdc-", &kdc), ("reply-", &anyone)] {
        for (etype, key) in item.keys(role) {
            Entry { principal: principal.into(), timestamp: 0, kvno: 1, etype, key: &key }.write(&mut out);
        }
    }
    out
}

#[test]
fn what_has_a_key_in_the_corpus_decrypts_and_its_pac_verifies() {
    let Some(items) = corpus::load() else { return };
    let (mut tickets, mut authenticators, mut pacs, mut replies) = (0, 0, 0, 0);
    let time = |header: &str| KerberosTime::parse(header.as_bytes()).map(|time| time.to_string());
    for item in items.iter().filter(|item| item.header("ticket-cname").is_some() && !item.keys("").is_empty()) {
        let mut explained = explained(item);
        Keys::read(&keytab(item)).unwrap().open(&mut explained);
        let Some(part) = explained.tree.find("EncTicketPart") else {
            // The armor of FAST is not looked into.
            assert_eq!(item.kind, "as-req", "{}: not decrypted", item.name);
            continue;
        };
        tickets += 1;
        assert_eq!(part.first_error(), None, "{}", item.name);
        let fact = |name: &str, found: Option<&str>, wanted: Option<String>| {
            if let Some(wanted) = wanted {
                assert_eq!(found, Some(wanted.as_str()), "{} {name}", item.name);
            }
        };
        let header = |name: &str| item.header(name).map(str::to_owned);
        fact("cname", value(part, "cname"), header("ticket-cname"));
        fact("crealm", value(part, "crealm"), header("ticket-crealm"));
        fact("authtime", value(part, "authtime"), header("ticket-authtime").and_then(|text| time(&text)));
        fact("endtime", value(part, "endtime"), header("ticket-endtime").and_then(|text| time(&text)));
        fact("flags", value(part, "flags").map(number), header("ticket-flags"));
        assert!(part.find("keyvalue").is_some_and(|key| key.secret), "{}: the session key is not secret", item.name);
        if item.header("ticket-has-pac") == Some("1") {
            let note = part.find("server signature").and_then(|node| node.note.clone()).unwrap_or_default();
            assert!(note.starts_with("holds under the key"), "{}: {note}", item.name);
            pacs += 1;
        }
        if item.kind == "as-rep" && item.header("reply-key-usage") == Some("3") {
            let reply = explained.tree.find("EncASRepPart").or_else(|| explained.tree.find("EncTGSRepPart"));
            fact("nonce", reply.and_then(|part| value(part, "nonce")), header("rep-nonce"));
            fact("sname", reply.and_then(|part| value(part, "sname")), header("rep-sname"));
            replies += 1;
        }
        if item.header("authenticator-ctime").is_some() {
            let authenticator = explained.tree.find("Authenticator").unwrap_or_else(|| panic!("{}", item.name));
            fact("cname", value(authenticator, "cname"), header("authenticator-cname"));
            fact("ctime", value(authenticator, "ctime"), header("authenticator-ctime").and_then(|text| time(&text)));
            fact("cusec", value(authenticator, "cusec"), header("authenticator-cusec"));
            authenticators += 1;
        }
    }
    println!("{tickets} tickets, {authenticators} authenticators, {replies} replies decrypted, {pacs} PACs verified");
    assert!(tickets >= 20 && authenticators >= 12 && pacs >= 20 && replies >= 3);
}

#[test]
fn a_wrong_key_is_said_in_words() {
    let Some(item) = corpus::of_kind("gss-krb5-ap-req").into_iter().find(|item| !item.keys("").is_empty()) else {
        return;
    };
    let mut explained = explained(&item);
    let mut empty = Vec::new();
    Keytab::write_head(&mut empty);
    Keys::read(&empty).unwrap().open(&mut explained);
    let note = explained.tree.find("ticket").and_then(|node| node.note.clone()).unwrap_or_default();
    let sname = item.header("decoded-ticket-sname").unwrap_or_default();
    assert!(note.contains(sname) && note.contains("no key of that name"), "{note}");
    assert!(Keys::read(b"no keytab").is_err());
}

#[test]
fn secrets_are_left_out_unless_asked_for() {
    let Some(item) = corpus::of_kind("keytab").into_iter().find(|item| item.name.ends_with("HTTP_KEYTAB.txt")) else {
        return;
    };
    let explained = explained(&item);
    let key = "57a7754c70c4d85c155c718c2f1292b0";
    for (secrets, shown) in [(false, false), (true, true)] {
        let mut text = String::new();
        tree::render(&explained, tree::Style { colour: false, secrets }, &mut text);
        assert_eq!((text.contains(key), json::render(&explained, secrets).contains(key)), (shown, shown));
    }
}

#[test]
fn json_begins_with_the_kind() {
    let text = json::render(&Explained::of(b"NTLMSSP\0\x01\0\0\0".to_vec()), false);
    assert!(text.starts_with("{\"kind\":\"ntlm-1\",\"length\":12,\"malformed\":{"), "{text}");
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(document.pointer("/malformed/offset").is_some_and(serde_json::Value::is_u64));
    assert_eq!(document.pointer("/tree/name").and_then(|name| name.as_str()), Some("NEGOTIATE_MESSAGE"));
}

/// The recorded exchange of that name as header lines, and its keytab.
fn recording(name: &str) -> (String, Vec<u8>) {
    let path = format!("{}/../../recordings/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (mut legs, mut keytab) = (Vec::<(&str, String)>::new(), String::new());
    for line in text.lines() {
        match (line.get(..2), line.get(2..)) {
            (Some("> "), Some(digits)) => legs.push(("Authorization: Negotiate ", digits.to_owned())),
            (Some("< "), Some(digits)) => legs.push(("WWW-Authenticate: Negotiate ", digits.to_owned())),
            (Some("  "), Some(digits)) => legs.last_mut().unwrap().1.push_str(digits),
            _ => keytab.push_str(line.strip_prefix("keytab: ").unwrap_or_default()),
        }
    }
    let bytes = |digits: &str| corpus::hex(&digits.replace(' ', "")).unwrap();
    let line = |(field, digits): &(&str, String)| format!("{field}{}\n", STANDARD.encode(bytes(digits)));
    (legs.iter().map(line).collect(), bytes(&keytab))
}

#[test]
fn a_recorded_exchange_is_opened_whole_with_the_keytab_of_its_service() {
    let (lines, keytab) = recording("kerberos-curl-delegation");
    let mut found = super::input::explain(lines.into_bytes(), "the recording").unwrap();
    let mut keys = Keys::read(&keytab).unwrap();
    found.iter_mut().for_each(|explained| keys.open(explained));
    assert_eq!(found.iter().map(|explained| explained.kind).collect::<Vec<_>>(), ["spnego-init", "spnego-resp"]);
    let request = &found[0].tree;
    for part in ["EncTicketPart", "Authenticator", "Deleg", "EncKrbCredPart"] {
        assert!(request.find(part).is_some(), "{part} is not there");
    }
    let note = request.find("EncTicketPart").and_then(|part| part.note.as_deref()).unwrap_or_default();
    assert!(note.contains("HTTP/web.example.test@EXAMPLE.TEST kvno 2"), "{note}");
    let answer = found[1].tree.find("EncAPRepPart").expect("the AP-REP is opened with the session key of the ticket");
    let time = |tree: &Node| tree.find("ctime").map(|node| node.value.clone());
    assert!(time(answer).is_some());
    assert_eq!(time(answer), request.find("Authenticator").and_then(time));
    for explained in &found {
        assert_eq!(explained.tree.first_error(), None);
        let mut text = String::new();
        tree::render(explained, tree::Style { colour: false, secrets: false }, &mut text);
        let keys = text.lines().filter(|line| line.contains("keyvalue"));
        assert!(keys.clone().all(|line| line.ends_with("(secret)")), "{text}");
    }
}
