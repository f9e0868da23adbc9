//! Published vectors of RFC 8009 appendix A, the vectors of the corpus, and what must not verify.

use std::collections::HashMap;
use std::path::PathBuf;

use super::*;
use crate::env::{Entropy, EntropyError};

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Gives the bytes it was made of, then fails.
pub(crate) struct Fixed(pub(crate) Vec<u8>);

impl Entropy for Fixed {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        if self.0.len() < out.len() {
            return Err(EntropyError);
        }
        let rest = self.0.split_off(out.len());
        out.copy_from_slice(&self.0);
        self.0 = rest;
        Ok(())
    }
}

fn encrypt(key: &Key, usage: u32, plaintext: &[u8], confounder: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    key.encrypt(usage, plaintext, &mut Fixed(confounder.to_vec()), &mut out).unwrap();
    out
}

#[test]
fn rfc_8009_a_string_to_key() {
    let salt = [&hex("10df9dd783e5bc8acea1730e74355f61")[..], b"ATHENA.MIT.EDUraeburn"].concat();
    for (etype, wanted) in [
        (Etype::Aes128CtsHmacSha256, "089bca48b105ea6ea77ca5d2f39dc5e7"),
        (Etype::Aes256CtsHmacSha384, "45bd806dbf6a833a9cffc1c94589a222367a79bc21c413718906e9f578a78467"),
    ] {
        let key = Key::from_password(etype, "password", &salt, None).unwrap();
        assert_eq!(key.expose(), hex(wanted));
        let same = Key::from_password(etype, "password", &salt, Some(&32768u32.to_be_bytes())).unwrap();
        assert!(same.ct_eq(key.expose()));
    }
}

#[test]
fn rfc_8009_a_encryption() {
    let short = Key::new(Etype::Aes128CtsHmacSha256, &hex("3705d96080c17728a0e800eab6e0d23c")).unwrap();
    let long =
        Key::new(Etype::Aes256CtsHmacSha384, &hex("6d404d37faf79f9df0d33568d320669800eb4836472ea8a026d16b7182460c52"))
            .unwrap();
    for (key, plaintext, confounder, wanted) in [
        (
            &short,
            "",
            "7e5895eaf2672435bad817f545a37148",
            "ef85fb890bb8472f4dab20394dca781dad877eda39d50c870c0d5a0a8e48c718",
        ),
        (
            &short,
            "000102030405",
            "7bca285e2fd4130fb55b1a5c83bc5b24",
            "84d7f30754ed987bab0bf3506beb09cfb55402cef7e6877ce99e247e52d16ed4421dfdf8976c",
        ),
        (
            &short,
            "000102030405060708090a0b0c0d0e0f",
            "56ab21713ff62c0a1457200f6fa9948f",
            "3517d640f50ddc8ad3628722b3569d2ae07493fa8263254080ea65c1008e8fc295fb4852e7d83e1e7c48c37eebe6b0d3",
        ),
        (
            &short,
            "000102030405060708090a0b0c0d0e0f1011121314",
            "a7a4e29a4728ce10664fb64e49ad3fac",
            "720f73b18d9859cd6ccb4346115cd336c70f58edc0c4437c5573544c31c813bce1e6d072c186b39a413c2f92ca9b8334\
             a287ffcbfc",
        ),
        (
            &long,
            "",
            "f764e9fa15c276478b2c7d0c4e5f58e4",
            "41f53fa5bfe7026d91faf9be959195a058707273a96a40f0a01960621ac612748b9bbfbe7eb4ce3c",
        ),
        (
            &long,
            "000102030405",
            "b80d3251c1f6471494256ffe712d0b9a",
            "4ed7b37c2bcac8f74f23c1cf07e62bc7b75fb3f637b9f559c7f664f69eab7b6092237526ea0d1f61cb20d69d10f2",
        ),
        (
            &long,
            "000102030405060708090a0b0c0d0e0f",
            "53bf8a0d105265d4e276428624ce5e63",
            "bc47ffec7998eb91e8115cf8d19dac4bbbe2e163e87dd37f49beca92027764f68cf51f14d798c2273f35df574d1f932e\
             40c4ff255b36a266",
        ),
        (
            &long,
            "000102030405060708090a0b0c0d0e0f1011121314",
            "763e65367e864f02f55153c7e3b58af1",
            "40013e2df58e8751957d2878bcd2d6fe101ccfd556cb1eae79db3c3ee86429f2b2a602ac86fef6ecb647d6295fae077a\
             1feb517508d2c16b4192e01f62",
        ),
    ] {
        let plaintext = hex(plaintext);
        let cipher = encrypt(key, 2, &plaintext, &hex(confounder));
        assert_eq!(cipher, hex(wanted));
        assert_eq!(key.decrypt(2, &cipher, &mut Vec::new()), Ok(&plaintext[..]));
    }
}

