//! The LDAP directory of a running server. It outlives a reload that does not change it, with its connections; what was guessed
//! at its passwords outlives every reload.

use std::sync::Arc;

use iwa_domain::directory::{DirectoryConfig, LdapDirectory, ServerConfig};

use super::assemble::Problem;
use crate::config::Directory;

/// The directory.
pub(crate) struct Opened {
    /// What it was made of.
    config: Directory,
    /// Who verifies NTLM and passwords.
    pub(crate) logon: LdapDirectory,
}

impl Opened {
    /// What it is called in `NAME\user`.
    pub(crate) fn name(&self) -> &str {
        &self.config.name
    }
}

/// Opens the directory of a configuration. The one of `before` goes on if its section did not change.
pub(crate) fn open(section: Option<&Directory>, before: Option<&Arc<Opened>>) -> Result<Option<Arc<Opened>>, Problem> {
    let Some(section) = section else { return Ok(None) };
    if let Some(before) = before.filter(|before| before.config == *section) {
        return Ok(Some(Arc::clone(before)));
    }
    let Directory { name, host, port, ca, reader, password_file, base, .. } = section.clone();
    let Directory { user_attribute, aliases, user_class, nt_hash, sids, domain_sid, timeout, groups, lockout, .. } =
        section.clone();
    let server = ServerConfig { host, port, ca, reader: reader.clone(), password_file, timeout };
    let config = DirectoryConfig {
        name,
        base,
        user_attribute,
        aliases,
        user_class,
        nt_hash,
        groups,
        sids,
        domain_sid,
        lockout,
        reader,
    };
    let guesses = before.map(|before| before.logon.guesses()).unwrap_or_default();
    let logon = LdapDirectory::new(config, server, guesses).map_err(|why| Problem(format!("[directory]: {why}")))?;
    Ok(Some(Arc::new(Opened { config: section.clone(), logon })))
}
