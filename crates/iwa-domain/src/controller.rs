//! Domain controllers, and who says which there are: DNS and an LDAP ping, or the configuration. MS-ADTS 6.3.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use iwa_auth::ports::Answer;

/// One domain controller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Controller {
    /// Its DNS name: what its Kerberos services and its certificate are called.
    pub host: String,
    /// Where it is. Never empty in what [`Controllers::list`] returns.
    pub addresses: Vec<IpAddr>,
    /// Where its services listen.
    pub ports: Ports,
}

/// The ports of a domain controller's services.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports {
    /// Kerberos.
    pub kerberos: u16,
    /// LDAP, and CLDAP over UDP.
    pub ldap: u16,
    /// LDAP over TLS.
    pub ldaps: u16,
    /// The RPC endpoint mapper, which says where Netlogon listens.
    pub epm: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { kerberos: 88, ldap: 389, ldaps: 636, epm: 135 }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)
    }
}

/// Who knows the domain controllers of one domain.
pub trait Controllers: Send + Sync + fmt::Debug {
    /// The controllers, in the order in which they are to be asked: nearest first, those that failed a moment ago last.
    /// Remembered for a while; at least one. `Err` says in words what was looked for, what was found and what to do.
    fn list<'a>(&'a self) -> Answer<'a, Result<Arc<[Controller]>, String>>;

    /// One of them did not answer, or not as a domain controller does: others come before it for a while.
    fn failed(&self, host: &str, why: &str);

    /// One of them answered.
    fn worked(&self, host: &str);
}

/// Controllers that somebody listed, and nothing is asked about them.
#[derive(Clone, Debug)]
pub struct Listed(Arc<[Controller]>);

impl Listed {
    /// In the order in which they are to be asked.
    #[must_use]
    pub fn new(controllers: impl Into<Arc<[Controller]>>) -> Self {
        Self(controllers.into())
    }
}

impl Controllers for Listed {
    fn list<'a>(&'a self) -> Answer<'a, Result<Arc<[Controller]>, String>> {
        Box::pin(async {
            if self.0.is_empty() { Err("no domain controller is listed".to_owned()) } else { Ok(Arc::clone(&self.0)) }
        })
    }

    fn failed(&self, _: &str, _: &str) {}

    fn worked(&self, _: &str) {}
}