#[test]
fn rfc_8009_a_checksum_and_prf() {
    let short = Key::new(Etype::Aes128CtsHmacSha256, &hex("3705d96080c17728a0e800eab6e0d23c")).unwrap();
    let long =
        Key::new(Etype::Aes256CtsHmacSha384, &hex("6d404d37faf79f9df0d33568d320669800eb4836472ea8a026d16b7182460c52"))
            .unwrap();
    let text = hex("000102030405060708090a0b0c0d0e0f1011121314");
    let (head, tail) = text.split_at(7);
    assert_eq!(short.checksum(2).compute(&[head, tail])[..], hex("d78367186643d67b411cba9139fc1dee"));
    assert_eq!(long.checksum(2).compute(&[&text])[..], hex("45ee791567eefca37f4ac1e0222de80d43c3bfa06699672a"));
    assert_eq!(short.prf(b"test")[..], hex("9d188616f63852fe86915bb840b4a886ff3e6bb0f819b49b893393d393854295"));
    assert_eq!(
        long.prf(b"test")[..],
        hex("9801f69a368c2bf675e59521e177d9a07f67efe1cfde8d3c8d6f6a0256e3b17db3c1b62ad1b8553360d17367eb1514d2")
    );
}

fn key_of(etype: Etype) -> Key {
    Key::new(etype, &(0..etype.key_size() as u8).collect::<Vec<_>>()).unwrap()
}

#[test]
fn every_length_comes_back_and_every_changed_bit_is_refused() {
    let mut scratch = Vec::new();
    for etype in Etype::ALL {
        let key = key_of(etype).specific(usage::TICKET);
        for length in [0, 1, 15, 16, 17, 31, 32, 33, 100] {
            let plaintext: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let mut cipher = Vec::new();
            key.encrypt(&plaintext, &mut Fixed(vec![0x5a; 16]), &mut cipher).unwrap();
            assert_eq!(cipher.len(), plaintext.len() + etype.overhead());
            assert_eq!(key.decrypt(&cipher, &mut scratch), Ok(&plaintext[..]), "{etype} {length}");
            for place in 0..cipher.len() {
                let mut changed = cipher.clone();
                changed[place] ^= 1 << (place % 8);
                assert_eq!(key.decrypt(&changed, &mut scratch), Err(Integrity), "{etype} {length} {place}");
            }
        }
    }
}

#[test]
fn a_cut_or_lengthened_ciphertext_is_refused_at_every_length() {
    let mut scratch = Vec::new();
    for etype in Etype::ALL {
        let key = key_of(etype).specific(usage::TICKET);
        let mut cipher = Vec::new();
        key.encrypt(&[7; 40], &mut Fixed(vec![1; 16]), &mut cipher).unwrap();
        for length in 0..cipher.len() {
            assert_eq!(key.decrypt(&cipher[..length], &mut scratch), Err(Integrity));
        }
        cipher.push(0);
        assert_eq!(key.decrypt(&cipher, &mut scratch), Err(Integrity));
    }
}

