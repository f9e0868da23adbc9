//! The acceptor of SPNEGO: its choice among the client's mechanisms, and its answers. RFC 4178 4.2.2, 5; MS-SPNG 3.2.5.

use iwa_wire::gss::MechType;
use iwa_wire::spnego::{MechTypeList, NegState, NegTokenInit, NegTokenResp, NegotiationToken};

use super::mic::{self, Session};
use crate::identity::Mechanism;
use crate::reject::{Malformed, Peer, Policy, Reject};

/// A negotiation between its tokens: what was agreed on, and what is still owed.
#[derive(Debug)]
pub(crate) struct Negotiation {
    /// `mechTypes` as the client encoded it: what the MIC covers.
    mech_types: Box<[u8]>,
    /// The mechanism agreed on, under the OID by which the client asked for it first.
    supported_mech: MechType<'static>,
    mechanism: Mechanism,
    mic_required: bool,
    /// Whether an answer went out already: `supportedMech` stands in the first alone.
    answered: bool,
    offered_kerberos: bool,
}

/// What a `NegTokenInit` leads to.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    pub(crate) negotiation: Negotiation,
    /// The token for the mechanism agreed on, if the client sent it ahead.
    pub(crate) token: Option<&'a [u8]>,
    pub(crate) mic: Option<&'a [u8]>,
}

/// Where a negotiation stands once its mechanism is done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Conclusion {
    /// Over.
    Done {
        /// Whether the client proved its list of mechanisms.
        list_proved: bool,
    },
    /// The client's MIC must still come.
    WantMic,
}

