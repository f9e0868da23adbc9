//! Real clients over HTTP/2: who signs in on it, and who comes back with HTTP/1.1.

use serde_json::Value;

use crate::lab::{ALICE, shown};
use crate::tls::{Site, browsers, curl_and_kinit};

/// `version status mechanism proof` of every request.
fn told(site: &Site, count: usize) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    site.log(count)
        .iter()
        .map(|line| {
            format!(
                "{} {} {} {}",
                word(&line["version"]),
                line["status"],
                word(&line["mechanism"]),
                word(&line["proof"])
            )
        })
        .collect()
}

#[test]
fn curl_signs_in_with_kerberos_on_http2_each_request_by_itself() {
    if !curl_and_kinit() {
        return;
    }
    let site = Site::negotiate_and_ntlm("allow");
    site.lab.kinit(ALICE);
    let (said, output) = site.curl(&[
        "--http2",
        "--negotiate",
        "-u",
        ":",
        "-w",
        "%{http_code} %{http_version}\n",
        "-o",
        "/dev/null",
        &site.url(),
    ]);
    assert_eq!(said, "200 2\n200 2\n", "{}", shown(&output));
    let told = told(&site, 2);
    let signed_in = told.iter().filter(|line| *line == "HTTP/2.0 200 Kerberos request").count();
    assert_eq!(signed_in, 2, "{told:#?}");
}

#[test]
fn curl_signs_in_with_ntlm_which_it_sends_to_http11_by_itself() {
    if !curl_and_kinit() {
        return;
    }
    let site = Site::negotiate_and_ntlm("allow");
    let user = format!("{}:{}", ALICE.0, ALICE.1);
    let (said, output) = site.curl(&["--http2", "--ntlm", "-u", &user, "-w", "%{http_code} %{http_version}"]);
    assert_eq!(said, "200 1.1", "{}", shown(&output));
    let told = told(&site, 2);
    assert!(told.iter().any(|line| line.starts_with("HTTP/1.1 200 NTLM")), "{told:#?}");
}

const BROWSERS: [(&str, &str, &str); 2] =
    [("Chromium", "/usr/bin/chromium", "chromium"), ("Firefox", "/usr/bin/firefox-esr", "firefox")];

#[test]
fn chromium_and_firefox_sign_in_with_kerberos_where_http2_is_offered() {
    for (what, program, name) in BROWSERS {
        if browsers(what, program) && curl_and_kinit() {
            let site = Site::negotiate_and_ntlm("allow");
            site.lab.kinit(ALICE);
            assert_eq!(site.browse(name, false), "200", "{:#?}", told(&site, 2));
            let told = told(&site, 2);
            assert!(told.iter().any(|line| line.contains(" 200 Kerberos ")), "{name}: {told:#?}");
            assert!(told[0].starts_with("HTTP/2.0 401"), "{name} comes with HTTP/2: {told:#?}");
        }
    }
}

#[test]
fn chromium_and_firefox_without_a_ticket_sign_in_with_ntlm_over_http11() {
    for (what, program, name) in BROWSERS {
        if browsers(what, program) {
            let site = Site::negotiate_and_ntlm("allow");
            assert_eq!(site.browse(name, true), "200", "{:#?}", told(&site, 2));
            let told = told(&site, 3);
            assert!(told.iter().any(|line| line.starts_with("HTTP/1.1 200 NTLM")), "{name}: {told:#?}");
            assert!(told[0].starts_with("HTTP/2.0 401"), "{name} comes with HTTP/2: {told:#?}");
            assert!(!told.iter().any(|line| line.starts_with("HTTP/2.0 200")), "{name}: {told:#?}");
        }
    }
}

#[test]
fn a_site_that_needs_ntlm_sends_nobody_round() {
    for (what, program, name) in BROWSERS {
        if browsers(what, program) {
            let site = Site::with_server("allow", "\"NTLM\"", "http2 = \"never\"");
            assert_eq!(site.browse(name, true), "200", "{:#?}", told(&site, 2));
            let told = told(&site, 3);
            assert!(told.iter().all(|line| line.starts_with("HTTP/1.1")), "{name}: {told:#?}");
        }
    }
}
