//! A token that goes out with a request before anybody asks for it, made of a ticket that is at hand. RFC 4559 5, RFC 9110 11.6.2.

use http::StatusCode;
use http::header::{HeaderMap, HeaderValue};
use iwa_auth::initiate::{Handshake, Initiate, Initiator};
use iwa_auth::krb5::client::ServiceTicket;
use iwa_auth::reject::{Malformed, Peer, Reason};
use iwa_auth::{Env, Scheme};

use crate::challenge::token_line;
use crate::client::{challenges_of, token_of};
use crate::system::{EntropyOf, System};

/// Makes the value of `Authorization` for one request: an AP-REQ that nobody saw before. With `mutual` the server must prove
/// in its answer that it is the ticket's service.
///
/// # Errors
/// No randomness, or a ticket that does not parse.
pub fn ahead(ticket: ServiceTicket, mutual: bool, system: &dyn System) -> Result<(HeaderValue, Sent), Reason> {
    let mut token = Vec::with_capacity(ticket.service.ticket.len() + 512);
    let env = &mut Env { now: system.now(), entropy: &mut EntropyOf(system) };
    let handshake = Initiator::with_ticket(ticket, mutual, env, &mut token).map_err(|reject| reject.reason)?;
    let mut line = token_line(Scheme::Negotiate, &token);
    line.set_sensitive(true);
    Ok((line, Sent { handshake: Box::new(handshake) }))
}

/// A request that is out with its token.
#[derive(Debug)]
pub struct Sent {
    handshake: Box<Handshake>,
}

impl Sent {
    /// Takes the head of the answer.
    ///
    /// # Errors
    /// [`Peer::Rejected`] with what the server says for a 401, [`Peer::NotMutual`] if it had to prove itself and did not.
    pub fn answered(self, status: StatusCode, headers: &HeaderMap, system: &dyn System) -> Result<(), Reason> {
        let challenges = challenges_of(headers);
        let token = token_of(Scheme::Negotiate, &challenges)?;
        let refused = status == StatusCode::UNAUTHORIZED;
        let result = match token {
            Some(token) => {
                let env = &mut Env { now: system.now(), entropy: &mut EntropyOf(system) };
                match self.handshake.step(&token, env, &mut Vec::new()) {
                    Ok(Initiate::Established(_)) => Ok(()),
                    // It wants another token, and there is none.
                    Ok(Initiate::Continue(_) | Initiate::NeedKdc(_)) if refused => Ok(()),
                    Ok(_) => {
                        let found = "success in the middle of the handshake";
                        Err(Malformed::OutOfSequence { wanted: "the last token", found }.into())
                    }
                    Err(reject) => Err(reject.reason),
                }
            }
            None if refused => Ok(()),
            None => self.handshake.step_in_silence().map(|_| ()).map_err(|reject| reject.reason),
        };
        match result {
            Ok(()) if refused => {
                let names: Vec<_> = challenges.iter().map(|challenge| challenge.scheme.name()).collect();
                let said = match names.as_slice() {
                    [] => "401 without any challenge".to_owned(),
                    names => format!("401, and it offers {}", names.join(", ")),
                };
                Err(Peer::Rejected { said }.into())
            }
            result => result,
        }
    }
}
