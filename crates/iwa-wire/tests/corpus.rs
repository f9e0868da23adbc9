//! Every format against the corpus of real wire data: read or refused as its header says, explained at every length.

mod rewrite;

use std::collections::BTreeMap;

use iwa_testkit::corpus::{self, Expect, Item};
use iwa_wire::challenge::Challenge;
use iwa_wire::explain::Node;
use iwa_wire::header::Authorization;
use iwa_wire::pac::{BufferType, explain_buffer};
use iwa_wire::sniff;

/// Items whose header is wrong, and why.
const MISLABELLED: [(&str, &str); 3] = [
    ("libkrimes/libkrimes_src_keytab_kt_file.rs.txt", "the source text of a program, not a keytab"),
    (
        "krb5/fuzz-ccache-v1_principal_only.txt",
        "has a name type, which version 1 has not: garbage follows the principal",
    ),
    (
        "minikerberos/test.ccache1.txt",
        "the header's length is 1, the number of its fields, where their bytes are counted",
    ),
];

fn mislabelled(item: &Item) -> bool {
    MISLABELLED.iter().any(|(name, _)| *name == item.name)
}

#[test]
fn every_item_is_read_or_refused_as_its_header_says() {
    let Some(items) = corpus::load() else { return };
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let (mut without, mut wrong) = (BTreeMap::<&str, usize>::new(), Vec::new());
    for item in &items {
        let Some(result) = sniff::check(&item.kind, &item.data) else {
            *without.entry(&item.kind).or_default() += 1;
            continue;
        };
        let place = match (&result, item.borderline) {
            (_, true) => 2,
            (Ok(()), _) => 0,
            (Err(_), _) => 1,
        };
        if let Some(count) = counts.entry(&item.kind).or_default().get_mut(place) {
            *count += 1;
        }
        // Where only an inner layer is malformed, the layer of the kind reads or not as it likes.
        let outer = item.header("malformed-layer").is_none();
        if outer && !item.borderline && !mislabelled(item) && result.is_ok() != (item.expect == Expect::Valid) {
            wrong.push(format!("{} ({}): {result:?}", item.name, item.kind));
        }
    }
    println!("{:<24}{:>8}{:>8}{:>12}", "kind", "read", "refused", "borderline");
    for (kind, [read, refused, borderline]) in &counts {
        println!("{kind:<24}{read:>8}{refused:>8}{borderline:>12}");
    }
    let sum = |place: usize| counts.values().filter_map(|count| count.get(place)).sum::<usize>();
    println!("{:<24}{:>8}{:>8}{:>12}", "all", sum(0), sum(1), sum(2));
    println!("not of a format that has a parser by kind: {}", without.values().sum::<usize>());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_item_is_sniffed_as_its_kind() {
    let Some(items) = corpus::load() else { return };
    let mut wrong = Vec::new();
    for item in items
        .iter()
        .filter(|item| !mislabelled(item) && !item.borderline && sniff::kinds().any(|kind| kind == item.kind))
    {
        let (kind, node) = sniff::sniff(&item.data);
        // A bare AP-REP may stand in a file of its own kind; the rest must match exactly.
        if kind != item.kind && item.expect == Expect::Valid {
            wrong.push(format!("{}: {} is sniffed as {kind}", item.name, item.kind));
        } else if kind == item.kind {
            let malformed = item.expect == Expect::Malformed || item.header("malformed-layer").is_some();
            // MIT's reference encodings have filler text where an inner layer would stand.
            let filler = [&b"foobar"[..], b"krbASN.1 test message"]
                .iter()
                .any(|filler| item.data.windows(filler.len()).any(|window| window == *filler));
            if !filler && node.first_error().is_some() != malformed {
                wrong.push(format!("{}: explain says {:?}", item.name, node.first_error()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_read_is_written_and_most_of_it_byte_for_byte() {
    let Some(items) = corpus::load() else { return };
    let (mut same, mut other) = (0, Vec::new());
    for item in &items {
        let Some(written) = rewrite::rewrite(&item.kind, &item.data) else { continue };
        rewrite::assert_stable(&item.kind, &written, &item.name);
        if written == item.data {
            same += 1;
        } else {
            other.push(format!("{} ({})", item.name, item.kind));
        }
    }
    println!("{same} items are written as they were; {} in another form:\n{}", other.len(), other.join("\n"));
    assert!(same > 300);
}

#[test]
fn header_fields_of_recorded_exchanges_are_read() {
    let mut count = [0; 2];
    for item in corpus::of_kind("http-exchange") {
        let text = String::from_utf8_lossy(&item.data).into_owned();
        for line in text.lines() {
            // "frame 44 http.authorization: NTLM ..." as tshark prints it, or the lines of a curl test.
            let Some((name, value)) = line.trim().split_once(": ") else { continue };
            let value = value.as_bytes();
            match name.rsplit(' ').next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "http.authorization" | "authorization" | "proxy-authorization" => {
                    // Macros of curl's tests and other schemes are no tokens.
                    let ours = value.starts_with(b"Negotiate ") || value.starts_with(b"NTLM ");
                    if ours && !value.contains(&b'%') {
                        let header = Authorization::parse([value], Authorization::LIMIT).ok().flatten();
                        let read = header.is_some_and(|header| header.decode(&mut Vec::new()).is_ok());
                        assert!(read, "{}: {line}", item.name);
                        count[0] += 1;
                    }
                }
                "http.www_authenticate" | "www-authenticate" | "proxy-authenticate" if !value.contains(&b'%') => {
                    let challenges =
                        Challenge::parse(value).unwrap_or_else(|error| panic!("{}: {line}: {error}", item.name));
                    count[1] += challenges.len();
                }
                _ => {}
            }
        }
    }
    println!("{} credentials and {} challenges read", count[0], count[1]);
}

#[test]
fn no_item_and_no_truncation_of_it_makes_explain_panic_or_leave_its_bytes() {
    let Some(items) = corpus::load() else { return };
    let mut count = 0;
    for item in &items {
        let longest = item.data.len().min(6000);
        // Large files are cut at every byte near their start, and in steps beyond.
        let cuts = (0..longest.min(300)).chain((300..longest).step_by(193)).chain([item.data.len()]);
        for cut in cuts {
            let bytes = &item.data[..cut];
            if let Some(kind) = buffer(&item.kind) {
                inside(&explain_buffer(kind, bytes, 1000), 1000, 1000 + cut, &item.name);
            } else if let Some(node) = sniff::explain_as(&item.kind, bytes, 1000) {
                inside(&node, 1000, 1000 + cut, &item.name);
                let _ = sniff::kind_of(bytes);
            } else {
                inside(&sniff::sniff(bytes).1, 0, cut, &item.name);
            }
            count += 1;
        }
    }
    println!("{count} inputs explained");
}

#[test]
fn every_byte_of_every_small_item_may_be_wrong_without_a_panic() {
    let Some(items) = corpus::load() else { return };
    let mut bytes = Vec::new();
    for item in items.iter().filter(|item| item.data.len() < 400) {
        for at in 0..item.data.len() {
            // Each byte gets two of them in turn.
            for value in [[0x00, 0xff], [0x80, 0x7f], [0x30, 0x01]][at % 3] {
                bytes.clear();
                bytes.extend_from_slice(&item.data);
                bytes[at] = value;
                let result = sniff::check(&item.kind, &bytes);
                let node = sniff::explain_as(&item.kind, &bytes, 0);
                if let (Some(Err(error)), Some(node)) = (result, node) {
                    assert!(node.first_error().is_some(), "{}, byte {at}: {error} is not explained", item.name);
                }
            }
        }
    }
}

/// A child stands inside its parent's input, whatever the bytes say.
fn inside(node: &Node, start: usize, end: usize, name: &str) {
    assert!(
        node.range.start >= start && node.range.end <= end && node.range.start <= node.range.end,
        "{name}: {} at {:?} leaves {start}..{end}",
        node.name,
        node.range
    );
    // An error may name a place beyond the end: a field says that it stands there.
    assert!(node.error.is_none_or(|error| error.offset >= start), "{name}: {:?}", node.error);
    node.children.iter().for_each(|child| inside(child, start, end, name));
}

fn buffer(kind: &str) -> Option<BufferType> {
    Some(match kind.strip_prefix("pac-buffer-")? {
        "kerb-validation-info" | "kerb-validation-info-ms" | "kerb-validation-info-trust" => BufferType::LOGON_INFO,
        "client-info" => BufferType::CLIENT_INFO,
        "kdc-signature" => BufferType::KDC_SIGNATURE,
        "server-signature" => BufferType::SERVER_SIGNATURE,
        "s4u-delegation-info" => BufferType::DELEGATION_INFO,
        "upn-dns-info" => BufferType::UPN_DNS_INFO,
        _ => BufferType(0),
    })
}
