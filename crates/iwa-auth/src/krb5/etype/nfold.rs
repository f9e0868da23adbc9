//! n-fold, and the folded constants of every key usage. RFC 3961 5.1, 5.3.

/// The key usages whose constants are folded by the compiler: all of RFC 4120 7.5.1, RFC 4121 2 and RFC 6113 5.4.
const PREPARED: usize = 64;

static FOLDED: [[[u8; 16]; 3]; PREPARED] = {
    let mut table = [[[0; 16]; 3]; PREPARED];
    let mut usage = 0;
    while usage < PREPARED {
        table[usage] = [fold_usage(usage as u32, 0xaa), fold_usage(usage as u32, 0x55), fold_usage(usage as u32, 0x99)];
        usage += 1;
    }
    table
};

/// What a derived key is for: the last byte of its constant. RFC 3961 5.3.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Purpose {
    /// Ke.
    Encryption = 0xaa,
    /// Ki.
    Integrity = 0x55,
    /// Kc.
    Checksum = 0x99,
}

/// `usage | purpose`, 128-fold.
pub(super) fn constant(usage: u32, purpose: Purpose) -> [u8; 16] {
    let of_usage = usize::try_from(usage).ok().and_then(|usage| FOLDED.get(usage));
    match (of_usage, purpose) {
        (Some([folded, _, _]), Purpose::Encryption)
        | (Some([_, folded, _]), Purpose::Integrity)
        | (Some([_, _, folded]), Purpose::Checksum) => *folded,
        (None, _) => fold_usage(usage, purpose as u8),
    }
}

const fn fold_usage(usage: u32, purpose: u8) -> [u8; 16] {
    let [a, b, c, d] = usage.to_be_bytes();
    nfold(&[a, b, c, d, purpose])
}

/// Folds `input`, which must not be empty, to `N` bytes.
pub(super) const fn nfold<const N: usize>(input: &[u8]) -> [u8; N] {
    let size = input.len();
    let mut out = [0u8; N];
    // Copies of the input, each rotated 13 bits further, are added in one's complement, `N` bytes at a time, until both
    // lengths fit. Going backwards lets the carry run along.
    let mut at = size / gcd(size, N) * N;
    let mut carry = 0u32;
    while at > 0 {
        at -= 1;
        carry += byte_of_copies(input, at) as u32 + out[at % N] as u32;
        out[at % N] = carry as u8;
        carry >>= 8;
    }
    // The end-around carry.
    let mut place = N;
    while carry > 0 {
        place = if place == 0 { N - 1 } else { place - 1 };
        carry += out[place] as u32;
        out[place] = carry as u8;
        carry >>= 8;
    }
    out
}

/// The byte at `at` of: input, input rotated right by 13 bits, by 26 bits, and so on.
const fn byte_of_copies(input: &[u8], at: usize) -> u8 {
    let bits = input.len() * 8;
    let rotation = 13 * (at / input.len()) % bits;
    // The first bit of this byte before the rotation.
    let from = (at % input.len() * 8 + bits - rotation) % bits;
    let (byte, shift) = (from / 8, from % 8);
    let pair = (input[byte] as u16) << 8 | input[(byte + 1) % input.len()] as u16;
    (pair >> (8 - shift)) as u8
}

const fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::krb5::etype::tests::hex;

    #[test]
    fn rfc_3961_a_1_n_fold() {
        assert_eq!(nfold::<8>(b"012345")[..], hex("be072631276b1955"));
        assert_eq!(nfold::<7>(b"password")[..], hex("78a07b6caf85fa"));
        assert_eq!(nfold::<8>(b"Rough Consensus, and Running Code")[..], hex("bb6ed30870b7f0e0"));
        assert_eq!(nfold::<21>(b"password")[..], hex("59e4a8ca7c0385c3c37b3f6d2000247cb6e6bd5b3e"));
        assert_eq!(
            nfold::<24>(b"MASSACHVSETTS INSTITVTE OF TECHNOLOGY")[..],
            hex("db3b0d8f0b061e603282b308a50841229ad798fab9540c1b")
        );
        assert_eq!(nfold::<21>(b"Q")[..], hex("518a54a215a8452a518a54a215a8452a518a54a215"));
        assert_eq!(nfold::<21>(b"ba")[..], hex("fb25d531ae8974499f52fd92ea9857c4ba24cf297e"));
        assert_eq!(nfold::<8>(b"kerberos")[..], *b"kerberos");
        assert_eq!(nfold::<16>(b"kerberos")[..], hex("6b65726265726f737b9b5b2b93132b93"));
        assert_eq!(nfold::<21>(b"kerberos")[..], hex("8372c236344e5f1550cd0747e15d62ca7a5a3bcea4"));
        assert_eq!(
            nfold::<32>(b"kerberos")[..],
            hex("6b65726265726f737b9b5b2b93132b935c9bdcdad95c9899c4cae4dee6d6cae4")
        );
    }

    #[test]
    fn prepared_constants_are_those_that_are_folded_on_demand() {
        for usage in [0, 2, 11, 63, 64, 1026] {
            for purpose in [Purpose::Encryption, Purpose::Integrity, Purpose::Checksum] {
                assert_eq!(constant(usage, purpose), fold_usage(usage, purpose as u8));
            }
        }
    }
}
