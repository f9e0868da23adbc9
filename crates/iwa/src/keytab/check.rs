//! `iwa keytab check`: whether the keytab decrypts what the KDC issues now. RFC 4120 3.1, 3.3; MS-KILE 3.3.5.

use std::fmt;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use iwa_auth::Secret;
use iwa_auth::krb5::client::{Client, ClientPolicy, Credential, LongTerm};
use iwa_auth::krb5::etype::Etype;
use iwa_auth::krb5::keys::{Keys, ServiceNames};
use iwa_auth::ports::Kdc;
use iwa_auth::reject::{Peer, Reason, Reject};
use iwa_domain::credentials::{CacheName, client_of_keytab};
use iwa_domain::krb5_conf::Krb5Conf;
use iwa_domain::machine::kerberos::{is_wrong_password, sign_in, ticket};
use iwa_wire::keytab::Keytab;
use iwa_wire::krb5::error::code;
use iwa_wire::krb5::principal::name_type;
use iwa_wire::krb5::{Principal, Ticket};

use super::{KdcArgs, block_on, etype_name, file};
use crate::user::{Failure, password_from};

/// Get a ticket for every service of a keytab, and see whether the keytab decrypts it.
///
/// Somebody must ask: --user, or the tickets of a credential cache that is named, or the keytab's own account, or the tickets
/// that are at hand. Exit status: 0 all is well, 1 something is wrong, or it could not be found out, 2 wrong usage.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The keytab.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Whoever asks for tickets: alice@EXAMPLE.TEST, or alice of the keytab's realm. The password is asked for.
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,
    /// Read the user's password from standard input.
    #[arg(long, requires = "user")]
    password_stdin: bool,
    /// Ask with the tickets of this credential cache.
    #[arg(long, value_name = "NAME", conflicts_with = "user")]
    ccache: Option<String>,
    #[command(flatten)]
    kdcs: KdcArgs,
}

pub(super) fn run(args: &Args) -> ExitCode {
    match args.run() {
        Ok(findings) => {
            let bad = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count();
            for finding in &findings {
                println!("{finding}");
            }
            match bad {
                0 => {
                    println!("all is well");
                    ExitCode::SUCCESS
                }
                bad => {
                    eprintln!("{bad} of {} are wrong", findings.len());
                    ExitCode::FAILURE
                }
            }
        }
        Err(Failure(why)) => {
            eprintln!("iwa keytab check: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What was found about one principal.
#[derive(Debug)]
struct Finding {
    verdict: Verdict,
    about: String,
    words: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Good,
    Odd,
    Bad,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Good => "ok   ",
            Verdict::Odd => "odd  ",
            Verdict::Bad => "WRONG",
        };
        write!(f, "{verdict} {}: {}", self.about, self.words)
    }
}

impl Args {
    fn run(&self) -> Result<Vec<Finding>, Failure> {
        let conf = Krb5Conf::load().map_err(|error| Failure(error.to_string()))?;
        let kdcs = self.kdcs.read(&conf)?;
        let bytes = file::read(&self.file)?;
        let keytab = file::parse(&self.file, &bytes)?;
        let (accounts, services) = principals(keytab);
        if accounts.is_empty() && services.is_empty() {
            return Err(Failure(format!("{} has no keys", self.file.display())));
        }
        let named = self.named(&conf, accounts.iter().chain(&services))?;
        block_on(check(&self.file, keytab, &accounts, &services, named, &conf, &kdcs))?
    }

    /// Whoever is named to ask for tickets.
    fn named<'p>(
        &self,
        conf: &Krb5Conf,
        mut principals: impl Iterator<Item = &'p Principal>,
    ) -> Result<Option<Client>, Failure> {
        if let Some(cache) = &self.ccache {
            let client = CacheName::parse(cache).and_then(|cache| cache.client());
            return client.map(Some).map_err(|error| Failure(format!("--ccache: {error}")));
        }
        let Some(user) = &self.user else { return Ok(None) };
        let mut principal: Principal = user.parse().map_err(|error| Failure(format!("--user: {error}")))?;
        if principal.realm.is_empty() {
            let realm = principals.next().map(|principal| principal.realm.clone());
            principal.realm = realm.or_else(|| conf.default_realm().map(str::to_owned)).unwrap_or_default();
        }
        let password = self.password(&principal)?;
        Ok(Some(Client::new(principal, LongTerm::Password(password))))
    }

    fn password(&self, principal: &Principal) -> Result<Secret<String>, Failure> {
        if self.password_stdin {
            return password_from(&mut std::io::stdin().lock());
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure(
                "there is no terminal to ask for the password at; --password-stdin reads it".to_owned(),
            ));
        }
        rpassword::prompt_password(format!("Password of {principal}: "))
            .map(Secret::new)
            .map_err(|error| Failure(format!("the password cannot be asked for: {error}")))
    }
}