#[test]
fn another_usage_or_another_key_does_not_decrypt() {
    let mut scratch = Vec::new();
    for etype in Etype::ALL {
        let key = key_of(etype);
        let cipher = encrypt(&key, usage::AP_REQ_AUTHENTICATOR, b"text", &[3; 16][..etype.confounder_size()]);
        assert_eq!(key.decrypt(usage::AP_REP, &cipher, &mut scratch), Err(Integrity));
        let other = Key::new(etype, &[9; 32][..etype.key_size()]).unwrap();
        assert_eq!(other.decrypt(usage::AP_REQ_AUTHENTICATOR, &cipher, &mut scratch), Err(Integrity));
    }
}

#[test]
fn a_checksum_that_is_short_long_changed_or_of_another_usage_is_refused() {
    for etype in Etype::ALL {
        let key = key_of(etype).checksum(usage::NON_KERBEROS_CHECKSUM);
        let sum = key.compute(&[b"ab", b"c"]);
        assert_eq!(key.verify(&[b"abc"], &sum), Ok(()));
        assert_eq!(key.verify(&[b"abd"], &sum), Err(Integrity));
        assert_eq!(key.verify(&[b"abc"], &sum[1..]), Err(Integrity));
        assert_eq!(key.verify(&[b"abc"], &sum[..sum.len() - 1]), Err(Integrity));
        assert_eq!(key.verify(&[b"abc"], &[&sum[..], &[0]].concat()), Err(Integrity));
        assert_eq!(key.verify(&[b"abc"], &[]), Err(Integrity));
        let other = key_of(etype).checksum(usage::AP_REQ_CHECKSUM);
        assert_eq!(other.verify(&[b"abc"], &sum), Err(Integrity));
    }
}

#[test]
fn string_to_key_refuses_absurd_parameters_before_it_works() {
    let etype = Etype::Aes256CtsHmacSha1;
    for (params, wanted) in [
        (&[][..], StringToKeyError::Params { length: 0 }),
        (&[0, 0, 16], StringToKeyError::Params { length: 3 }),
        (&[0, 0, 0, 0, 1], StringToKeyError::Params { length: 5 }),
        (&[0, 0, 0, 0], StringToKeyError::Iterations { wanted: 0 }),
        (&[0xff; 4], StringToKeyError::Iterations { wanted: u32::MAX }),
        (&[0, 0x0f, 0x42, 0x41], StringToKeyError::Iterations { wanted: 1_000_001 }),
    ] {
        assert_eq!(Key::from_password(etype, "p", b"s", Some(params)).unwrap_err(), wanted);
    }
}

#[test]
fn a_key_of_another_size_is_not_a_key() {
    for etype in Etype::ALL {
        assert!(Key::new(etype, &[0; 64][..etype.key_size() + 1]).is_none());
        assert!(Key::new(etype, &[0; 64][..etype.key_size() - 1]).is_none());
        assert!(Key::new(etype, &[]).is_none());
    }
}

#[test]
fn without_randomness_nothing_is_encrypted() {
    let mut out = b"before".to_vec();
    assert_eq!(key_of(Etype::Rc4Hmac).encrypt(2, b"text", &mut Fixed(vec![]), &mut out), Err(EntropyError));
    assert_eq!(out, b"before");
    assert!(Key::random(Etype::Aes256CtsHmacSha1, &mut Fixed(vec![0; 31])).is_err());
}

#[test]
fn numbers_and_names_lead_back() {
    for etype in Etype::ALL {
        assert_eq!(Etype::from_number(etype.number()), Some(etype));
        assert_eq!(Etype::of_checksum_type(etype.checksum_type()), Some(etype));
        assert_eq!(Etype::from_name(&etype.name().to_uppercase()), Some(etype));
    }
    assert_eq!(Etype::from_number(3), None);
    assert_eq!(Etype::from_number(16), None);
    assert_eq!(Etype::from_name("des-cbc-md5"), None);
}

