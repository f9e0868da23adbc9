//! The initiator of SPNEGO: its list, and what it takes for an answer. RFC 4178 4.2.1, 5; MS-SPNG 3.1.5.

use iwa_wire::gss::MechType;
use iwa_wire::spnego::{MechTypeList, NegState, NegTokenInit, NegTokenResp, NegotiationToken};

use super::mic::{self, Session};
use crate::identity::Mechanism;
use crate::reject::{Internal, Malformed, Peer, Reject};

/// A negotiation between its tokens.
#[derive(Debug)]
pub(crate) struct Negotiation {
    /// `mechTypes` as it went out: what the MIC covers.
    mech_types: Vec<u8>,
    mechanism: Mechanism,
    mic_required: bool,
    /// Whether the acceptor has answered: `supportedMech` and `request-mic` have their place in the first answer alone.
    answered: bool,
    mic_sent: bool,
    /// Whether the acceptor's MIC came and is right.
    proved: bool,
}

/// What the acceptor answered.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) state: NegState,
    pub(crate) token: Option<&'a [u8]>,
    pub(crate) mic: Option<&'a [u8]>,
    /// The acceptor chose another mechanism than the one whose token it got: begin anew with this.
    pub(crate) switched: Option<Mechanism>,
}

/// What is left to do once the mechanism is done on our side.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Conclusion {
    /// Nothing.
    Done,
    /// Our MIC went to the output; the acceptor has nothing more to say that would matter.
    SentMic,
}

impl Negotiation {
    /// Offers these mechanisms, the most wanted first, and sends a token of the first ahead.
    ///
    /// # Errors
    /// [`Internal::Invariant`] if the list is empty.
    pub(crate) fn offer(mechanisms: &[Mechanism], token: &[u8], out: &mut Vec<u8>) -> Result<Self, Reject> {
        let mechanism = *mechanisms.first().ok_or(Internal::Invariant("there is a mechanism to offer"))?;
        let oids: Vec<MechType<'_>> = mechanisms.iter().flat_map(|mechanism| oids(*mechanism)).copied().collect();
        let mut mech_types = Vec::new();
        MechTypeList::write(&oids, &mut mech_types);
        let list = MechTypeList::parse(&mech_types).map_err(|_| Internal::Invariant("the list is what was written"))?;
        NegTokenInit::new(list, Some(token)).write(out);
        Ok(Self { mech_types, mechanism, mic_required: false, answered: false, mic_sent: false, proved: false })
    }