/// Accounts and services, each once, in the order of the keytab.
fn principals(keytab: Keytab<'_>) -> (Vec<Principal>, Vec<Principal>) {
    let (mut accounts, mut services): (Vec<Principal>, Vec<Principal>) = (Vec::new(), Vec::new());
    for mut principal in keytab.entries().filter_map(|entry| entry.principal.to_principal().ok()) {
        let list = if principal.components.len() > 1 { &mut services } else { &mut accounts };
        if principal.components.len() > 1 {
            principal.name_type = name_type::SRV_INST;
        }
        if !list.contains(&principal) {
            list.push(principal);
        }
    }
    (accounts, services)
}

async fn check(
    path: &Path,
    keytab: Keytab<'_>,
    accounts: &[Principal],
    services: &[Principal],
    named: Option<Client>,
    conf: &Krb5Conf,
    kdc: &dyn Kdc,
) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    let mut own = None;
    for account in accounts {
        let (finding, client) = check_account(path, keytab, account, kdc).await?;
        findings.push(finding);
        own = own.or(client);
    }
    if services.is_empty() {
        return Ok(findings);
    }
    let client = match (named, own) {
        (Some(named), _) => signed_in(&named, kdc)
            .await
            .map_err(|reject| Failure(format!("{} cannot ask for tickets: {reject}", named.principal())))?,
        (None, Some(own)) => own,
        (None, None) => somebody(path, services, conf, kdc).await?,
    };
    let keys = Keys::of_keytabs([keytab]);
    for service in services {
        findings.push(check_service(keytab, &keys, service, &client, kdc).await);
    }
    Ok(findings)
}

/// Whether the KDC takes the account's newest key, and the client that the account then is.
async fn check_account(
    path: &Path,
    keytab: Keytab<'_>,
    account: &Principal,
    kdc: &dyn Kdc,
) -> Result<(Finding, Option<Client>), Failure> {
    let about = account.to_string();
    let finding = |verdict, words: String| Finding { verdict, about: about.clone(), words };
    let client = match client_of_keytab(path, Some(account)) {
        Ok(client) => client.with_policy(every_etype(&client)),
        Err(error) => return Ok((finding(Verdict::Bad, error.to_string()), None)),
    };
    let newest = versions(keytab, account).into_iter().max().unwrap_or_default();
    match sign_in(&client, kdc).await {
        Ok(signed_in) => {
            let client = client.with_credentials(vec![signed_in.tgt.clone()]);
            let skew = skew(&signed_in.tgt);
            let (verdict, mut words) = match signed_in.kvno {
                Some(kvno) if kvno != newest => (
                    Verdict::Odd,
                    format!("the key is right, and the KDC calls it version {kvno}, the keytab {newest}"),
                ),
                _ => (Verdict::Good, format!("signs in with key version {newest}")),
            };
            words.push_str(&skew);
            Ok((finding(if skew.is_empty() { verdict } else { Verdict::Bad }, words), Some(client)))
        }
        Err(reject) if is_wrong_password(&reject) => {
            let words = format!(
                "the KDC does not take key version {newest}: the password was changed after the keytab was made, or the keytab \
                 was made with another password or salt; make it anew"
            );
            Ok((finding(Verdict::Bad, words), None))
        }
        // The user accounts of services may be forbidden to sign in; their tickets tell.
        Err(reject) if matches!(&reject.reason, Reason::Unavailable(_)) => Err(Failure(reject.to_string())),
        Err(reject) => Ok((finding(Verdict::Bad, reject.to_string()), None)),
    }
}

