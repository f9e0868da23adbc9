//! Distinguished names as text: what we build is escaped. RFC 4514.

use core::fmt;

/// A distinguished name, as the directory gave it or built of values.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Dn(String);

impl Dn {
    /// A name that the directory gave, or the configuration; it is sent as it is.
    #[must_use]
    pub fn given(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// `DC=corp,DC=example,DC=test` of `corp.example.test` (RFC 2247).
    #[must_use]
    pub fn of_domain(dns: &str) -> Self {
        let mut text = String::new();
        for label in dns.split('.').filter(|label| !label.is_empty()) {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str("DC=");
            escape(label, &mut text);
        }
        Self(text)
    }

    /// What is called `attribute=value` directly below this one.
    #[must_use]
    pub fn child(&self, attribute: &str, value: &str) -> Self {
        let mut text = format!("{attribute}=");
        escape(value, &mut text);
        if !self.0.is_empty() {
            text.push(',');
            text.push_str(&self.0);
        }
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Dn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Dn {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Appends a value with everything escaped that has a meaning in a name (RFC 4514 2.4), and control characters.
pub fn escape(value: &str, out: &mut String) {
    let last = value.len().saturating_sub(1);
    for (at, c) in value.char_indices() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => {
                out.push('\\');
                out.push(c);
            }
            ' ' if at == 0 || at == last => out.push_str("\\ "),
            '#' if at == 0 => out.push_str("\\#"),
            c if c.is_control() => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    out.push_str(&format!("\\{byte:02X}"));
                }
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_4514() {
        let of = |value: &str| Dn::given("").child("CN", value).to_string();
        assert_eq!(of("James \"Jim\" Smith, III"), "CN=James \\\"Jim\\\" Smith\\, III");
        assert_eq!(of("Before\rAfter"), "CN=Before\\0DAfter");
        assert_eq!(of("Lučić"), "CN=Lučić");
        assert_eq!(of("#hash # "), "CN=\\#hash #\\ ");
        assert_eq!(of(" "), "CN=\\ ");
        assert_eq!(of("  "), "CN=\\ \\ ");
        assert_eq!(of("a\0b"), "CN=a\\00b");
        assert_eq!(of(""), "CN=");
    }

    #[test]
    fn a_value_does_not_climb_out_of_its_name() {
        let base = Dn::of_domain("corp.example.test").child("CN", "Computers");
        assert_eq!(base.as_str(), "CN=Computers,DC=corp,DC=example,DC=test");
        let dn = base.child("CN", "WEB,CN=Domain Admins+CN=x");
        assert_eq!(dn.as_str(), "CN=WEB\\,CN\\=Domain Admins\\+CN\\=x,CN=Computers,DC=corp,DC=example,DC=test");
        assert_eq!(Dn::of_domain("a,b.c").as_str(), "DC=a\\,b,DC=c");
    }
}
