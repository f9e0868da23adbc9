//! TLS towards an application: whom to trust, and the certificate that this server shows. RFC 8446.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use iwa_domain::tls::{Roots, client_config};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;

use super::super::assemble::Problem;
use super::super::certificate::Served;
use super::connect::Tls;
use super::target::{Place, Target};
use crate::config::{Proxy, Settings};

/// Whom to trust, and as whom. Two are equal if they were made of the same: connections made with either are as good.
pub(super) struct Trust {
    config: ClientConfig,
    /// Of the files.
    fingerprints: Vec<Vec<u8>>,
}

impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprints == other.fingerprints
    }
}

impl Trust {
    /// For the applications of a route; `None` if none is reached over TLS.
    pub(super) fn of(config: &Proxy) -> Result<Option<Self>, Problem> {
        if !config.targets.iter().any(|target| target.tls) {
            return Ok(None);
        }
        let settings = &config.settings;
        let mut fingerprints = Vec::new();
        let mut remember = |path: &Path| {
            let bytes = std::fs::read(path).map_err(|error| Problem(format!("{}: {error}", path.display())))?;
            fingerprints.push(digest(&SHA256, &bytes).as_ref().to_vec());
            Ok::<_, Problem>(())
        };
        let roots = match &settings.ca {
            Some(ca) => {
                remember(ca)?;
                Roots { system: false, files: vec![ca.clone()] }
            }
            None => Roots::default(),
        };
        let made = client_config(&roots).map_err(|why| Problem(format!("upstream: {why}")))?;
        let mut made = ClientConfig::clone(&made);
        if let Some(own) = &settings.certificate {
            remember(&own.certificate)?;
            remember(&own.key)?;
            let served = Served::read(own).map_err(|why| Problem(format!("upstream: {why}")))?;
            made.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(served.key));
        }
        Ok(Some(Self { config: made, fingerprints }))
    }

    /// For this address.
    pub(super) fn towards(&self, target: &Target, settings: &Settings) -> Result<Tls, Problem> {
        let name = match (&settings.server_name, &target.place) {
            (Some(name), _) => name.as_str(),
            (None, Place::Tcp(host, _)) => host,
            (None, Place::Unix(_)) => return Err(Problem(format!("{target}: there is no TLS over such a socket"))),
        };
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| Problem(format!("upstream: \"{name}\" is no name that a certificate could have")))?;
        let with = |protocols: &[&[u8]]| {
            let mut config = self.config.clone();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            Arc::new(config)
        };
        Ok(Tls { http1: with(&[b"http/1.1"]), both: with(&[b"h2", b"http/1.1"]), name })
    }
}