    /// Reads the acceptor's answer.
    ///
    /// # Errors
    /// If it is malformed, a `reject` (whose token is handed to `words`), or a mechanism that was not offered.
    pub(crate) fn answer<'a>(
        &mut self,
        token: &'a [u8],
        words: impl FnOnce(&[u8]) -> String,
    ) -> Result<Answer<'a>, Reject> {
        let NegotiationToken::Resp(resp) = NegotiationToken::parse(token)? else {
            return Err(Malformed::OutOfSequence { wanted: "NegTokenResp", found: "NegTokenInit" }.into());
        };
        let NegTokenResp { neg_state, supported_mech, response_token: token, mech_list_mic } = resp;
        let state = neg_state.unwrap_or(NegState::AcceptIncomplete);
        if state == NegState::Reject {
            return Err(Peer::Rejected { said: token.map(words).unwrap_or_default() }.into());
        }
        let first = !core::mem::replace(&mut self.answered, true);
        let mut switched = None;
        if let Some(mech) = supported_mech {
            let mechanism = self.offered(mech).ok_or(Malformed::OutOfSequence {
                wanted: "one of the mechanisms that were offered",
                found: "another one as supportedMech",
            })?;
            if mechanism != self.mechanism {
                if !first || state == NegState::AcceptCompleted {
                    return Err(Malformed::OutOfSequence {
                        wanted: "the mechanism that was agreed on",
                        found: "another one as supportedMech",
                    }
                    .into());
                }
                self.mechanism = mechanism;
                self.mic_required = true;
                switched = Some(mechanism);
            }
        }
        if state == NegState::RequestMic {
            self.mic_required = true;
        }
        Ok(Answer { state, token, mic: mic::sent(mech_list_mic, token), switched })
    }

    /// Sends a token of the mechanism that is not its last.
    pub(crate) fn carry(&self, token: &[u8], out: &mut Vec<u8>) {
        write(NegState::AcceptIncomplete, Some(token), None, out);
    }

    /// Sends the mechanism's last token, which is ours, with our MIC where one has to be or where `willing`.
    ///
    /// # Errors
    /// Of the session's signature.
    pub(crate) fn carry_last(
        &mut self,
        session: &mut impl Session,
        token: &[u8],
        willing: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Reject> {
        self.mic_sent = self.mic_required || willing;
        let mic = if self.mic_sent { Some(session.sign(&self.mech_types)?) } else { None };
        write(NegState::AcceptIncomplete, Some(token), mic.as_deref(), out);
        Ok(())
    }

    /// Ends the negotiation on our side: checks the acceptor's MIC, and sends ours if it still waits for it.
    ///
    /// # Errors
    /// [`Peer::MechListMic`], [`Peer::MechListMicMissing`].
    pub(crate) fn conclude(
        &mut self,
        session: &mut impl Session,
        answer: &Answer<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Conclusion, Reject> {
        self.proved |= mic::check(session, &self.mech_types, answer.mic)?;
        if self.mic_required && !self.proved && answer.state == NegState::AcceptCompleted {
            return Err(Peer::MechListMicMissing.into());
        }
        if answer.state == NegState::AcceptCompleted {
            return Ok(Conclusion::Done);
        }
        if self.mic_sent || (self.mic_required && !self.proved) {
            return Err(Malformed::OutOfSequence {
                wanted: "accept-completed: the mechanism is done",
                found: "a NegTokenResp that says it is not",
            }
            .into());
        }
        let own = session.sign(&self.mech_types)?;
        self.mic_sent = true;
        write(NegState::AcceptCompleted, None, Some(&own), out);
        Ok(Conclusion::SentMic)
    }

    /// The end without a last word of the acceptor (HTTP answered success and no token).
    ///
    /// # Errors
    /// [`Peer::MechListMicMissing`] if one has to be.
    pub(crate) fn conclude_in_silence(&self) -> Result<(), Peer> {
        if self.mic_required && !self.proved { Err(Peer::MechListMicMissing) } else { Ok(()) }
    }

    fn offered(&self, mech: MechType<'_>) -> Option<Mechanism> {
        let list = MechTypeList::parse(&self.mech_types).ok()?;
        if !list.contains(mech) {
            return None;
        }
        [Mechanism::Kerberos, Mechanism::Ntlm].into_iter().find(|mechanism| oids(*mechanism).contains(&mech))
    }
}

fn write(state: NegState, token: Option<&[u8]>, mic: Option<&[u8]>, out: &mut Vec<u8>) {
    let resp = NegTokenResp { neg_state: Some(state), supported_mech: None, response_token: token, mech_list_mic: mic };
    resp.write(out);
}

/// The OIDs by which a mechanism is offered. Microsoft's stands behind the right one: acceptors that look at nothing but the
/// first know that one.
const fn oids(mechanism: Mechanism) -> &'static [MechType<'static>] {
    match mechanism {
        Mechanism::Kerberos => &[MechType::KRB5, MechType::MS_KRB5],
        Mechanism::Ntlm => &[MechType::NTLMSSP],
        Mechanism::Basic => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reject::Reason;

    const BOTH: &[Mechanism] = &[Mechanism::Kerberos, Mechanism::Ntlm];

    /// Signs with a fixed tag.
    struct Tagged;

    impl Session for Tagged {
        fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, Reject> {
            Ok([b"ours:", message].concat())
        }

        fn verify(&mut self, message: &[u8], mic: &[u8]) -> bool {
            mic.strip_prefix(b"theirs:") == Some(message)
        }
    }

    fn offer() -> Negotiation {
        Negotiation::offer(BOTH, b"AP-REQ", &mut Vec::new()).unwrap()
    }

    fn written(resp: NegTokenResp<'_>) -> Vec<u8> {
        let mut token = Vec::new();
        resp.write(&mut token);
        token
    }

    fn answer<'a>(negotiation: &mut Negotiation, token: &'a [u8]) -> Result<Answer<'a>, Reason> {
        negotiation.answer(token, |token| String::from_utf8_lossy(token).into_owned()).map_err(|reject| reject.reason)
    }

    const COMPLETED: NegTokenResp<'static> = NegTokenResp {
        neg_state: Some(NegState::AcceptCompleted),
        supported_mech: Some(MechType::MS_KRB5),
        response_token: Some(b"AP-REP"),
        mech_list_mic: None,
    };

    #[test]
    fn an_empty_offer_is_our_own_fault_and_goes_nowhere() {
        let mut out = Vec::new();
        let reject = Negotiation::offer(&[], b"", &mut out).unwrap_err();
        assert_eq!((reject.reason.code(), out.len()), ("internal.invariant", 0));
    }

    #[test]
    fn a_plain_success_needs_no_mic() {
        let mut negotiation = offer();
        let token = written(COMPLETED);
        let reply = answer(&mut negotiation, &token).unwrap();
        assert_eq!((reply.token, reply.switched), (Some(&b"AP-REP"[..]), None));
        assert_eq!(negotiation.conclude(&mut Tagged, &reply, &mut Vec::new()), Ok(Conclusion::Done));
    }

    #[test]
    fn a_mic_that_copies_the_token_is_none_and_a_wrong_one_is_refused() {
        for (mic, end) in [(&b"AP-REP"[..], Ok(Conclusion::Done)), (b"forged", Err(Reject::from(Peer::MechListMic)))] {
            let mut negotiation = offer();
            let token = written(NegTokenResp { mech_list_mic: Some(mic), ..COMPLETED });
            let reply = answer(&mut negotiation, &token).unwrap();
            assert_eq!(negotiation.conclude(&mut Tagged, &reply, &mut Vec::new()), end);
        }
    }

    #[test]
    fn a_change_to_ntlm_demands_the_acceptors_mic() {
        let mut negotiation = offer();
        let token = written(NegTokenResp {
            neg_state: Some(NegState::RequestMic),
            supported_mech: Some(MechType::NTLMSSP),
            ..NegTokenResp::default()
        });
        let reply = answer(&mut negotiation, &token).unwrap();
        assert_eq!((reply.switched, reply.state), (Some(Mechanism::Ntlm), NegState::RequestMic));
        let mut out = Vec::new();
        negotiation.carry_last(&mut Tagged, b"AUTHENTICATE", false, &mut out).unwrap();
        let NegotiationToken::Resp(last) = NegotiationToken::parse(&out).unwrap() else { panic!() };
        assert!(last.mech_list_mic.is_some());
        assert_eq!(negotiation.conclude_in_silence(), Err(Peer::MechListMicMissing));

        let mut theirs = b"theirs:".to_vec();
        theirs.extend_from_slice(&negotiation.mech_types);
        for (mic, end) in [
            (None, Err(Reject::from(Peer::MechListMicMissing))),
            (Some(&b"theirs:"[..]), Err(Reject::from(Peer::MechListMic))),
            (Some(&theirs), Ok(Conclusion::Done)),
        ] {
            let token = written(NegTokenResp {
                neg_state: Some(NegState::AcceptCompleted),
                mech_list_mic: mic,
                ..NegTokenResp::default()
            });
            let reply = answer(&mut negotiation, &token).unwrap();
            assert_eq!(negotiation.conclude(&mut Tagged, &reply, &mut Vec::new()), end);
        }
    }

    #[test]
    fn our_mic_follows_when_the_acceptor_waits_for_it() {
        let mut negotiation = offer();
        let mut theirs = b"theirs:".to_vec();
        theirs.extend_from_slice(&negotiation.mech_types);
        let incomplete = NegTokenResp { neg_state: Some(NegState::AcceptIncomplete), ..COMPLETED };
        let token = written(NegTokenResp { mech_list_mic: Some(&theirs), ..incomplete });
        let reply = answer(&mut negotiation, &token).unwrap();
        let mut out = Vec::new();
        assert_eq!(negotiation.conclude(&mut Tagged, &reply, &mut out), Ok(Conclusion::SentMic));
        let NegotiationToken::Resp(last) = NegotiationToken::parse(&out).unwrap() else { panic!() };
        assert_eq!(last.neg_state, Some(NegState::AcceptCompleted));
        assert!(last.mech_list_mic.is_some_and(|mic| mic.starts_with(b"ours:")));
        // It cannot go on for ever.
        assert!(negotiation.conclude(&mut Tagged, &reply, &mut out).is_err());
    }

    #[test]
    fn what_was_not_offered_and_what_changes_late_is_refused() {
        let code =
            |negotiation: &mut Negotiation, resp| answer(negotiation, &written(resp)).map(|_| ()).map_err(|r| r.code());
        let ntlm = NegTokenResp { supported_mech: Some(MechType::NTLMSSP), ..COMPLETED };
        let sequence = Err("malformed.out-of-sequence");
        assert_eq!(code(&mut offer(), NegTokenResp { supported_mech: Some(MechType::NEGOEX), ..COMPLETED }), sequence);
        assert_eq!(code(&mut offer(), ntlm), sequence, "NTLM was never spoken, and cannot have succeeded");
        let mut later = offer();
        assert_eq!(code(&mut later, NegTokenResp { neg_state: None, ..COMPLETED }), Ok(()));
        assert_eq!(code(&mut later, NegTokenResp { neg_state: None, ..ntlm }), sequence);
        let mut init = Vec::new();
        Negotiation::offer(BOTH, b"", &mut init).unwrap();
        assert_eq!(answer(&mut offer(), &init).map(|_| ()).map_err(|r| r.code()), sequence);
    }

    #[test]
    fn a_reject_is_told_in_the_mechanisms_words() {
        let token = written(NegTokenResp {
            neg_state: Some(NegState::Reject),
            response_token: Some(b"too late"),
            ..NegTokenResp::default()
        });
        let reason = answer(&mut offer(), &token).unwrap_err();
        assert_eq!(reason, Reason::Peer(Peer::Rejected { said: "too late".to_owned() }));
    }
}
