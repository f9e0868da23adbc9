//! Behind real nginx and HAProxy: everybody is who they are, or is refused; nobody is ever somebody else.

use std::process::{Command, Output};

use crate::lab::{ALICE, BOB, Lab, Options, free_port, present, run, shown, text};
use crate::tls::made;

/// The page that says who one is.
const WHO: &str = "[[route]]\npath = \"/who\"\nallow = { users = [\"*\"] }\n";

/// A lab, and the port of what is in front of it.
struct Behind {
    lab: Lab,
    front: u16,
    scheme: &'static str,
}

impl Behind {
    fn lab(server: &str, windows: &str) -> Lab {
        let windows = format!("providers = [\"Negotiate\", \"NTLM\"]\n{windows}");
        Lab::with(&Options { windows: Some(&windows), server, more: WHO, ..Options::default() })
    }

    fn nginx(server: &str, windows: &str, keepalive: bool, headers: &str) -> Self {
        let (mut lab, front) = (Self::lab(server, windows), free_port());
        let (pool, connection) =
            if keepalive { ("keepalive 1;", "proxy_set_header Connection \"\";") } else { ("", "") };
        let config = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr;
             events {{}}
             http {{
               access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4;
               scgi_temp_path t5;
               upstream iwa {{ server 127.0.0.1:{port}; {pool} }}
               server {{
                 listen 127.0.0.1:{front};
                 location / {{
                   proxy_pass http://iwa; proxy_http_version 1.1; {connection} proxy_set_header Host $http_host; {headers}
                 }}
               }}
             }}",
            port = lab.port
        );
        std::fs::write(lab.path("nginx.conf"), config).expect("written");
        let (prefix, config) = (lab.path(""), lab.path("nginx.conf"));
        lab.daemon(
            "nginx",
            Command::new("/usr/sbin/nginx").args(["-p", &prefix, "-c", &config, "-e", "stderr"]),
            front,
        );
        Self { lab, front, scheme: "http" }
    }

    fn haproxy(server: &str, windows: &str, reuse: &str, to_server: &str, tls: bool) -> Self {
        let (mut lab, front) = (Self::lab(server, windows), free_port());
        let (certificate, key) = made();
        std::fs::write(lab.path("web.pem"), certificate + &key).expect("written");
        let ssl = if tls { format!("ssl crt {}", lab.path("web.pem")) } else { String::new() };
        let config = format!(
            "defaults
               mode http
               timeout connect 5s
               timeout client 30s
               timeout server 30s
               http-reuse {reuse}
             frontend front
               bind 127.0.0.1:{front} {ssl}
               default_backend iwa
             backend iwa
               {to_server}
               server iwa 127.0.0.1:{port} {proxy}\n",
            port = lab.port,
            proxy = if server.contains("proxy-protocol") { "send-proxy-v2-ssl" } else { "" },
        );
        std::fs::write(lab.path("haproxy.cfg"), config).expect("written");
        let config = lab.path("haproxy.cfg");
        lab.daemon("haproxy", Command::new("/usr/sbin/haproxy").args(["-db", "-f", &config]), front);
        Self { lab, front, scheme: if tls { "https" } else { "http" } }
    }

    /// Status and account, or `-`, of a page that curl gets with these arguments.
    fn curl(&self, arguments: &[&str]) -> (String, String) {
        let mut command = self.lab.peer("curl");
        command.args(["-s", "-S", "-k", "--http1.1", "-w", "\n%{http_code}"]).args(arguments);
        command.arg(format!("{}://localhost:{}/who", self.scheme, self.front));
        let output: Output = run(&mut command, "", 30);
        let page = text(&output.stdout);
        let Some((page, status)) = page.rsplit_once('\n') else { panic!("{}", shown(&output)) };
        let account = page.split_once("<th>Account</th><td>").and_then(|(_, rest)| rest.split_once("</td>"));
        let account = account.map_or("-", |(account, _)| account.rsplit('\\').next().unwrap_or_default());
        (status.to_owned(), account.to_owned())
    }

    fn ntlm(&self, (name, password): (&str, &str)) -> (String, String) {
        self.curl(&["--ntlm", "-u", &format!("{name}:{password}")])
    }

    fn kerberos(&self) -> (String, String) {
        self.curl(&["--negotiate", "-u", ":"])
    }

    fn nobody(&self) -> (String, String) {
        self.curl(&[])
    }

    /// Alice with Kerberos is alice, in every round; nobody in between is.
    fn kerberos_is_right(&self) {
        self.lab.kinit(ALICE);
        for _ in 0..4 {
            assert_eq!(self.kerberos(), is("200", "alice"), "{}", self.log("serve"));
            assert_eq!(self.nobody(), is("401", "-"));
        }
    }

    fn ntlm_is_refused(&self) {
        for user in [ALICE, BOB, ALICE] {
            assert_eq!(self.ntlm(user), is("401", "-"), "{}", self.log("serve"));
            assert_eq!(self.nobody(), is("401", "-"));
        }
        let reasons = self.json();
        assert!(reasons.contains("policy.not-on-this-connection"), "{reasons}");
    }

    /// As whom they sign in, and nobody else in between.
    fn ntlm_is_right(&self) {
        for user in [ALICE, BOB, ALICE, BOB] {
            assert_eq!(self.ntlm(user), is("200", user.0), "{}\n{}", self.log("serve"), self.json());
            assert_eq!(self.nobody(), is("401", "-"));
        }
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.lab.path(&format!("{name}.log"))).unwrap_or_default()
    }

    fn json(&self) -> String {
        // Lines wait for a second at most.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        let files = std::fs::read_dir(self.lab.path("logs")).into_iter().flatten().flatten();
        files
            .filter(|entry| entry.path().extension().is_some_and(|end| end == "jsonl"))
            .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
            .collect()
    }
}

