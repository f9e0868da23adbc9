//! `iwa check`, the double hop: as whom the gateway signs in to applications, and whether the KDC lets it.

use std::sync::Arc;

use super::{LONGEST_CHECK, Page};
use crate::config::{Config, Outbound as Section, Route, Who};
use crate::gateway::domain;
use crate::gateway::keytabs::Keytabs;
use crate::gateway::outbound::{Outbound, Tickets};

/// What a route says.
pub(super) fn in_words(page: &mut Page, route: &Route) {
    let Some(Section { service, who, account, mutual, .. }) = &route.outbound else { return };
    let account = match account {
        Some((principal, _)) => principal.to_string(),
        None => "the machine's account".to_owned(),
    };
    let whom = match who {
        Who::OurSelf => format!("as {account}"),
        Who::User(how) => {
            let how: Vec<_> = how.iter().map(|how| how.name()).collect();
            format!("as the visitor ({}) with {account}", how.join(", then "))
        }
    };
    let proves = if *mutual { "which must prove itself" } else { "which need not prove itself" };
    page.more(format_args!("{} signs in {whom} to {service}, {proves}", route.path));
}

/// Asks the KDC. What it says is no problem of the configuration: it may be checked where no KDC is.
pub(super) fn ask(config: &Config, user: Option<&str>) -> Vec<String> {
    let routes: Vec<_> = config.routes.iter().filter_map(|route| Some((route, route.outbound.as_ref()?))).collect();
    if routes.is_empty() {
        return Vec::new();
    }
    let asked = || -> Result<Vec<String>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        let keytabs = Keytabs::read(&config.keytabs()).map_err(|problem| problem.to_string())?;
        runtime.block_on(async {
            let domains = domain::open(config, &[]).map_err(|problem| problem.to_string())?;
            let tickets = Arc::new(Tickets::new(1, LONGEST_CHECK));
            let mut lines = Vec::new();
            for (route, section) in routes {
                let outbound = match Outbound::new(section, config, &domains, &keytabs, &tickets) {
                    Ok(outbound) => outbound,
                    Err(problem) => {
                        lines.push(format!("{}: {problem}", route.path));
                        continue;
                    }
                };
                let said = match tokio::time::timeout(LONGEST_CHECK, outbound.probe(user)).await {
                    Ok(Ok(said)) => format!("{}: {said}", section.service),
                    Ok(Err(refused)) => refused.words,
                    Err(_) => format!("{}: no KDC answers in time", section.service),
                };
                lines.push(format!("{}: {said}", route.path));
            }
            Ok(lines)
        })
    };
    asked().unwrap_or_else(|why| vec![why])
}