impl Negotiation {
    /// Chooses among what the client offers. `preference` are the mechanisms that are on here, most preferred first.
    ///
    /// The client's first choice is taken if it is on. Otherwise, as RFC 4178 4.2.2 leaves it to the acceptor, the most
    /// preferred here of those the client offers; its token is then for another mechanism, and is ignored.
    ///
    /// # Errors
    /// [`Policy::MechanismOff`] if what the client offers is known and off, [`Policy::NoCommonMechanism`] if nothing of it
    /// is known, [`Malformed::OutOfSequence`] if the token is of a mechanism that the list does not name.
    pub(crate) fn open<'a>(init: &NegTokenInit<'a>, preference: &[Mechanism]) -> Result<Opening<'a>, Reject> {
        let list = &init.mech_types;
        let is_on = |mechanism| preference.contains(&mechanism);
        let listed = |wanted| list.iter().filter_map(known).find(|(_, mechanism)| *mechanism == wanted);

        let first = known(list.first()).filter(|(_, mechanism)| is_on(*mechanism));
        let token = if first.is_some() { init.mech_token } else { None };
        let mut mic_required = first.is_none();
        let mut chosen = first
            .or_else(|| preference.iter().find_map(|mechanism| listed(*mechanism)))
            .ok_or_else(|| nothing_in_common(list))?;
        match chosen.1 {
            // The list says Kerberos first, the token is NTLM: no ticket, and a list that was not put in order for it.
            Mechanism::Kerberos if token.is_some_and(is_ntlm) => match listed(Mechanism::Ntlm) {
                Some(_) if !is_on(Mechanism::Ntlm) => return Err(Policy::MechanismOff(Mechanism::Ntlm).into()),
                Some(ntlm) => (chosen, mic_required) = (ntlm, true),
                None => return Err(not_as_listed("a Kerberos token").into()),
            },
            Mechanism::Ntlm if token.is_some_and(|token| !is_ntlm(token)) => {
                return Err(not_as_listed("an NTLM message").into());
            }
            _ => {}
        }
        let (supported_mech, mechanism) = chosen;
        let negotiation = Self {
            mech_types: list.raw().into(),
            supported_mech,
            mechanism,
            mic_required,
            answered: false,
            offered_kerberos: list.iter().any(|mech| mech.is_krb5()),
        };
        Ok(Opening { negotiation, token, mic: mic::sent(init.mech_list_mic, init.mech_token) })
    }

    /// The mechanism agreed on.
    pub(crate) const fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Whether the client could have come with Kerberos, by its own list.
    pub(crate) const fn offered_kerberos(&self) -> bool {
        self.offered_kerberos
    }

    /// Reads a token that is not the first.
    ///
    /// # Errors
    /// If it is malformed, a second `NegTokenInit`, a change of mechanism, or the client's `reject`.
    pub(crate) fn next<'a>(&self, token: &'a [u8]) -> Result<NegTokenResp<'a>, Reject> {
        if is_ntlm(token) {
            return Err(Malformed::OutOfSequence { wanted: "NegTokenResp", found: "a raw NTLM message" }.into());
        }
        match NegotiationToken::parse(token)? {
            NegotiationToken::Init(_) => Err(Malformed::OutOfSequence {
                wanted: "NegTokenResp, which goes on with the negotiation",
                found: "a second NegTokenInit",
            }
            .into()),
            NegotiationToken::Resp(NegTokenResp { neg_state: Some(NegState::Reject), .. }) => {
                Err(Peer::Rejected { said: String::new() }.into())
            }
            NegotiationToken::Resp(NegTokenResp { supported_mech: Some(mech), .. }) if mech != self.supported_mech => {
                Err(mechanism_changed().into())
            }
            NegotiationToken::Resp(NegTokenResp { response_token: Some(token), .. })
                if is_ntlm(token) != (self.mechanism == Mechanism::Ntlm) =>
            {
                Err(mechanism_changed().into())
            }
            NegotiationToken::Resp(resp) => {
                Ok(NegTokenResp { mech_list_mic: mic::sent(resp.mech_list_mic, resp.response_token), ..resp })
            }
        }
    }

    /// Asks for the first token of the mechanism agreed on.
    pub(crate) fn ask(&mut self, out: &mut Vec<u8>) {
        let state = if self.mic_required { NegState::RequestMic } else { NegState::AcceptIncomplete };
        self.write(state, None, None, out);
    }

    /// Carries a token of the mechanism that is not its last.
    pub(crate) fn carry(&mut self, token: &[u8], out: &mut Vec<u8>) {
        // RFC 4178 4.2.2: request-mic can stand in the first answer alone, and this may be the first.
        let first_and_required = self.mic_required && !self.answered;
        let state = if first_and_required { NegState::RequestMic } else { NegState::AcceptIncomplete };
        self.write(state, Some(token), None, out);
    }

    /// Ends the negotiation after its mechanism: checks the client's MIC, makes ours, and carries the mechanism's last
    /// token. RFC 4178 5 (b) and (c).
    ///
    /// # Errors
    /// [`Peer::MechListMic`], [`Peer::MechListMicMissing`].
    pub(crate) fn conclude(
        &mut self,
        session: &mut impl Session,
        client_mic: Option<&[u8]>,
        last_token: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<Conclusion, Reject> {
        let list_proved = mic::check(session, &self.mech_types, client_mic)?;
        if list_proved {
            let own = session.sign(&self.mech_types)?;
            self.write(NegState::AcceptCompleted, last_token, Some(&own), out);
        } else if !self.mic_required {
            self.write(NegState::AcceptCompleted, last_token, None, out);
        } else if last_token.is_some() {
            // The client could not sign before it had our last token: its MIC follows.
            let own = session.sign(&self.mech_types)?;
            self.write(NegState::AcceptIncomplete, last_token, Some(&own), out);
            return Ok(Conclusion::WantMic);
        } else {
            return Err(Peer::MechListMicMissing.into());
        }
        Ok(Conclusion::Done { list_proved })
    }

    /// Takes the MIC that [`Conclusion::WantMic`] waits for. Nothing goes out: the client is done before us.
    ///
    /// # Errors
    /// [`Peer::MechListMic`], [`Peer::MechListMicMissing`].
    pub(crate) fn take_mic(&self, session: &mut impl Session, resp: &NegTokenResp<'_>) -> Result<(), Reject> {
        if resp.response_token.is_some() {
            return Err(Malformed::OutOfSequence {
                wanted: "the mechListMIC alone: the mechanism is done",
                found: "another token of the mechanism",
            }
            .into());
        }
        match mic::check(session, &self.mech_types, resp.mech_list_mic)? {
            true => Ok(()),
            false => Err(Peer::MechListMicMissing.into()),
        }
    }

    fn write(&mut self, state: NegState, token: Option<&[u8]>, mic: Option<&[u8]>, out: &mut Vec<u8>) {
        let supported_mech = if self.answered { None } else { Some(self.supported_mech) };
        self.answered = true;
        NegTokenResp { neg_state: Some(state), supported_mech, response_token: token, mech_list_mic: mic }.write(out);
    }
}

/// Appends the answer that ends a negotiation badly, with the mechanism's error token if there is one.
pub(crate) fn reject(error_token: &[u8], out: &mut Vec<u8>) {
    let response_token = if error_token.is_empty() { None } else { Some(error_token) };
    NegTokenResp { neg_state: Some(NegState::Reject), response_token, ..NegTokenResp::default() }.write(out);
}