#[test]
fn keys_are_not_printed() {
    let key = key_of(Etype::Aes256CtsHmacSha1);
    let printed =
        format!("{key:?} {:?} {:?} {:?} {:?}", key.protocol(), key.specific(2), key.checksum(2), key.prf(b"x"));
    assert!(!printed.contains("[") && !printed.contains("01, 02") && printed.contains("aes256"), "{printed}");
}

/// The corpus beside the repository, or where `IWA_CORPUS` says.
fn corpus() -> Option<PathBuf> {
    let named = std::env::var_os("IWA_CORPUS").map(PathBuf::from);
    let beside = || {
        let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        manifest.ancestors().map(|above| above.join("shared/corpus")).find(|path| path.is_dir())
    };
    let found = named.clone().or_else(beside).filter(|path| path.join("INDEX.tsv").is_file());
    assert!(found.is_some() || named.is_none(), "IWA_CORPUS names no corpus");
    if found.is_none() {
        println!("left out: no corpus");
    }
    found
}

#[test]
fn the_corpus_vectors_agree() {
    let Some(root) = corpus() else { return };
    let mut done = HashMap::<String, usize>::new();
    for entry in std::fs::read_dir(root.join("krb5-crypto")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let (head, data) = text.split_once("\n\n").unwrap();
        let header: HashMap<_, _> = head.lines().filter_map(|line| line.split_once(": ")).collect();
        if header.get("kind") != Some(&"etype-vector") {
            continue;
        }
        let bytes = |name: &str| hex(header.get(name).copied().unwrap_or_default());
        let number: i32 = header["etype"].parse().unwrap();
        let Some(etype) = Etype::from_number(number) else { continue };
        let data = hex(data);
        let key = || Key::new(etype, &bytes(&format!("key-etype{number}"))).unwrap();
        let usage = || header["usage"].parse::<u32>().unwrap();
        match header["op"] {
            "decrypt" => {
                assert_eq!(key().decrypt(usage(), &data, &mut Vec::new()), Ok(&bytes("plaintext-hex")[..]));
            }
            "checksum" if header["cksumtype"].parse::<i32>().unwrap() == etype.checksum_type() => {
                assert_eq!(key().checksum(usage()).compute(&[&bytes("plaintext-hex")])[..], data);
            }
            "string-to-key" => {
                let password = String::from_utf8(bytes("password-hex")).unwrap();
                let params = header.get("s2kparams-hex").map(|params| hex(params)).filter(|params| !params.is_empty());
                let made = Key::from_password(etype, &password, &bytes("salt-hex"), params.as_deref()).unwrap();
                assert_eq!(made.expose(), data);
            }
            "prf" => assert_eq!(key().prf(&bytes("input-hex"))[..], data),
            "derive-key" => {
                let constant = bytes("constant-hex");
                let mut derived = key().expose().to_vec();
                match header["algorithm"] {
                    // Kc and Ki of RFC 8009 are shorter than a key; only Ke can be compared as a key.
                    "DERIVE_RFC3961" => aes_sha1::derive_in_place(&mut derived, &constant),
                    "DERIVE_SP800_108_HMAC" if data.len() != derived.len() => continue,
                    "DERIVE_SP800_108_HMAC" if number == 19 => {
                        aes_sha2::derive_in_place::<Sha256Variant>(&mut derived, &constant);
                    }
                    "DERIVE_SP800_108_HMAC" => {
                        aes_sha2::derive_in_place::<Sha384Variant>(&mut derived, &constant);
                    }
                    other => panic!("{other}"),
                }
                assert_eq!(derived, data);
            }
            "checksum" => continue,
            other => panic!("{other}"),
        }
        *done.entry(header["op"].to_owned()).or_default() += 1;
    }
    println!("{done:?}");
    assert!(done["decrypt"] >= 8 && done["string-to-key"] >= 10 && done["prf"] == 4 && done["derive-key"] >= 5);
    assert!(done["checksum"] >= 3);
}