/// A client of the tickets at hand, or of a service's key: some service names are names of accounts too.
async fn somebody(path: &Path, services: &[Principal], conf: &Krb5Conf, kdc: &dyn Kdc) -> Result<Client, Failure> {
    let mut tried = Vec::new();
    for service in services.iter().take(4) {
        if let Ok(client) = client_of_keytab(path, Some(service)) {
            match signed_in(&client, kdc).await {
                Ok(client) => return Ok(client),
                Err(reject) if matches!(&reject.reason, Reason::Unavailable(_)) => {
                    return Err(Failure(reject.to_string()));
                }
                Err(reject) => tried.push(format!("{service}: {reject}")),
            }
        }
    }
    let cache = CacheName::default_name(conf).and_then(|cache| cache.client());
    cache.map(|client| client.with_policy(every_etype(&client))).map_err(|error| {
        Failure(format!(
            "nobody can ask for tickets; -u NAME names somebody ({}; tickets at hand: {error})",
            tried.join("; ")
        ))
    })
}

async fn signed_in(client: &Client, kdc: &dyn Kdc) -> Result<Client, Reject> {
    let client = client.with_policy(every_etype(client));
    if !client.credentials().is_empty() {
        return Ok(client);
    }
    let signed_in = sign_in(&client, kdc).await?;
    Ok(client.with_credentials(vec![signed_in.tgt]))
}

/// With RC4, which is only looked at here: otherwise a service that has nothing else would look unknown.
fn every_etype(client: &Client) -> ClientPolicy {
    let mut policy = client.policy().clone();
    policy.etypes.extend(Etype::ALL.into_iter().filter(|etype| etype.is_weak()));
    policy.etypes.sort_by_key(|etype| etype.is_weak());
    policy.etypes.dedup();
    policy
}

async fn check_service(
    keytab: Keytab<'_>,
    keys: &Keys,
    service: &Principal,
    client: &Client,
    kdc: &dyn Kdc,
) -> Finding {
    let about = service.to_string();
    let credential = match ticket(client, service, kdc).await {
        Ok(credential) => credential,
        Err(reject) => return Finding { verdict: Verdict::Bad, about, words: refusal(service, &reject) },
    };
    let (mut verdict, mut words) = compare(keytab, keys, service, &credential);
    let skew = skew(&credential);
    if !skew.is_empty() {
        verdict = Verdict::Bad;
        words.push_str(&skew);
    }
    Finding { verdict, about, words }
}

/// What the KDC's refusal of a ticket means.
fn refusal(service: &Principal, reject: &Reject) -> String {
    let spn = service.components.join("/");
    match &reject.reason {
        Reason::Peer(Peer::KdcError { code: code::KDC_ERR_S_PRINCIPAL_UNKNOWN, .. }) => format!(
            "no account of the domain has this SPN: `setspn -S {spn} ACCOUNT` gives it to the account whose password made the \
             keytab; clients get no ticket until then"
        ),
        Reason::Peer(Peer::KdcError { code: code::KDC_ERR_PRINCIPAL_NOT_UNIQUE, .. }) => format!(
            "several accounts have this SPN, and the KDC gives no ticket: `setspn -Q {spn}` names them, `setspn -D {spn} ACCOUNT` \
             takes it from one"
        ),
        Reason::Peer(Peer::KdcError { code: code::KDC_ERR_ETYPE_NOSUPP, .. }) => {
            "the account has no key of an encryption type that is known: set its msDS-SupportedEncryptionTypes to 24 (AES), \
             give it a new password, and make the keytab anew"
                .to_owned()
        }
        Reason::Peer(Peer::KdcError { code: code::KRB_AP_ERR_SKEW, .. }) => {
            format!("{reject}: set this machine's clock by the domain controllers' (NTP)")
        }
        _ => reject.to_string(),
    }
}

