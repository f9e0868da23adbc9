//! Key usage numbers: what a derived key is for. RFC 4120 7.5.1, RFC 4121 2, RFC 6113 5.4, MS-PAC 2.8, MS-SFU 2.2.1.

/// `PA-ENC-TIMESTAMP`, under the client's key.
pub const PA_ENC_TIMESTAMP: u32 = 1;
/// The ticket's encrypted part, under the service's key.
pub const TICKET: u32 = 2;
/// The AS-REP's encrypted part, under the client's key.
pub const AS_REP: u32 = 3;
/// A TGS-REQ's authorization data under the session key.
pub const TGS_REQ_AUTHDATA_SESSION: u32 = 4;
/// A TGS-REQ's authorization data under the authenticator's subkey.
pub const TGS_REQ_AUTHDATA_SUBKEY: u32 = 5;
/// The checksum over a TGS-REQ's body in the `PA-TGS-REQ` authenticator.
pub const TGS_REQ_CHECKSUM: u32 = 6;
/// The authenticator of `PA-TGS-REQ`.
pub const TGS_REQ_AUTHENTICATOR: u32 = 7;
/// The TGS-REP's encrypted part under the session key.
pub const TGS_REP_SESSION: u32 = 8;
/// The TGS-REP's encrypted part under the authenticator's subkey.
pub const TGS_REP_SUBKEY: u32 = 9;
/// The checksum in an AP-REQ's authenticator.
pub const AP_REQ_CHECKSUM: u32 = 10;
/// The authenticator of an AP-REQ.
pub const AP_REQ_AUTHENTICATOR: u32 = 11;
/// The AP-REP's encrypted part.
pub const AP_REP: u32 = 12;
/// `KRB-PRIV`.
pub const KRB_PRIV: u32 = 13;
/// `KRB-CRED`.
pub const KRB_CRED: u32 = 14;
/// `KRB-SAFE`.
pub const KRB_SAFE: u32 = 15;
/// Checksums that are not keyed by a usage of their own, and all checksums of a PAC (MS-PAC 2.8: `KERB_NON_KERB_CKSUM_SALT`);
/// also `PA-FOR-USER` (MS-SFU 2.2.1).
pub const NON_KERBEROS_CHECKSUM: u32 = 17;
/// `AD-KDC-ISSUED`.
pub const AD_KDC_ISSUED: u32 = 19;
/// The acceptor's encrypted GSS tokens.
pub const GSS_ACCEPTOR_SEAL: u32 = 22;
/// The acceptor's MIC tokens.
pub const GSS_ACCEPTOR_SIGN: u32 = 23;
/// The initiator's encrypted GSS tokens.
pub const GSS_INITIATOR_SEAL: u32 = 24;
/// The initiator's MIC tokens.
pub const GSS_INITIATOR_SIGN: u32 = 25;
/// `PA-S4U-X509-USER` in a request (MS-SFU 2.2.2).
pub const PA_S4U_X509_USER_REQUEST: u32 = 26;
/// `PA-S4U-X509-USER` in a reply.
pub const PA_S4U_X509_USER_REPLY: u32 = 27;
/// The checksum over a FAST request.
pub const FAST_REQ_CHECKSUM: u32 = 50;
/// A FAST request, encrypted.
pub const FAST_ENC: u32 = 51;
/// A FAST reply, encrypted.
pub const FAST_REP: u32 = 52;
/// The checksum of `KrbFastFinished`.
pub const FAST_FINISHED: u32 = 53;
/// The client's encrypted challenge.
pub const ENC_CHALLENGE_CLIENT: u32 = 54;
/// The KDC's encrypted challenge.
pub const ENC_CHALLENGE_KDC: u32 = 55;
/// The checksum over the AS-REQ (`PA-REQ-ENC-PA-REP`, RFC 6806 11).
pub const AS_REQ_CHECKSUM: u32 = 56;