fn is(status: &str, account: &str) -> (String, String) {
    (status.to_owned(), account.to_owned())
}

const TRUSTED: &str = "trusted-proxies = [\"127.0.0.1\"]";
const PINS: &str = "proxy-pins-connections = true";
const SAYS: &str = "proxy_set_header X-Forwarded-For $remote_addr:$remote_port;";
const MIXES: &str = "sends requests of several clients over one connection";

fn nginx() -> bool {
    present("nginx", "/usr/sbin/nginx") && present("MIT kinit", "/usr/bin/kinit")
}

fn haproxy() -> bool {
    present("HAProxy", "/usr/sbin/haproxy") && present("MIT kinit", "/usr/bin/kinit")
}

#[test]
fn nginx_that_keeps_connections_mixes_its_clients_and_is_told_so() {
    if nginx() {
        let site = Behind::nginx(TRUSTED, "", true, SAYS);
        site.kerberos_is_right();
        site.ntlm_is_refused();
        assert!(site.log("serve").contains(MIXES), "{}", site.log("serve"));
        let json = site.json();
        assert!(json.contains("\"by\":\"127.0.0.1\""), "{json}");
    }
}

#[test]
fn nginx_that_says_nothing_of_its_clients_gets_no_ntlm_either() {
    if nginx() {
        let site = Behind::nginx(TRUSTED, "", true, "");
        site.kerberos_is_right();
        site.ntlm_is_refused();
    }
}

#[test]
fn nginx_with_a_connection_for_each_request_has_kerberos_and_no_ntlm() {
    if nginx() {
        let site = Behind::nginx(TRUSTED, "", false, SAYS);
        site.kerberos_is_right();
        site.ntlm_is_refused();
    }
}

#[test]
fn nginx_that_is_said_to_pin_connections_and_does_not_is_found_out() {
    if nginx() {
        let site = Behind::nginx(TRUSTED, PINS, true, SAYS);
        // Alice may get in: the connection is hers until somebody else comes over it.
        for _ in 0..3 {
            let (_, account) = site.ntlm(ALICE);
            assert!(["alice", "-"].contains(&account.as_str()), "{account}");
            assert_eq!(site.nobody(), is("401", "-"), "{}", site.log("serve"));
            let (_, account) = site.ntlm(BOB);
            assert!(["bob", "-"].contains(&account.as_str()), "{account}");
        }
        assert!(site.log("serve").contains("although proxy-pins-connections"), "{}", site.log("serve"));
    }
}

#[test]
fn haproxy_that_shares_connections_has_kerberos_and_no_ntlm() {
    if haproxy() {
        let says = "http-request set-header X-Forwarded-For %[src]:%[src_port]";
        let site = Behind::haproxy(TRUSTED, "", "always", says, false);
        site.kerberos_is_right();
        site.ntlm_is_refused();
    }
}

#[test]
fn haproxy_that_keeps_a_connection_for_each_client_has_both() {
    if haproxy() {
        let says = "http-request set-header X-Forwarded-For %[src]:%[src_port]";
        let site = Behind::haproxy(TRUSTED, PINS, "never", says, false);
        site.kerberos_is_right();
        site.ntlm_is_right();
        assert!(!site.log("serve").contains(MIXES), "{}", site.log("serve"));
    }
}

#[test]
fn haproxy_hands_connections_on_with_the_proxy_protocol_and_ends_tls() {
    if haproxy() {
        let site = Behind::haproxy("proxy-protocol = [\"127.0.0.1\"]", "", "safe", "", true);
        site.kerberos_is_right();
        site.ntlm_is_right();
        let json = site.json();
        assert!(json.contains("\"by\":\"127.0.0.1\""), "{json}");
        // Who comes past it gets nothing.
        let mut command = site.lab.peer("curl");
        let output = run(command.args(["-s", &site.lab.url("/who")]), "", 30);
        assert!(!output.status.success() && output.stdout.is_empty(), "{}", shown(&output));
    }
}