/// Whether the keytab decrypts a ticket, and if not, why.
fn compare(keytab: Keytab<'_>, keys: &Keys, service: &Principal, credential: &Credential) -> (Verdict, String) {
    let ticket = match Ticket::parse(&credential.ticket) {
        Ok(ticket) => ticket,
        Err(error) => return (Verdict::Bad, format!("the KDC's ticket cannot be read: {error}")),
    };
    let (etype, kvno) = (ticket.enc_part.etype, ticket.enc_part.kvno);
    let issued = match kvno {
        Some(kvno) => format!("key version {kvno}, {}", etype_name(etype)),
        None => etype_name(etype),
    };
    let decrypts = keys.decrypt_ticket(&ticket, &ServiceNames::InKeytab, &mut Vec::new()).is_ok();
    let weak = Etype::from_number(etype).is_some_and(Etype::is_weak);
    let rc4 = "; it is RC4, which Windows no longer issues since 2026 and this server refuses unless told otherwise: set the \
               account's msDS-SupportedEncryptionTypes to 24 (AES), give it a new password, and make the keytab anew";
    let own: Vec<_> =
        keytab.entries().filter(|entry| entry.principal.to_principal().is_ok_and(|name| name == *service)).collect();
    let has_version = own.iter().any(|entry| kvno.is_none_or(|kvno| kvno == entry.kvno));
    let has_key = own.iter().any(|entry| kvno.is_none_or(|kvno| kvno == entry.kvno) && entry.etype == etype);
    let have = versions(keytab, service).into_iter().map(|kvno| kvno.to_string()).collect::<Vec<_>>().join(", ");
    let newest = versions(keytab, service).into_iter().max().unwrap_or_default();
    match (decrypts, has_key) {
        (true, _) if weak => (Verdict::Bad, format!("decrypts {issued}{rc4}")),
        (true, true) => (Verdict::Good, issued),
        (true, false) => (
            Verdict::Odd,
            format!(
                "the key is right, and the KDC issues {issued}, where the keytab has version {have}: this server takes it, \
                 others do not; make the keytab with the version that the KDC says"
            ),
        ),
        (false, true) => (
            Verdict::Bad,
            format!(
                "the KDC issues {issued}, and the keytab's key of that version does not decrypt it: it was made with another \
                 password or salt, or another account has this SPN now (`setspn -Q {}`)",
                service.components.join("/")
            ),
        ),
        (false, false) if has_version => {
            let etypes: Vec<_> = own.iter().map(|entry| etype_name(entry.etype)).collect();
            let rc4 = if weak { rc4 } else { "; make it anew with that type" };
            (Verdict::Bad, format!("the KDC issues {issued}, of which the keytab has only {}{rc4}", etypes.join(", ")))
        }
        (false, false) if kvno.is_some_and(|kvno| kvno > newest) => (
            Verdict::Bad,
            format!(
                "the KDC issues {issued}, the keytab has version {have}: the account's password was changed after the keytab was \
                 made; make it anew, and keep the old keys until tickets with them have died (`iwa keytab merge`)"
            ),
        ),
        (false, false) => (
            Verdict::Bad,
            format!(
                "the KDC issues {issued}, the keytab has version {have}: the account was made anew, or another account has this \
                 SPN now (`setspn -Q {}`)",
                service.components.join("/")
            ),
        ),
    }
}

/// The versions of a principal's keys, each once.
fn versions(keytab: Keytab<'_>, principal: &Principal) -> Vec<u32> {
    let own = keytab.entries().filter(|entry| entry.principal.to_principal().is_ok_and(|name| name == *principal));
    let mut versions: Vec<_> = own.map(|entry| entry.kvno).collect();
    versions.sort_unstable();
    versions.dedup();
    versions
}

/// What is to be said of the clock, if anything.
fn skew(credential: &Credential) -> String {
    match credential.clock_offset {
        // A cache remembers every second of it.
        -300..=300 => String::new(),
        ahead => format!(
            "; this machine's clock is {} s {} the KDC's, and tickets are refused above 300 s: set it (NTP)",
            ahead.unsigned_abs(),
            if ahead > 0 { "behind" } else { "ahead of" }
        ),
    }
}

#[cfg(test)]
mod tests {
    use iwa_auth::krb5::etype::Key;
    use iwa_wire::keytab::Entry;
    use iwa_wire::krb5::{EncryptedData, KerberosTime, TicketFlags};

    use super::*;

    const WEB: [&str; 2] = ["HTTP", "web.example.test"];

    fn web() -> Principal {
        Principal::service(WEB[0], WEB[1], "EXAMPLE.TEST")
    }

    fn key(etype: Etype, fill: u8) -> Key {
        Key::new(etype, &vec![fill; etype.key_size()]).unwrap()
    }

