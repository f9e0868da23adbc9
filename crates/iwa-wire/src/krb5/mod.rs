//! Kerberos messages. RFC 4120 5, RFC 4121 4.1, RFC 6113.
//!
//! Every message has `parse` (the whole input), `read` (the next value of a [`Der`](crate::der::Der)) and `write`, and borrows from its
//! input. A field that is a SEQUENCE OF is a [`SequenceOf`]: validated when the message is parsed, read again element by
//! element when it is looked at, and made from a slice when a message is written.
//!
//! | message | file | specification |
//! |---|---|---|
//! | `PrincipalName`, `Realm` | [`principal`] | RFC 4120 5.2.1, 5.2.2, 6 |
//! | `EncryptedData`, `EncryptionKey`, `Checksum` | [`enc`] | RFC 4120 5.2.9 |
//! | `Ticket`, `EncTicketPart` | [`ticket`] | RFC 4120 5.3 |
//! | `AP-REQ`, `AP-REP`, `Authenticator` | [`ap`] | RFC 4120 5.5 |
//! | `AS-REQ`, `TGS-REQ`, `AS-REP`, `TGS-REP` | [`kdc`] | RFC 4120 5.4 |
//! | `PA-DATA` and what is in it | [`padata`] | RFC 4120 5.2.7, MS-KILE 2.2 |
//! | `KRB-ERROR` | [`error`] | RFC 4120 5.9.1, 7.5.9 |
//! | `KRB-CRED` | [`cred`] | RFC 4120 5.8 |
//! | `AuthorizationData` | [`authdata`] | RFC 4120 5.2.6, MS-KILE 2.2 |
//! | the checksum 0x8003 | [`checksum`] | RFC 4121 4.1.1 |
//! | tokens in GSS-API framing | [`token`] | RFC 4121 4.1, RFC 1964 1.1 |
//! | `IAKERB-HEADER` | [`iakerb`] | draft-ietf-kitten-iakerb |
//! | per-message tokens | [`cfx`] | RFC 4121 4.2 |

pub mod ap;
pub mod authdata;
pub mod cfx;
pub mod checksum;
pub mod cred;
pub mod enc;
pub mod error;
mod field;
pub mod iakerb;
pub mod kdc;
pub mod padata;
pub mod principal;
mod sequence_of;
mod shape;
pub mod ticket;
pub mod token;

pub use ap::{ApRep, ApReq, Authenticator, EncApRepPart};
pub use authdata::{AuthDataElement, AuthorizationData};
pub use cred::{EncKrbCredPart, KrbCred, KrbCredInfo};
pub use enc::{Checksum, EncryptedData, EncryptionKey};
pub use error::KrbError;
pub use kdc::{EncKdcRepPart, KdcRep, KdcReq, KdcReqBody};
pub use padata::PaData;
pub use principal::{KerberosString, Principal, PrincipalName};
pub use sequence_of::{Element, Elements, SequenceOf};
pub use ticket::{EncTicketPart, Ticket, TicketFlags};

use core::fmt;

use crate::der::Tag;
use crate::explain::{Explain as _, Node};

/// Explains the Kerberos message in `bytes`, whichever its tag says; its kind comes first (`ap-req`, `ticket`,
/// `enc-ticket-part`). `None` if no message begins with this tag.
#[must_use]
pub fn explain_message(bytes: &[u8], offset: usize) -> Option<(&'static str, Node)> {
    let Tag(tag) = bytes.first().copied().map(Tag)?;
    if !(0x61..=0x7e).contains(&tag) {
        return None;
    }
    let (kind, explain): (_, fn(&[u8], usize) -> Node) = match tag - 0x60 {
        1 => ("ticket", Ticket::explain),
        2 => ("authenticator", Authenticator::explain),
        3 => ("enc-ticket-part", EncTicketPart::explain),
        10 => ("as-req", KdcReq::explain),
        11 => ("as-rep", KdcRep::explain),
        12 => ("tgs-req", KdcReq::explain),
        13 => ("tgs-rep", KdcRep::explain),
        14 => ("ap-req", ApReq::explain),
        15 => ("ap-rep", ApRep::explain),
        22 => ("krb-cred", KrbCred::explain),
        25 => ("enc-as-rep-part", EncKdcRepPart::explain),
        26 => ("enc-tgs-rep-part", EncKdcRepPart::explain),
        27 => ("enc-ap-rep-part", EncApRepPart::explain),
        29 => ("enc-krb-cred-part", EncKrbCredPart::explain),
        30 => ("krb-error", KrbError::explain),
        _ => return None,
    };
    Some((kind, explain(bytes, offset)))
}

