//! `[admin]`: the port for an operator's tools.

use std::net::SocketAddr;
use std::time::Duration;

use super::raw::Section;
use super::read::Reading;
use super::value;

/// `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Admin {
    /// `listen`: where `/healthz`, `/readyz` and `/metrics` are; `None` serves them nowhere.
    pub(crate) listen: Option<SocketAddr>,
    /// `drain`: for how long connections are still taken after the server was told to stop, while `/readyz` says 503 already.
    pub(crate) drain: Duration,
}

impl<'a> Reading<'a> {
    pub(super) fn admin(&self, section: Section<'a>) -> Admin {
        let mut admin = Admin::default();
        if let Some(listen) = section.string("listen") {
            match value::address(listen.value).as_deref() {
                Ok([address, ..]) => {
                    admin.listen = Some(*address);
                    if !address.ip().is_loopback() {
                        self.report.warning(
                            listen.span,
                            "listen: whoever reaches this port reads what the server counts; keep it to the network of the operators",
                        );
                    }
                }
                Ok([]) => {}
                Err(why) => self.report.error(listen.span, format!("listen: {why}")),
            }
        } else if section.is_written() {
            self.report.error(section.span(), "[admin] needs `listen`, for example listen = \"127.0.0.1:9180\"");
        }
        if let Some(drain) = section.duration("drain") {
            admin.drain = drain.value;
        }
        section.finish();
        admin
    }
}