    fn keytab(keys: &[(u32, Etype, u8)]) -> Vec<u8> {
        let mut out = Vec::new();
        Keytab::write_head(&mut out);
        for (kvno, etype, fill) in keys {
            let (principal, key) = (web(), key(*etype, *fill));
            let entry = Entry {
                principal: (&principal).into(),
                timestamp: 1,
                kvno: *kvno,
                etype: etype.number(),
                key: key.expose(),
            };
            entry.write(&mut out);
        }
        out
    }

    fn issued(kvno: Option<u32>, etype: Etype, fill: u8) -> Credential {
        let mut cipher = Vec::new();
        key(etype, fill).encrypt(2, b"what is in a ticket", &mut iwa_http::Os, &mut cipher).unwrap();
        let server = web();
        let mut ticket = Vec::new();
        let enc_part = EncryptedData { etype: etype.number(), kvno, cipher: &cipher };
        Ticket::new(server.realm(), server.name(), enc_part).write(&mut ticket);
        Credential {
            client: Principal::user("alice", "EXAMPLE.TEST"),
            server,
            key: key(Etype::Aes256CtsHmacSha1, 9),
            flags: TicketFlags(0),
            authtime: KerberosTime(0),
            starttime: KerberosTime(0),
            endtime: KerberosTime(0),
            renew_till: None,
            ticket,
            clock_offset: 0,
        }
    }

    fn found(keys: &[(u32, Etype, u8)], credential: &Credential) -> (Verdict, String) {
        let bytes = keytab(keys);
        let keytab = Keytab::parse(&bytes).unwrap();
        compare(keytab, &Keys::of_keytabs([keytab]), &web(), credential)
    }

    #[test]
    fn what_is_wrong_with_a_key_is_said() {
        use Etype::{Aes128CtsHmacSha1 as Aes128, Aes256CtsHmacSha1 as Aes256, Rc4Hmac};
        let now = issued(Some(3), Aes256, 1);
        let cases: [(&[_], &Credential, Verdict, &str); 9] = [
            (&[(3, Aes256, 1)], &now, Verdict::Good, "key version 3, aes256"),
            (&[(2, Aes256, 7), (3, Aes256, 1)], &now, Verdict::Good, "key version 3"),
            (&[(1, Aes256, 1)], &now, Verdict::Odd, "the keytab has version 1: this server takes it"),
            (&[(3, Aes256, 2)], &now, Verdict::Bad, "does not decrypt it"),
            (&[(2, Aes256, 2)], &now, Verdict::Bad, "was changed after the keytab was made"),
            (&[(9, Aes256, 2)], &now, Verdict::Bad, "the account was made anew"),
            (&[(3, Aes128, 1)], &now, Verdict::Bad, "of which the keytab has only aes128"),
            (&[(3, Rc4Hmac, 1)], &issued(Some(3), Rc4Hmac, 1), Verdict::Bad, "it is RC4"),
            (&[(3, Aes256, 1)], &issued(None, Aes256, 1), Verdict::Good, "aes256"),
        ];
        for (keys, credential, verdict, words) in cases {
            let (found, text) = found(keys, credential);
            assert!(found == verdict && text.contains(words), "{keys:?}: {found:?} {text}");
        }
    }

    #[test]
    fn refusals_name_the_remedy() {
        let refused = |code| {
            let reject = Peer::KdcError { realm: "EXAMPLE.TEST".into(), code, text: String::new() }.into();
            refusal(&web(), &reject)
        };
        assert!(refused(code::KDC_ERR_S_PRINCIPAL_UNKNOWN).contains("setspn -S HTTP/web.example.test"));
        assert!(refused(code::KDC_ERR_PRINCIPAL_NOT_UNIQUE).contains("setspn -Q HTTP/web.example.test"));
        assert!(refused(code::KDC_ERR_ETYPE_NOSUPP).contains("msDS-SupportedEncryptionTypes"));
        assert!(refused(code::KRB_AP_ERR_SKEW).contains("NTP"));
    }

    #[test]
    fn a_clock_that_is_off_is_said() {
        let mut credential = issued(Some(3), Etype::Aes256CtsHmacSha1, 1);
        assert_eq!(skew(&credential), "");
        credential.clock_offset = 1;
        assert_eq!(skew(&credential), "");
        credential.clock_offset = -900;
        assert!(skew(&credential).contains("900 s ahead of the KDC's"));
    }
}
