//! New configuration on SIGHUP, new keys and certificates when their files change. Connections live on; bad news changes nothing.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use iwa_auth::Acceptor;
use iwa_http::{Os, System as _};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::assemble::{self, Problem};
use super::listen::stopped;
use super::proxy::Proxy;
use super::site::Site;
use super::{Gateway, domain, names};
use crate::config::Config;

/// Looks at keytabs and certificates, and waits for SIGHUP, until the server stops.
pub(crate) async fn watch(gateway: Arc<Gateway>, file: Option<PathBuf>, mut stop: watch::Receiver<bool>) {
    let mut hangup = Hangup::new();
    let mut look = tokio::time::interval(BETWEEN_LOOKS);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = hangup.wait() => {
                report(Ok(configuration(&gateway, file.as_deref()).await));
            }
            _ = look.tick() => {
                let again = Arc::clone(&gateway);
                let gateway = Arc::clone(&gateway);
                report(spawn_blocking(move || keys(&gateway)).await);
                report(spawn_blocking(move || certificates(&again).and(tokens(&again)).and(sessions(&again))).await);
            }
        }
    }
}

/// Reads the configuration anew and takes it whole, or not at all.
pub(crate) async fn configuration(gateway: &Arc<Gateway>, file: Option<&Path>) -> Result<(), Problem> {
    let Some(file) = file.map(Path::to_owned) else {
        return Err(Problem("SIGHUP: this server was not started from a file".to_owned()));
    };
    let (of, path) = (Arc::clone(gateway), file.clone());
    let made = spawn_blocking(move || new_site(&of, &path)).await;
    let site = made.map_err(|error| Problem(format!("reading the configuration failed: {error}")))??;
    names::at_the_start(&site).await;
    let before = gateway.site();
    for what in needs_restart(&before.config, &site.config) {
        tracing::warn!("{what} changed; that takes effect when the server is started anew");
    }
    site.domains.iter().for_each(|domain| domain.keep());
    site.proxies().for_each(Proxy::keep);
    gateway.site.store(Arc::new(site));
    tracing::info!(file = %file.display(), "the configuration was read anew");
    Ok(())
}

fn new_site(gateway: &Gateway, file: &Path) -> Result<Site, Problem> {
    let mut config = read(file)?;
    // What the replay cache remembers, and how it judges its predecessor's death, hangs on the skew that it was made for.
    let kept = gateway.kept.skew;
    if let Some(kerberos) = config.kerberos.as_mut().filter(|kerberos| kerberos.clock_skew != kept) {
        kerberos.clock_skew = kept;
        tracing::warn!(
            seconds = kept.as_secs(),
            "clock-skew of [kerberos] stays as it was until the server is started anew"
        );
    }
    let before = gateway.site();
    let domains = domain::open(&config, &before.domains)?;
    let mut site = assemble::site(&config, &gateway.kept, domains, Some(&before))?;
    if site.certificates.is_none() {
        // Its listeners stay until the server is started anew.
        site.certificates.clone_from(&before.certificates);
    }
    Ok(site)
}

/// Takes new keys, if a keytab is another file or has another content. One that cannot be read keeps no other from being
/// taken: the machine's own keytab changes by itself.
pub(crate) fn keys(gateway: &Gateway) -> Result<(), Problem> {
    let site = gateway.site();
    let mut keytabs = site.keytabs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (renewed, mut problems) = keytabs.renew();
    if !renewed.is_empty() {
        match assemble::with_keys(&site, &keytabs) {
            Ok(acceptor) => {
                site.authenticator.replace_acceptor(acceptor);
                site.tickets.forget_all();
            }
            Err(problem) => problems.push(problem),
        }
    }
    drop(keytabs);
    for keytab in renewed {
        tracing::info!(keytab = %keytab.display(), "the keytab changed; its keys were read anew");
    }
    match problems.as_slice() {
        [] => Ok(()),
        problems => Err(Problem(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))),
    }
}

/// Takes what other servers wrote of sessions, and makes a new key if it is time.
fn sessions(gateway: &Gateway) -> Result<(), Problem> {
    gateway.site().sessions.as_ref().map_or(Ok(()), |sessions| sessions.refresh())
}

/// Takes new certificates, the server's own and those of terminators, where files changed.
pub(crate) fn certificates(gateway: &Gateway) -> Result<(), Problem> {
    let site = gateway.site();
    let own = site.certificates.as_ref().map_or(Ok(()), |certificates| certificates.refresh());
    if let Some(bindings) = site.terminators.refresh()? {
        let acceptor = Acceptor::clone(&site.authenticator.acceptor());
        site.authenticator.replace_acceptor(acceptor.with_terminators(bindings));
    }
    own
}

/// Takes new keys of tokens, makes the next one when it is time, and removes the dead.
fn tokens(gateway: &Gateway) -> Result<(), Problem> {
    let now = u64::try_from(Os.now().secs()).unwrap_or_default();
    let site = gateway.site();
    site.issuer.as_ref().map_or(Ok(()), |issuer| issuer.keys.refresh(now).map_err(Problem))
}

/// Reads a configuration; its warnings are told, its errors are the problem.
pub(crate) fn read(file: &Path) -> Result<Config, Problem> {
    match crate::config::load(file) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                tracing::warn!("{warning}");
            }
            Ok(loaded.config)
        }
        Err(problems) => {
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            Err(Problem(lines.join("\n")))
        }
    }
}

fn report(result: Result<Result<(), Problem>, tokio::task::JoinError>) {
    match result {
        Ok(Ok(())) => {}
        Ok(Err(problem)) => tracing::error!("{problem}; the server goes on with what it had"),
        Err(error) => tracing::error!(%error, "reloading failed; the server goes on with what it had"),
    }
}

fn needs_restart(before: &Config, now: &Config) -> Vec<&'static str> {
    let mut changed = Vec::new();
    if (&before.server.listen, &before.server.listen_tls) != (&now.server.listen, &now.server.listen_tls) {
        changed.push("listen of [server]");
    }
    if before.limits != now.limits {
        changed.push("[limits]");
    }
    if before.log != now.log {
        changed.push("[log]");
    }
    if before.admin != now.admin {
        changed.push("[admin]");
    }
    changed
}

/// How long a new keytab may go unseen: shorter than anybody waits who changed it.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// SIGHUP, where there is one.
struct Hangup {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Hangup {
    fn new() -> Self {
        #[cfg(unix)]
        {
            let signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup());
            if let Err(error) = &signal {
                tracing::warn!(%error, "SIGHUP cannot be heard");
            }
            Self { signal: signal.ok() }
        }
        #[cfg(not(unix))]
        Self {}
    }

    async fn wait(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        core::future::pending().await
    }
}
