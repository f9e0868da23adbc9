//! The part of a krb5.conf that a client needs: the default realm, the KDCs of realms, the realms of hosts.
//! MIT's krb5.conf(5), profile syntax.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// What a krb5.conf says, as far as it matters here. What is not understood is ignored, as MIT's library does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Krb5Conf {
    default_realm: Option<String>,
    default_ccache_name: Option<String>,
    default_keytab_name: Option<String>,
    dns_lookup_kdc: Option<String>,
    kdcs: BTreeMap<String, Vec<String>>,
    domain_realm: BTreeMap<String, String>,
}

/// A krb5.conf that cannot be read.
#[derive(Debug)]
pub struct ConfError {
    /// Which file.
    pub path: PathBuf,
    /// Which line, counted from 1; 0 for the file itself.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for ConfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path.display(), self.what),
            line => write!(f, "{}:{line}: {}", self.path.display(), self.what),
        }
    }
}

impl std::error::Error for ConfError {}

impl Krb5Conf {
    /// Reads the files that `KRB5_CONFIG` names, or `/etc/krb5.conf`; nothing if there is none.
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    pub fn load() -> Result<Self, ConfError> {
        match std::env::var_os("KRB5_CONFIG") {
            Some(paths) => Self::from_files(std::env::split_paths(&paths)),
            None => Self::from_files([PathBuf::from("/etc/krb5.conf")]),
        }
    }

    /// Reads these files; one that is not there is passed over. What an earlier file says holds.
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    pub fn from_files(paths: impl IntoIterator<Item = PathBuf>) -> Result<Self, ConfError> {
        let mut reading = Reading::default();
        for path in paths {
            match std::fs::read_to_string(&path) {
                Ok(text) => reading.file(&path, &text, 0)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(ConfError { path, line: 0, what: error.to_string() }),
            }
        }
        Ok(reading.conf)
    }

    /// Reads a text; `path` names it in errors, and is where its includes are looked for.
    ///
    /// # Errors
    /// The first line that is not in the syntax.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfError> {
        let mut reading = Reading::default();
        reading.file(path, text, 0)?;
        Ok(reading.conf)
    }

    /// `default_realm`.
    #[must_use]
    pub fn default_realm(&self) -> Option<&str> {
        self.default_realm.as_deref()
    }

    /// `default_ccache_name`, as it is written.
    #[must_use]
    pub fn default_ccache_name(&self) -> Option<&str> {
        self.default_ccache_name.as_deref()
    }

    /// `default_keytab_name` (or `default_client_keytab_name`), as it is written.
    #[must_use]
    pub fn default_keytab_name(&self) -> Option<&str> {
        self.default_keytab_name.as_deref()
    }

    /// `dns_lookup_kdc`: whether the DNS may be asked for KDCs of realms that have none here. MIT's default is yes.
    #[must_use]
    pub fn dns_lookup_kdc(&self) -> bool {
        let no = ["no", "n", "false", "f", "off", "0", "nil"];
        !self.dns_lookup_kdc.as_ref().is_some_and(|value| no.iter().any(|no| value.eq_ignore_ascii_case(no)))
    }

    /// The realms that have KDCs, with those as they are written.
    pub fn kdcs(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.kdcs.iter().map(|(realm, kdcs)| (realm.as_str(), kdcs.as_slice()))
    }

    /// The realm of a host after `[domain_realm]`: the host itself, else the longest domain. `None` leaves it to the KDC.
    #[must_use]
    pub fn realm_of(&self, host: &str) -> Option<&str> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        if let Some(realm) = self.domain_realm.get(&host) {
            return Some(realm);
        }
        let mut rest = host.as_str();
        while let Some(dot) = rest.find('.') {
            // `.example.test` stands for what is below it; `example.test` for the domain's own name and, as MIT has it, for
            // hosts below it too.
            let (with_dot, without) = rest.split_at(dot).1.split_at(1);
            let key = format!("{with_dot}{without}");
            if let Some(realm) = self.domain_realm.get(&key).or_else(|| self.domain_realm.get(without)) {
                return Some(realm);
            }
            rest = without;
        }
        None
    }
}

#[derive(Default)]
struct Reading {
    conf: Krb5Conf,
}

