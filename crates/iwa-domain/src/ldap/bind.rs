//! Binding: by Kerberos, by a password over TLS. RFC 4513 5, RFC 4752, MS-ADTS 5.1.1.1.

use std::time::SystemTime;

use iwa_auth::krb5::client::{Client, Delegation, ServiceTicket, Step};
use iwa_auth::krb5::sasl::{Gssapi, MECHANISM, SaslError, Security};
use iwa_auth::ports::Kdc;
use iwa_auth::{Env, Reject, Secret, UnixTime};
use iwa_wire::krb5::Principal;
use iwa_wire::ldap::{Authentication, BindRequest, Message, Op, ResultCode};

use super::connection::{Connection, malformed, succeeded, unexpected};
use super::error::{Answered, LdapError, Why};
use crate::kdc_server::SystemEntropy;

/// How many steps a SASL bind may have.
const STEPS_LIMIT: usize = 8;

/// A ticket for a directory server: `ldap/host`. Its realm is the client's policy's, or found by referrals.
///
/// # Errors
/// What the KDC refuses, or that there is none.
pub async fn ticket_for(client: &Client, kdc: &dyn Kdc, host: &str) -> Result<ServiceTicket, Reject> {
    let service = Principal::service("ldap", &host.to_ascii_lowercase(), "");
    let mut step = client.ticket(&service, Delegation::No, &mut Env { now: now(), entropy: &mut SystemEntropy })?;
    loop {
        step = match step {
            Step::Ticket(ticket) => return Ok(ticket),
            Step::NeedKdc(need) => match kdc.ask(need.realm(), need.request()).await {
                Ok(answer) => need.answer(&answer, &mut Env { now: now(), entropy: &mut SystemEntropy })?,
                Err(why) => need.unanswered(why)?,
            },
        };
    }
}

/// The time of now.
pub(super) fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

impl Connection {
    /// Binds with a ticket for this server ([`ticket_for`]). In clear, everything is sealed from then on, and a server that
    /// does not seal is refused; inside TLS the ticket is tied to the TLS connection.
    ///
    /// # Errors
    /// [`LdapError`]; the connection is then of no more use.
    pub async fn bind_gssapi(&mut self, ticket: &ServiceTicket) -> Result<(), LdapError> {
        let doing = format!("binding as {}", ticket.service.client);
        self.gssapi(ticket).await.map_err(|why| self.error(doing, why))
    }

    async fn gssapi(&mut self, ticket: &ServiceTicket) -> Result<(), Why> {
        if self.stream.layer.is_some() {
            return Err(Why::Refused("the connection is sealed already; a second bind needs another one"));
        }
        let security = if self.stream.is_confidential() { Security::Tls } else { Security::Sealed };
        let now = now().shifted(ticket.service.clock_offset);
        let mut token = Vec::with_capacity(4096);
        let mut gssapi = {
            let mut env = Env { now, entropy: &mut SystemEntropy };
            Gssapi::begin(ticket, security, &self.bindings(), &mut env, &mut token).map_err(Why::Sasl)?
        };
        for _ in 0..STEPS_LIMIT {
            let authentication = Authentication::Sasl { mechanism: MECHANISM, credentials: Some(&token) };
            let answer = self.request(Op::BindRequest(BindRequest { name: "", authentication })).await?;
            let response = match Message::parse(&answer).map_err(malformed)?.op {
                Op::BindResponse(response) => response,
                other => return Err(unexpected("BindRequest", &other)),
            };
            let creds = response.server_sasl_creds.unwrap_or_default();
            match response.result.code {
                ResultCode::SASL_BIND_IN_PROGRESS => {
                    token.clear();
                    gssapi = gssapi.step(creds, &mut token).map_err(Why::Sasl)?;
                }
                ResultCode::SUCCESS => {
                    let layer = gssapi.finish().map_err(Why::Sasl)?;
                    // What stands behind the answer came before the layer, from whomever.
                    if self.stream.has_rest() {
                        return Err(Why::Broken("something was sent in clear after the bind".to_owned()));
                    }
                    self.stream.layer = layer;
                    return Ok(());
                }
                _ => {
                    // A KRB-ERROR says more than the result: a clock, a key.
                    if !creds.is_empty()
                        && let Err(error @ SaslError::Kerberos(_)) = gssapi.step(creds, &mut Vec::new())
                    {
                        return Err(Why::Sasl(error));
                    }
                    return Err(Why::Result(Answered::of(&response.result)));
                }
            }
        }
        Err(Why::Broken(format!("the bind does not end after {STEPS_LIMIT} steps")))
    }

    /// Binds with a name (a distinguished name; on Active Directory also `alice@corp.example.test` or `CORP\alice`) and a
    /// password. Only over TLS: in clear nothing is sent at all. An empty password is refused here, because a directory takes
    /// it for an anonymous bind and says success (RFC 4513 5.1.2).
    ///
    /// # Errors
    /// [`LdapError`]; a refusal as [`Why::Result`] with [`LdapError::data`].
    pub async fn bind_simple(&mut self, name: &str, password: &Secret<String>) -> Result<(), LdapError> {
        let doing = format!("binding as {name}");
        let work = async {
            if !self.stream.is_confidential() {
                return Err(Why::Refused(
                    "a password is sent over TLS only, and this connection has none: use StartTLS or ldaps",
                ));
            }
            if password.expose().is_empty() {
                return Err(Why::Refused(
                    "an empty password would be an anonymous bind, which says nothing about anybody",
                ));
            }
            if name.is_empty() {
                return Err(Why::Refused("a password without a name would be an anonymous bind"));
            }
            let authentication = Authentication::Simple(password.expose().as_bytes());
            let answer = self.request(Op::BindRequest(BindRequest { name, authentication })).await?;
            match Message::parse(&answer).map_err(malformed)?.op {
                Op::BindResponse(response) => succeeded(&response.result),
                other => Err(unexpected("BindRequest", &other)),
            }
        };
        work.await.map_err(|why| self.error(doing, why))
    }
}
