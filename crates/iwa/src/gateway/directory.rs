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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_did_not_change_goes_on_and_guesses_are_never_forgotten_by_a_reload() {
        let dir = std::env::temp_dir().join(format!("iwa-gateway-directory-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (config, ca, password) = (dir.join("iwa.toml"), dir.join("ca.pem"), dir.join("password"));
        let own = rcgen::generate_simple_self_signed(vec!["ldap.example.test".to_owned()]).unwrap();
        std::fs::write(&ca, own.cert.pem()).unwrap();
        std::fs::write(&password, "secret").unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let section = |base: &str| {
            let text = format!(
                "[server]\nlisten = [\"127.0.0.1:8080\"]\n[[route]]\npath = \"/\"\n[directory]\nname = \"LDAP\"\n\
                 url = \"ldaps://ldap.example.test\"\nca = \"ca.pem\"\nreader = \"cn=reader,o=x\"\n\
                 password-file = \"password\"\nbase = \"{base}\"\nnt-hash = \"sambaNTPassword\"\n"
            );
            std::fs::write(&config, text).unwrap();
            crate::config::load(&config).unwrap().config.directory.unwrap()
        };
        let first = open(Some(&section("o=x")), None).unwrap().unwrap();
        let same = open(Some(&section("o=x")), Some(&first)).unwrap().unwrap();
        assert!(Arc::ptr_eq(&first, &same));
        let other = open(Some(&section("ou=people,o=x")), Some(&first)).unwrap().unwrap();
        assert!(!Arc::ptr_eq(&first, &other) && Arc::ptr_eq(&first.logon.guesses(), &other.logon.guesses()));
        assert!(open(None, Some(&first)).unwrap().is_none());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