impl Reading {
    fn file(&mut self, path: &Path, text: &str, depth: usize) -> Result<(), ConfError> {
        let mut section = String::new();
        // The names of the braces that are open.
        let mut open: Vec<String> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let error = |what: &str| ConfError { path: path.to_owned(), line: index + 1, what: what.to_owned() };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') || line.starts_with(';') {
                continue;
            }
            if let Some(rest) = directive(line, "include").or_else(|| directive(line, "includedir")) {
                self.include(path, rest, line.starts_with("includedir"), depth, index + 1)?;
            } else if directive(line, "module").is_some() {
                // A plug-in of MIT's library: nothing for us.
            } else if let Some(name) = line.strip_prefix('[') {
                let (name, _) = name.split_once(']').ok_or_else(|| error("a section without its closing bracket"))?;
                if !open.is_empty() {
                    return Err(error("a section begins inside braces"));
                }
                section = name.trim().to_ascii_lowercase();
            } else if line.starts_with('}') {
                if open.pop().is_none() {
                    return Err(error("a closing brace without an opening one"));
                }
            } else {
                let (tag, value) =
                    line.split_once('=').ok_or_else(|| error("neither a section, nor `name = value`"))?;
                let tag = tag.trim().trim_end_matches('*').trim_end();
                let value = value.trim();
                if let Some(inline) = value.strip_prefix('{') {
                    open.push(tag.to_owned());
                    // `X = { kdc = a }` on one line.
                    let (inline, closed) = inline.split_once('}').map_or((inline, false), |(inner, _)| (inner, true));
                    if let Some((tag, value)) = inline.split_once('=') {
                        self.setting(&section, &open, tag.trim(), unquoted(value.trim()));
                    }
                    if closed {
                        open.pop();
                    }
                } else if section.is_empty() {
                    return Err(error("a setting before the first section"));
                } else {
                    self.setting(&section, &open, tag, unquoted(value));
                }
            }
        }
        if open.is_empty() {
            Ok(())
        } else {
            Err(ConfError {
                path: path.to_owned(),
                line: text.lines().count(),
                what: "a brace is not closed".to_owned(),
            })
        }
    }

    fn setting(&mut self, section: &str, open: &[String], tag: &str, value: &str) {
        let first = |place: &mut Option<String>| {
            place.get_or_insert_with(|| value.to_owned());
        };
        match (section, open, tag) {
            ("libdefaults", [], "default_realm") => first(&mut self.conf.default_realm),
            ("libdefaults", [], "default_ccache_name") => first(&mut self.conf.default_ccache_name),
            ("libdefaults", [], "default_client_keytab_name") => first(&mut self.conf.default_keytab_name),
            ("libdefaults", [], "dns_lookup_kdc") => first(&mut self.conf.dns_lookup_kdc),
            ("realms", [realm], "kdc" | "master_kdc" | "primary_kdc") => {
                let kdcs = self.conf.kdcs.entry(realm.clone()).or_default();
                if !kdcs.iter().any(|known| known == value) {
                    kdcs.push(value.to_owned());
                }
            }
            ("domain_realm", [], domain) => {
                self.conf.domain_realm.entry(domain.to_ascii_lowercase()).or_insert_with(|| value.to_owned());
            }
            _ => {}
        }
    }

    fn include(&mut self, path: &Path, rest: &str, folder: bool, depth: usize, line: usize) -> Result<(), ConfError> {
        let error = |what: String| ConfError { path: path.to_owned(), line, what };
        if depth == INCLUDE_LIMIT {
            return Err(error(format!("more than {INCLUDE_LIMIT} files include each other")));
        }
        let target = Path::new(rest);
        let mut files = vec![target.to_owned()];
        if folder {
            // As MIT: names of letters, digits, dashes and underscores, or that end in `.conf`; a folder that is not there is empty.
            let fits = |name: &str| {
                !name.starts_with('.')
                    && (name.ends_with(".conf") || name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)))
            };
            let entries = std::fs::read_dir(target).into_iter().flatten().flatten().map(|entry| entry.path());
            files =
                entries.filter(|entry| entry.file_name().and_then(|name| name.to_str()).is_some_and(fits)).collect();
            files.sort();
        }
        for file in files {
            let text = std::fs::read_to_string(&file).map_err(|why| error(format!("{}: {why}", file.display())))?;
            self.file(&file, &text, depth + 1)?;
        }
        Ok(())
    }
}

