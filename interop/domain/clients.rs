//! The clients that tests of all kinds sign in with, on the host `web`.

use std::process::Output;

use crate::ad::{Account, DNS, Domain};
use crate::peer::{here, interop_home, member, present, run, shown};
use crate::site::Site;

/// How a client signs in.
#[derive(Clone, Copy)]
pub(crate) enum With<'a> {
    /// With the ticket of a credential cache.
    Ticket(&'a str),
    /// With a name and a password, by NTLM.
    Password(&'a str, &'a str),
}

/// Chromium or Firefox; the page's text.
pub(crate) fn browse(site: &Site<'_>, browser: &str, url: &str, with: With<'_>) -> String {
    let folder = site.domain.folder(browser);
    let mut command = site.domain.on("web", "node");
    command
        .env("IWA_NODE_MODULES", interop_home().join("browser"))
        .env("IWA_SITES", format!("*.{DNS},.{DNS}"))
        .env("HOME", &folder);
    match with {
        With::Ticket(cache) => command.env("KRB5CCNAME", cache),
        With::Password(user, password) => command.env("IWA_USER", user).env("IWA_PASSWORD", password),
    };
    command.arg(here().join(format!("browser/{browser}.mjs"))).arg(url).arg(folder.join("profile"));
    page(&run(&mut command, "", 180))
}

/// Whether the browser and its driver are there.
pub(crate) fn has_browser(what: &str, program: &str) -> bool {
    present(what, program) && present("browser drivers", interop_home().join("browser/node_modules/playwright-core"))
}

/// Whether Python's peers are there.
pub(crate) fn has_python() -> bool {
    present("Python's peers", interop_home().join("venv/ready"))
}

/// A script of `interop/python` on the host `web`; it prints JSON.
pub(crate) fn python(domain: &Domain, script: &str, arguments: &[&str], with: With<'_>) -> Output {
    let mut command = domain.on("web", interop_home().join("venv/bin/python"));
    command.arg(here().join("python").join(script)).args(arguments);
    match with {
        With::Ticket(cache) => command.env("KRB5CCNAME", cache),
        With::Password(user, password) => {
            command.env("IWA_USER", user).env("IWA_PASSWORD", password).env("KRB5_CONFIG", "/dev/null")
        }
    };
    run(&mut command, "", 120)
}

/// The page of a client that must have got it.
pub(crate) fn page(output: &Output) -> String {
    assert!(output.status.success(), "{}", shown(output));
    assert_eq!(member(output, "status"), "200", "{}", shown(output));
    member(output, "text")
}

/// A ticket-granting ticket, which the account must get.
pub(crate) fn ticket(domain: &Domain, account: Account) -> String {
    domain.kinit(account).unwrap_or_else(|output| panic!("kinit {}: {}", account.name, shown(&output)))
}
