//! curl: `--negotiate`, `--ntlm`, `--anyauth`, keep-alive, POST.

use crate::lab::{ALICE, BOB, Lab, Options, present, run, shown, text};

/// curl's answer: status line and headers on stdout, the body dropped.
fn curl(lab: &Lab, arguments: &[&str]) -> (String, std::process::Output) {
    let mut command = lab.peer("curl");
    command.args(["-s", "-S", "-o", "/dev/null", "-w", "%{http_code} %{num_connects}\n", "-D", "-"]).args(arguments);
    let output = run(&mut command, "", 30);
    let last = text(&output.stdout).lines().last().unwrap_or_default().to_owned();
    (last, output)
}

fn user((name, password): (&str, &str)) -> String {
    format!("{name}:{password}")
}

#[test]
fn anonymous_is_refused_with_both_providers_in_their_order() {
    if !present("curl", "/usr/bin/curl") {
        return;
    }
    let lab = Lab::start();
    let (last, output) = curl(&lab, &[&lab.url("/")]);
    assert_eq!(last, "401 1", "{}", shown(&output));
    let headers = text(&output.stdout);
    let offered: Vec<&str> = headers.lines().filter_map(|line| line.strip_prefix("www-authenticate: ")).collect();
    assert_eq!(offered, ["Negotiate", "NTLM"], "{headers}");
    assert_eq!(lab.statuses(1), [("401 2 5".to_owned(), "-".to_owned())]);
}

#[test]
fn negotiate_signs_in_with_a_ticket() {
    if !present("curl", "/usr/bin/curl") || !present("MIT kinit", "/usr/bin/kinit") {
        return;
    }
    let lab = Lab::start();
    lab.kinit(ALICE);
    let (last, output) = curl(&lab, &["--negotiate", "-u", ":", &lab.url("/")]);
    assert_eq!(last, "200 1", "{}", shown(&output));
    assert!(text(&output.stdout).contains("www-authenticate: Negotiate "), "the final token: {}", shown(&output));
    let statuses = lab.statuses(1);
    assert_eq!(statuses[0].0, "200 0 0");
    assert!(statuses[0].1.ends_with("\\alice"), "{statuses:?}");
}

#[test]
fn several_requests_keep_one_connection_and_the_name() {
    if !present("curl", "/usr/bin/curl") || !present("MIT kinit", "/usr/bin/kinit") {
        return;
    }
    let lab = Lab::start();
    lab.kinit(ALICE);
    let urls = [lab.url("/"), lab.url("/index.html"), lab.url("/admin/")];
    let discarded = ["-o", "/dev/null", "-o", "/dev/null"];
    let mut arguments = vec!["--negotiate", "-u", ":"];
    arguments.extend(discarded);
    arguments.extend(urls.iter().map(String::as_str));
    let (_, output) = curl(&lab, &arguments);
    let codes: Vec<String> = text(&output.stdout).lines().filter(|line| line.len() == 5).map(str::to_owned).collect();
    assert_eq!(codes, ["200 1", "200 0", "200 0"], "{}", shown(&output));
}

#[test]
fn ntlm_signs_in_after_a_challenge() {
    if !present("curl", "/usr/bin/curl") {
        return;
    }
    let lab = Lab::start();
    let (last, output) = curl(&lab, &["--ntlm", "-u", &user(ALICE), &lab.url("/")]);
    assert_eq!(last, "200 1", "{}", shown(&output));
    let statuses = lab.statuses(2);
    assert_eq!(statuses[0], ("401 1 2148074254".to_owned(), "-".to_owned()));
    assert_eq!(statuses[1].0, "200 0 0");
    assert!(statuses[1].1.ends_with("\\alice"), "{statuses:?}");
}

#[test]
fn ntlm_with_a_wrong_password_is_401_1() {
    if !present("curl", "/usr/bin/curl") {
        return;
    }
    let lab = Lab::start();
    let (last, output) = curl(&lab, &["--ntlm", "-u", "alice:not this", &lab.url("/")]);
    assert_eq!(last, "401 1", "{}", shown(&output));
    let statuses = lab.statuses(2);
    assert!(statuses[1].0.starts_with("401 1 "), "{statuses:?}");
}

#[test]
fn anyauth_finds_a_scheme_by_itself() {
    if !present("curl", "/usr/bin/curl") {
        return;
    }
    let lab = Lab::with(&Options { windows: Some("providers = [\"NTLM\"]"), ..Options::default() });
    let (last, output) = curl(&lab, &["--anyauth", "-u", &user(BOB), &lab.url("/")]);
    assert!(last.starts_with("200 "), "{}", shown(&output));
}

#[test]
fn an_ntlm_post_begins_with_an_empty_body_and_loses_nothing() {
    if !present("curl", "/usr/bin/curl") {
        return;
    }
    let lab = Lab::start();
    // A static site takes no POST: 405 after the sign-in shows that the request arrived whole, as alice's.
    let (last, output) = curl(&lab, &["--ntlm", "-u", &user(ALICE), "-d", "field=value", &lab.url("/")]);
    assert_eq!(last, "405 1", "{}", shown(&output));
    assert!(lab.statuses(1)[0].1.ends_with("\\alice"));
}

#[test]
fn a_negotiate_post_gets_its_final_token_on_the_405_too() {
    if !present("curl", "/usr/bin/curl") || !present("MIT kinit", "/usr/bin/kinit") {
        return;
    }
    let lab = Lab::start();
    lab.kinit(ALICE);
    let (last, output) = curl(&lab, &["--negotiate", "-u", ":", "-d", "field=value", &lab.url("/")]);
    assert_eq!(last, "405 1", "{}", shown(&output));
    assert!(text(&output.stdout).contains("www-authenticate: Negotiate "), "{}", shown(&output));
}

#[test]
fn a_group_decides_who_sees_a_folder() {
    if !present("curl", "/usr/bin/curl") {
        return;
    }
    let lab = Lab::start();
    for (who, wanted) in [(ALICE, "200 1"), (BOB, "403 1")] {
        let (last, output) = curl(&lab, &["--ntlm", "-u", &user(who), &lab.url("/admin/")]);
        assert_eq!(last, wanted, "{}", shown(&output));
    }
}

#[test]
fn kerberos_only_refuses_ntlm_before_a_challenge() {
    if !present("curl", "/usr/bin/curl") {
        return;
    }
    let lab = Lab::with(&Options { windows: Some("providers = [\"Negotiate:Kerberos\"]"), ..Options::default() });
    let (last, output) = curl(&lab, &["--ntlm", "-u", &user(ALICE), &lab.url("/")]);
    assert!(last.starts_with("401 "), "{}", shown(&output));
    assert!(!text(&output.stdout).contains("TlRMTVNTUAAC"), "a challenge went out: {}", shown(&output));
}