/// Whether a token is an NTLM message: the signature, and what follows is NTLM's business.
pub(crate) fn is_ntlm(token: &[u8]) -> bool {
    token.starts_with(b"NTLMSSP\0")
}

/// The mechanisms that may be chosen. NEGOEX is none of them.
fn known(mech: MechType<'_>) -> Option<(MechType<'static>, Mechanism)> {
    [
        (MechType::KRB5, Mechanism::Kerberos),
        (MechType::MS_KRB5, Mechanism::Kerberos),
        (MechType::NTLMSSP, Mechanism::Ntlm),
    ]
    .into_iter()
    .find(|(own, _)| *own == mech)
}

fn nothing_in_common(list: &MechTypeList<'_>) -> Policy {
    match list.iter().find_map(known) {
        Some((_, mechanism)) => Policy::MechanismOff(mechanism),
        None => {
            // The list may be long, and the operator needs no more than its beginning.
            let offered: Vec<String> = list.iter().take(5).map(|mech| mech.to_string()).collect();
            Policy::NoCommonMechanism { offered: offered.join(", ") }
        }
    }
}

const fn not_as_listed(wanted: &'static str) -> Malformed {
    Malformed::OutOfSequence { wanted, found: "a token of a mechanism that is not the first in the client's list" }
}