/// How deep files may include each other.
const INCLUDE_LIMIT: usize = 8;

fn directive<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(word)?;
    rest.starts_with([' ', '\t']).then(|| rest.trim())
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Krb5Conf, ConfError> {
        Krb5Conf::parse(Path::new("/nowhere/krb5.conf"), text)
    }

    #[test]
    fn what_a_client_needs_is_read() {
        let conf = parse(
            "# comment\n; comment\n[libdefaults]\n  default_realm = EXAMPLE.TEST\n default_ccache_name = \"FILE:/tmp/x\"\n\
             [realms]\n EXAMPLE.TEST = {\n  kdc = kdc1.example.test:8888\n  kdc = kdc2.example.test\n  admin_server = a\n\
             \tv4_instance_convert = {\n  kdc = not-this\n }\n }\n OTHER.TEST* = { kdc = tcp/127.0.0.1 }\n\
             [domain_realm]\n .example.test = EXAMPLE.TEST\n odd.example.test = OTHER.TEST\n other.test = OTHER.TEST\n\
             [logging]\n kdc = FILE:/var/log/krb5kdc.log\n",
        )
        .unwrap();
        assert_eq!(conf.default_realm(), Some("EXAMPLE.TEST"));
        assert_eq!(conf.default_ccache_name(), Some("FILE:/tmp/x"));
        let kdcs: Vec<_> = conf.kdcs().collect();
        assert_eq!(kdcs.len(), 2);
        assert_eq!(kdcs[0].1, ["kdc1.example.test:8888", "kdc2.example.test"]);
        assert_eq!(kdcs[1], ("OTHER.TEST", &["tcp/127.0.0.1".to_owned()][..]));
        assert_eq!(conf.realm_of("www.example.test"), Some("EXAMPLE.TEST"));
        assert_eq!(conf.realm_of("a.b.EXAMPLE.test."), Some("EXAMPLE.TEST"));
        assert_eq!(conf.realm_of("odd.example.test"), Some("OTHER.TEST"));
        assert_eq!(conf.realm_of("other.test"), Some("OTHER.TEST"));
        assert_eq!(conf.realm_of("localhost"), None);
        assert_eq!(conf.realm_of(""), None);
    }

    #[test]
    fn dns_is_asked_unless_the_file_forbids_it() {
        for (text, wanted) in [
            ("", true),
            ("dns_lookup_kdc = true", true),
            ("dns_lookup_kdc = False", false),
            ("dns_lookup_kdc = 0", false),
        ] {
            let conf = parse(&format!("[libdefaults]\n{text}\n")).unwrap();
            assert_eq!(conf.dns_lookup_kdc(), wanted, "{text}");
        }
        assert!(Krb5Conf::default().dns_lookup_kdc());
    }

    #[test]
    fn a_broken_file_is_named_with_its_line() {
        for (text, line) in [
            ("[realms\n", 1),
            ("x = y\n", 1),
            ("[realms]\n}\n", 2),
            ("[realms]\nA = {\n", 2),
            ("[libdefaults]\nnonsense\n", 2),
            ("[realms]\nA = {\n[libdefaults]\n}", 3),
        ] {
            assert_eq!(parse(text).map_err(|error| error.line), Err(line), "{text:?}");
        }
    }

    #[test]
    fn files_include_others_and_not_themselves_without_end() {
        let folder = std::env::temp_dir().join(format!("iwa-krb5-conf-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("d")).unwrap();
        let (main, inner) = (folder.join("krb5.conf"), folder.join("d/site.conf"));
        std::fs::write(&inner, "[libdefaults]\ndefault_realm = IN.TEST\n").unwrap();
        std::fs::write(folder.join("d/site.conf~"), "nonsense").unwrap();
        std::fs::write(&main, format!("includedir {}\n", folder.join("d").display())).unwrap();
        let conf = Krb5Conf::from_files([main.clone(), folder.join("absent")]).unwrap();
        assert_eq!(conf.default_realm(), Some("IN.TEST"));
        std::fs::write(&main, format!("include {}\n", main.display())).unwrap();
        assert!(Krb5Conf::from_files([main]).is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
