//! Bad weather: each test has a domain of its own and breaks it.

use crate::ad::{Domain, account};
use crate::clients::ticket;
use crate::peer::{run, shown};
use crate::site::Site;

#[test]
fn kerberos_goes_on_without_any_domain_controller() {
    let Some(domain) = Domain::own("a domain controller that hangs or is gone") else { return };
    let site = Site::with_keytab(&domain, "web", "");
    let cache = ticket(&domain, account("alice"));
    let host = domain.new_host();
    let get = |site: &Site<'_>| {
        // By its address: the name server is the domain controller.
        let resolve = format!("web.corp.example.test:{}:192.0.2.20", site.port);
        let mut curl = domain.on(&host, "curl");
        curl.args(["-s", "-f", "-m", "60", "--resolve", &resolve, "--negotiate", "-u", ":", &site.url("/")]);
        let output = run(curl.env("KRB5CCNAME", &cache), "", 90);
        assert!(output.status.success(), "{}", shown(&output));
    };
    get(&site);
    domain.controller("STOP");
    get(&site);
    domain.controller("KILL");
    get(&site);
    let mut site = site;
    site.restart();
    get(&site);
}
