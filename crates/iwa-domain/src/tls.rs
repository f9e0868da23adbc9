//! TLS as a client: whom to trust, and what ties a token to the connection. RFC 8446, RFC 5929 4.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use iwa_auth::ChannelBindings;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, CommonState, RootCertStore};

/// The authorities whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// Those of this system; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others, as for OpenSSL.
    pub system: bool,
    /// Those of these files, in PEM.
    pub files: Vec<PathBuf>,
}

impl Default for Roots {
    /// Those of this system alone.
    fn default() -> Self {
        Self { system: true, files: Vec::new() }
    }
}

/// TLS 1.2 and 1.3 as rustls has them by default, with a server's certificate and name always verified.
///
/// # Errors
/// In words: a file that cannot be used, or nobody to trust.
pub fn client_config(roots: &Roots) -> Result<Arc<ClientConfig>, String> {
    let mut store = RootCertStore::empty();
    let mut why = String::new();
    if roots.system {
        let found = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(found.certs);
        if let Some(error) = found.errors.first() {
            why = format!(" ({error})");
        }
    }
    for path in &roots.files {
        let shown = path.display();
        let bytes = fs::read(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(&bytes) {
            let certificate = certificate.map_err(|_| format!("{shown} is damaged: wanted certificates in PEM"))?;
            store
                .add(certificate)
                .map_err(|error| format!("{shown} has a certificate that cannot be used: {error}"))?;
            count += 1;
        }
        if count == 0 {
            return Err(format!("{shown} has no certificate in it: wanted those of authorities, in PEM"));
        }
    }
    if store.is_empty() {
        return Err(format!("there is no authority to trust: neither this system nor a file names one{why}"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// What a token on this connection is tied to: `tls-server-end-point` of the server's certificate. None before the handshake.
#[must_use]
pub fn bindings(connection: &CommonState) -> ChannelBindings {
    let leaf = connection.peer_certificates().and_then(<[_]>::first);
    // A certificate that this project cannot read was verified by rustls all the same; a server that asks for bindings then
    // refuses.
    leaf.and_then(|leaf| ChannelBindings::of_certificate(leaf).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_anybody_to_trust_there_is_no_tls() {
        let roots = Roots { system: false, files: Vec::new() };
        assert!(client_config(&roots).is_err_and(|why| why.contains("no authority")));
    }

    #[test]
    fn a_file_without_certificates_is_refused_with_its_name() {
        let path = std::env::temp_dir().join(format!("iwa-roots-{}.pem", std::process::id()));
        let roots = Roots { system: false, files: vec![path.clone()] };
        assert!(client_config(&roots).is_err_and(|why| why.contains("cannot be read")));
        fs::write(&path, "nothing").unwrap();
        assert!(client_config(&roots).is_err_and(|why| why.contains("has no certificate")));
        let own = rcgen::generate_simple_self_signed(vec!["dc.example.test".to_owned()]).unwrap();
        fs::write(&path, own.cert.pem()).unwrap();
        assert!(client_config(&roots).is_ok());
        fs::remove_file(&path).unwrap();
    }
}