/// `KerberosTime`: seconds since 1970, without fractions. RFC 4120 5.2.3.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct KerberosTime(pub i64);

impl KerberosTime {
    /// Reads `YYYYMMDDHHMMSSZ`; fractions of a second, which RFC 4120 forbids and some encoders write, are cut off.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (date, rest) = text.split_at_checked(14)?;
        match rest {
            b"Z" => {}
            [b'.', fraction @ .., b'Z'] if !fraction.is_empty() && fraction.iter().all(u8::is_ascii_digit) => {}
            _ => return None,
        }
        let number = |from: usize, to: usize| {
            date.get(from..to)?.iter().try_fold(0i64, |n, c| c.is_ascii_digit().then(|| n * 10 + i64::from(c - b'0')))
        };
        let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
        let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
        if !(1..=12).contains(&month)
            || day < 1
            || day > days_in(year, month)
            || hour > 23
            || minute > 59
            || second > 59
        {
            return None;
        }
        Some(Self(days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second))
    }

    /// `YYYYMMDDHHMMSSZ`; years outside 0 to 9999 are held at the nearest.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 15] {
        let Civil { year, month, day, hour, minute, second } = self.civil();
        let mut text = *b"00000000000000Z";
        let mut put = |at: usize, width: usize, mut value: i64| {
            for place in text.iter_mut().skip(at).take(width).rev() {
                *place = b'0' + (value % 10) as u8;
                value /= 10;
            }
        };
        put(0, 4, year);
        put(4, 2, month);
        put(6, 2, day);
        put(8, 2, hour);
        put(10, 2, minute);
        put(12, 2, second);
        text
    }

    fn civil(self) -> Civil {
        // 9999-12-31T23:59:59Z and 0000-01-01T00:00:00Z.
        let secs = self.0.clamp(-62_167_219_200, 253_402_300_799);
        let (days, rest) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
        // The days-to-civil algorithm over 400-year eras that begin on 1 March.
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let mp = (5 * day_of_year + 2) / 153;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        Civil {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * mp + 2) / 5 + 1,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }
}

struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let mp = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * mp + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

impl fmt::Display for KerberosTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { year, month, day, hour, minute, second } = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

#[cfg(test)]
mod messages_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_written() {
        for (text, secs) in [
            (b"19700101000000Z", 0),
            (b"20200101000000Z", 1_577_836_800),
            (b"20240229235959Z", 1_709_251_199),
            (b"20370919000000Z", 2136931200),
            (b"99991231235959Z", 253_402_300_799),
        ] {
            assert_eq!(KerberosTime::parse(text), Some(KerberosTime(secs)));
            assert_eq!(&KerberosTime(secs).to_bytes(), text);
        }
        assert_eq!(KerberosTime(1_577_836_800).to_string(), "2020-01-01T00:00:00Z");
        assert_eq!(KerberosTime::parse(b"20200101000000.123Z"), Some(KerberosTime(1_577_836_800)));
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for bad in [
            &b"20200101000000"[..],
            b"20200230000000Z",
            b"20201301000000Z",
            b"20200101240000Z",
            b"2020010100000Z",
            b"20200101000060Z",
            b"20200101000000.Z",
            b"+0200101000000Z",
            b"",
            b"20230229000000Z",
        ] {
            assert_eq!(KerberosTime::parse(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }
}