const fn mechanism_changed() -> Malformed {
    Malformed::OutOfSequence {
        wanted: "a token of the mechanism that was agreed on",
        found: "a token of another mechanism",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reject::Reason;

    const NTLM: &[u8] = b"NTLMSSP\0\x01\0\0\0";
    const KRB5: &[u8] = &[0x60, 0x03, 0x06, 0x01, 0x2a];
    const BOTH: &[Mechanism] = &[Mechanism::Kerberos, Mechanism::Ntlm];

    /// What Windows offers, in its order.
    const WINDOWS: &[MechType<'static>] = &[MechType::MS_KRB5, MechType::KRB5, MechType::NEGOEX, MechType::NTLMSSP];

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

    fn open(
        mechs: &[MechType<'_>],
        token: Option<&'static [u8]>,
        preference: &[Mechanism],
    ) -> Result<(Negotiation, Option<Vec<u8>>), Reject> {
        let mut list = Vec::new();
        MechTypeList::write(mechs, &mut list);
        let list = MechTypeList::parse(&list).expect("it was just written");
        let opening = Negotiation::open(&NegTokenInit::new(list, token), preference)?;
        Ok((opening.negotiation, opening.token.map(<[u8]>::to_vec)))
    }

    fn resp(token: &[u8]) -> NegTokenResp<'_> {
        match NegotiationToken::parse(token) {
            Ok(NegotiationToken::Resp(resp)) => resp,
            other => panic!("{other:?}"),
        }
    }

    fn theirs(mechs: &[MechType<'_>]) -> Vec<u8> {
        let mut mic = b"theirs:".to_vec();
        MechTypeList::write(mechs, &mut mic);
        mic
    }

    #[test]
    fn the_first_choice_is_taken_with_its_token_and_microsofts_oid_is_echoed() {
        let (mut negotiation, token) = open(WINDOWS, Some(KRB5), BOTH).unwrap();
        assert_eq!((negotiation.mechanism(), token.as_deref()), (Mechanism::Kerberos, Some(KRB5)));
        let mut out = Vec::new();
        let end = negotiation.conclude(&mut Tagged, None, Some(b"AP-REP"), &mut out).unwrap();
        assert_eq!(end, Conclusion::Done { list_proved: false });
        // The shape of the answer of IIS: no mechListMIC when none has to be.
        let resp = resp(&out);
        assert_eq!(resp.neg_state, Some(NegState::AcceptCompleted));
        assert_eq!(resp.supported_mech, Some(MechType::MS_KRB5));
        assert_eq!((resp.response_token, resp.mech_list_mic), (Some(&b"AP-REP"[..]), None));
    }

    #[test]
    fn the_standard_oid_is_echoed_to_a_client_that_lists_it_first() {
        let (mut negotiation, _) = open(&[MechType::KRB5, MechType::MS_KRB5], Some(KRB5), BOTH).unwrap();
        let mut out = Vec::new();
        negotiation.conclude(&mut Tagged, None, None, &mut out).unwrap();
        assert_eq!(resp(&out).supported_mech, Some(MechType::KRB5));
    }

    #[test]
    fn a_token_for_a_mechanism_not_taken_is_ignored_and_a_mic_demanded() {
        for (mechs, preference, mechanism, oid) in [
            (WINDOWS, &[Mechanism::Ntlm][..], Mechanism::Ntlm, MechType::NTLMSSP),
            (&[MechType::NEGOEX, MechType::MS_KRB5, MechType::NTLMSSP], BOTH, Mechanism::Kerberos, MechType::MS_KRB5),
            (&[MechType::NEGOEX, MechType::NTLMSSP, MechType::KRB5], BOTH, Mechanism::Kerberos, MechType::KRB5),
            (&[MechType::NTLMSSP, MechType::KRB5], &[Mechanism::Kerberos], Mechanism::Kerberos, MechType::KRB5),
        ] {
            let (mut negotiation, token) = open(mechs, Some(b"for the first"), preference).unwrap();
            assert_eq!((negotiation.mechanism(), token), (mechanism, None));
            let mut out = Vec::new();
            negotiation.ask(&mut out);
            assert_eq!(resp(&out).neg_state, Some(NegState::RequestMic));
            assert_eq!(resp(&out).supported_mech, Some(oid));
            assert_eq!(resp(&out).response_token, None);
            // The client sends the last token (NTLM, or Kerberos without mutual authentication) and no MIC.
            let missing = negotiation.conclude(&mut Tagged, None, None, &mut out).unwrap_err();
            assert_eq!(missing.reason, Reason::Peer(Peer::MechListMicMissing));
            let wrong = negotiation.conclude(&mut Tagged, Some(b"theirs:\x30\0"), None, &mut out).unwrap_err();
            assert_eq!(wrong.reason, Reason::Peer(Peer::MechListMic));
            out.clear();
            let end = negotiation.conclude(&mut Tagged, Some(&theirs(mechs)), None, &mut out).unwrap();
            assert_eq!(end, Conclusion::Done { list_proved: true });
            assert_eq!(resp(&out).supported_mech, None, "it stands in the first answer alone");
            assert!(resp(&out).mech_list_mic.is_some_and(|mic| mic.starts_with(b"ours:")));
        }
    }

    #[test]
    fn a_mic_that_can_only_come_after_our_last_token_is_waited_for() {
        let mechs = &[MechType::NEGOEX, MechType::KRB5];
        let (mut negotiation, _) = open(mechs, Some(b"NEGOEXTS"), BOTH).unwrap();
        let mut out = Vec::new();
        negotiation.ask(&mut out);
        out.clear();
        assert_eq!(negotiation.conclude(&mut Tagged, None, Some(b"AP-REP"), &mut out), Ok(Conclusion::WantMic));
        assert_eq!(resp(&out).neg_state, Some(NegState::AcceptIncomplete));
        assert!(resp(&out).mech_list_mic.is_some_and(|mic| mic.starts_with(b"ours:")));
        let good = theirs(mechs);
        let mic = |mic, token| NegTokenResp { mech_list_mic: mic, response_token: token, ..NegTokenResp::default() };
        assert_eq!(negotiation.take_mic(&mut Tagged, &mic(Some(&good), None)), Ok(()));
        for bad in [mic(None, None), mic(Some(b"theirs:"), None), mic(Some(&good), Some(b"more"))] {
            assert!(negotiation.take_mic(&mut Tagged, &bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn without_a_token_the_first_common_mechanism_is_asked_for() {
        let (mut negotiation, token) = open(WINDOWS, None, BOTH).unwrap();
        assert_eq!((negotiation.mechanism(), token), (Mechanism::Kerberos, None));
        let mut out = Vec::new();
        negotiation.ask(&mut out);
        assert_eq!(resp(&out).neg_state, Some(NegState::AcceptIncomplete));
        assert_eq!(resp(&out).supported_mech, Some(MechType::MS_KRB5));
    }

    #[test]
    fn an_ntlm_token_under_a_list_that_begins_with_kerberos_needs_a_mic() {
        let (mut negotiation, token) = open(WINDOWS, Some(NTLM), BOTH).unwrap();
        assert_eq!((negotiation.mechanism(), token.as_deref()), (Mechanism::Ntlm, Some(NTLM)));
        let mut out = Vec::new();
        negotiation.carry(b"CHALLENGE", &mut out);
        assert_eq!(resp(&out).neg_state, Some(NegState::RequestMic));
        assert!(negotiation.conclude(&mut Tagged, None, None, &mut out).is_err());

        let off = open(WINDOWS, Some(NTLM), &[Mechanism::Kerberos]).unwrap_err();
        assert_eq!(off.reason, Reason::Policy(Policy::MechanismOff(Mechanism::Ntlm)));
        let unlisted = open(&[MechType::KRB5], Some(NTLM), BOTH).unwrap_err();
        assert_eq!(unlisted.reason.code(), "malformed.out-of-sequence");
        let other = open(&[MechType::NTLMSSP], Some(KRB5), BOTH).unwrap_err();
        assert_eq!(other.reason.code(), "malformed.out-of-sequence");
    }

    #[test]
    fn ntlm_first_needs_no_mic_and_is_known_for_a_downgrade_if_it_also_offers_kerberos() {
        let (mut negotiation, _) = open(&[MechType::NTLMSSP, MechType::MS_KRB5], Some(NTLM), BOTH).unwrap();
        assert!(negotiation.offered_kerberos());
        let mut out = Vec::new();
        negotiation.carry(b"CHALLENGE", &mut out);
        assert_eq!(resp(&out).neg_state, Some(NegState::AcceptIncomplete));
        assert_eq!(
            negotiation.conclude(&mut Tagged, None, None, &mut out),
            Ok(Conclusion::Done { list_proved: false })
        );
        assert!(!open(&[MechType::NTLMSSP, MechType::NEGOEX], Some(NTLM), BOTH).unwrap().0.offered_kerberos());
    }

    #[test]
    fn what_is_off_and_what_is_unknown_are_told_apart() {
        for (mechs, preference, code) in [
            (&[MechType::NTLMSSP][..], &[Mechanism::Kerberos][..], Policy::MechanismOff(Mechanism::Ntlm)),
            (&[MechType::NEGOEX, MechType::MS_KRB5], &[Mechanism::Ntlm], Policy::MechanismOff(Mechanism::Kerberos)),
            (WINDOWS, &[], Policy::MechanismOff(Mechanism::Kerberos)),
            (
                &[MechType::NEGOEX, MechType::IAKERB],
                BOTH,
                Policy::NoCommonMechanism {
                    offered: "NEGOEX (1.3.6.1.4.1.311.2.2.30), IAKERB (1.3.6.1.5.2.5)".to_owned(),
                },
            ),
        ] {
            assert_eq!(open(mechs, None, preference).unwrap_err().reason, Reason::Policy(code));
        }
    }

    #[test]
    fn a_later_token_goes_on_with_what_was_agreed() {
        let (negotiation, _) = open(WINDOWS, None, &[Mechanism::Ntlm]).unwrap();
        let written = |resp: NegTokenResp<'_>| {
            let mut token = Vec::new();
            resp.write(&mut token);
            negotiation.next(&token).map(|_| ()).map_err(|e| e.reason.code())
        };
        let plain = NegTokenResp { response_token: Some(NTLM), ..NegTokenResp::default() };
        assert_eq!(written(plain), Ok(()));
        assert_eq!(written(NegTokenResp { supported_mech: Some(MechType::NTLMSSP), ..plain }), Ok(()));
        for bad in [
            NegTokenResp { supported_mech: Some(MechType::KRB5), ..plain },
            NegTokenResp { response_token: Some(KRB5), ..plain },
        ] {
            assert_eq!(written(bad), Err("malformed.out-of-sequence"));
        }
        assert_eq!(written(NegTokenResp { neg_state: Some(NegState::Reject), ..plain }), Err("peer.rejected"));
        assert_eq!(negotiation.next(NTLM).unwrap_err().reason.code(), "malformed.out-of-sequence");
        let mut init = Vec::new();
        let list = MechTypeList::parse(&negotiation.mech_types).unwrap();
        NegTokenInit::new(list, Some(NTLM)).write(&mut init);
        assert_eq!(negotiation.next(&init).unwrap_err().reason.code(), "malformed.out-of-sequence");
        assert_eq!(negotiation.next(&init[..7]).unwrap_err().reason.code(), "malformed.token");
    }

    #[test]
    fn a_reject_carries_the_mechanisms_error() {
        let mut out = Vec::new();
        reject(b"KRB-ERROR", &mut out);
        assert_eq!(resp(&out).neg_state, Some(NegState::Reject));
        assert_eq!(resp(&out).response_token, Some(&b"KRB-ERROR"[..]));
        out.clear();
        reject(b"", &mut out);
        assert_eq!(resp(&out).response_token, None);
    }
}
