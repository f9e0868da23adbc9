//! The gateway's own account at the KDC: its keys, and the TGT that is kept of it.

use std::path::PathBuf;

use iwa_auth::krb5::client::{Client, Credential};
use iwa_auth::reject::{Policy, Reason};
use iwa_domain::credentials::client_of_keytab;
use iwa_wire::krb5::Principal;
use tokio::sync::Mutex;

use super::Outbound;
use crate::config::KeytabSummary;

/// The account.
pub(super) struct Account {
    principal: Principal,
    keytab: PathBuf,
    /// Got by whoever needs it first; the others wait.
    tgt: Mutex<Option<Credential>>,
}

impl Account {
    pub(super) fn new(principal: Principal, keytab: PathBuf) -> Self {
        Self { principal, keytab, tgt: Mutex::default() }
    }

    pub(super) const fn principal(&self) -> &Principal {
        &self.principal
    }

    /// What its keytab has keys of.
    pub(super) fn names(&self) -> Vec<String> {
        KeytabSummary::read(&self.keytab).map(|keytab| keytab.principals.into_keys().collect()).unwrap_or_default()
    }

    /// Does something with the account's keys of now and a TGT. If the KDC refuses it, the next begins with another TGT: the
    /// account may have been made anew.
    pub(super) async fn with<T>(
        &self,
        outbound: &Outbound,
        work: impl AsyncFnOnce(&Client) -> Result<T, Reason>,
    ) -> Result<T, Reason> {
        let client = self.client(outbound).await?;
        let done = work(&client).await;
        if matches!(done, Err(Reason::Peer(_) | Reason::Policy(_))) {
            *self.tgt.lock().await = None;
        }
        done
    }

    /// The keys are read each time that a ticket is to be got, because they change: a machine's by itself.
    async fn client(&self, outbound: &Outbound) -> Result<Client, Reason> {
        let (principal, keytab) = (self.principal.clone(), self.keytab.clone());
        let read = tokio::task::spawn_blocking(move || client_of_keytab(&keytab, Some(&principal))).await;
        let client = match read {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(Policy::NoCredential { why: error.to_string() }.into()),
            Err(error) => return Err(Policy::NoCredential { why: error.to_string() }.into()),
        };
        let mut tgt = self.tgt.lock().await;
        if let Some(tgt) = tgt.as_ref().filter(|tgt| tgt.is_valid(outbound.system.now())) {
            return Ok(client.with_credentials(vec![tgt.clone()]));
        }
        let got = outbound.ask(|env| client.initial(env)).await?;
        *tgt = Some(got.service.clone());
        Ok(client.with_credentials(vec![got.service]))
    }
}
