//! Whose connection a relay hands on: the PROXY protocol, versions 1 and 2 (proxy-protocol.txt of HAProxy).
//!
//! It is read from relays that the configuration names, who must send it, and from nobody else: whoever may send it may be
//! anybody. It comes before TLS, and once a connection.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What a relay says of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// It is somebody else's.
    Of {
        client: SocketAddr,
        /// Where that client connected to.
        server: SocketAddr,
        /// Whether the relay ended its TLS (`PP2_TYPE_SSL`).
        secure: bool,
    },
    /// It is the relay's own, as for a health check; or of whom, it cannot say.
    Own,
}

/// Why a header is none.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It ended before it began, as a port scan or a bare TCP health check does.
    Nothing,
    /// The stream failed.
    Io(io::Error),
    /// What is wrong with it.
    Malformed(&'static str),
}

impl core::fmt::Display for Refused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Nothing => f.write_str("the connection ended without a word"),
            Self::Io(error) => error.fmt(f),
            Self::Malformed(why) => f.write_str(why),
        }
    }
}

/// Reads a header, and not a byte more.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Told, Refused> {
    let mut start = [0; SIGNATURE.len()];
    let mut have = 0;
    while let Some(room) = start.get_mut(have..).filter(|room| !room.is_empty()) {
        match stream.read(room).await.map_err(Refused::Io)? {
            0 if have == 0 => return Err(Refused::Nothing),
            0 => return Err(Refused::Malformed("it ends in the middle")),
            read => have += read,
        }
        // Whoever speaks something else is told at once, and not when twelve bytes are there.
        let begun = start.get(..have).unwrap_or_default();
        if !SIGNATURE.starts_with(begun) && !begun.starts_with(LINE) && !LINE.starts_with(begun) {
            return Err(Refused::Malformed("it does not begin as a PROXY header does"));
        }
    }
    if start == SIGNATURE { version2(stream).await } else { version1(stream, &start).await }
}

/// The rest of a line.
async fn version1(stream: &mut (impl AsyncRead + Unpin), start: &[u8]) -> Result<Told, Refused> {
    let mut line = Vec::with_capacity(LONGEST_LINE);
    line.extend_from_slice(start);
    while !line.ends_with(b"\n") {
        if line.len() >= LONGEST_LINE {
            return Err(Refused::Malformed("its line is longer than 107 bytes"));
        }
        line.push(byte(stream).await?);
    }
    let line = line.strip_suffix(b"\r\n").ok_or(Refused::Malformed("its line does not end with CR LF"))?;
    parse_line(line).map_err(Refused::Malformed)
}

async fn version2(stream: &mut (impl AsyncRead + Unpin)) -> Result<Told, Refused> {
    let mut fixed = [0; 4];
    all(stream, &mut fixed).await?;
    let [_, _, high, low] = fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST_BLOCK {
        return Err(Refused::Malformed("it is longer than 4096 bytes"));
    }
    let mut block = vec![0; length];
    all(stream, &mut block).await?;
    parse_block(fixed, &block).map_err(Refused::Malformed)
}

async fn byte(stream: &mut (impl AsyncRead + Unpin)) -> Result<u8, Refused> {
    let mut byte = [0; 1];
    all(stream, &mut byte).await?;
    Ok(byte[0])
}

async fn all(stream: &mut (impl AsyncRead + Unpin), out: &mut [u8]) -> Result<(), Refused> {
    match stream.read_exact(out).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Refused::Malformed("it ends in the middle")),
        Err(error) => Err(Refused::Io(error)),
    }
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443`. Section 2.1.
fn parse_line(line: &[u8]) -> Result<Told, &'static str> {
    if line.contains(&b'\r') {
        return Err("there is a CR within its line");
    }
    if line == b"PROXY UNKNOWN" || line.starts_with(b"PROXY UNKNOWN ") {
        return Ok(Told::Own);
    }
    let line = core::str::from_utf8(line).map_err(|_| "its line is not ASCII")?;
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or("a word of its line is missing");
    if word()? != "PROXY" {
        return Err("it does not begin as a PROXY header does");
    }
    let ip: fn(&str) -> Result<IpAddr, &'static str> = match word()? {
        "TCP4" => |text| text.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| "an address is not of IPv4"),
        "TCP6" => |text| text.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| "an address is not of IPv6"),
        _ => return Err("its protocol is neither TCP4 nor TCP6 nor UNKNOWN"),
    };
    let (client, server) = (ip(word()?)?, ip(word()?)?);
    let (from, to) = (port(word()?)?, port(word()?)?);
    if words.next().is_some() {
        return Err("there is more in its line than two addresses and two ports");
    }
    Ok(Told::Of { client: SocketAddr::new(client, from), server: SocketAddr::new(server, to), secure: false })
}

/// Decimal, without zeros before it.
fn port(text: &str) -> Result<u16, &'static str> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or("a port is not a plain number up to 65535")
}

/// What follows the signature: version and command, family and protocol, length; then the block. Section 2.2.
fn parse_block(fixed: [u8; 4], block: &[u8]) -> Result<Told, &'static str> {
    let [version_and_command, family_and_protocol, _, _] = fixed;
    let addresses = match family_and_protocol {
        0x11 => 12,
        0x21 => 36,
        // Of no known family, or through a socket of the relay's machine.
        0x00 => 0,
        0x31 => 216,
        0x12 | 0x22 | 0x32 => return Err("it is of datagrams"),
        _ => return Err("its family or protocol is none that there is"),
    };
    match version_and_command {
        // Its family is to be ignored, and its block skipped.
        0x20 => return Ok(Told::Own),
        0x21 => {}
        0x22..=0x2f => return Err("its command is neither LOCAL nor PROXY"),
        _ => return Err("it is not of version 2"),
    }
    let (addresses, vectors) = block.split_at_checked(addresses).ok_or("it is shorter than its addresses")?;
    let secure = read_vectors(fixed, block, vectors)?;
    let mut rest = addresses;
    let (client, server): (IpAddr, IpAddr) = match family_and_protocol {
        0x11 => (take::<4>(&mut rest)?.into(), take::<4>(&mut rest)?.into()),
        0x21 => (take::<16>(&mut rest)?.into(), take::<16>(&mut rest)?.into()),
        _ => return Ok(Told::Own),
    };
    let (from, to) = (u16::from_be_bytes(take(&mut rest)?), u16::from_be_bytes(take(&mut rest)?));
    Ok(Told::Of { client: SocketAddr::new(client, from), server: SocketAddr::new(server, to), secure })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], &'static str> {
    let (taken, left) = rest.split_first_chunk().ok_or("it is shorter than its addresses")?;
    *rest = left;
    Ok(*taken)
}

/// Whether the client came over TLS; everything else is skipped, but for the checksum. Sections 2.2.3 and 2.2.6.
fn read_vectors(fixed: [u8; 4], block: &[u8], mut vectors: &[u8]) -> Result<bool, &'static str> {
    let (mut secure, mut checksum) = (None, None);
    while !vectors.is_empty() {
        let short = "one of its vectors is shorter than it says";
        let ([kind, high, low], rest) = vectors.split_first_chunk().ok_or(short)?;
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, rest) = rest.split_at_checked(length).ok_or(short)?;
        match *kind {
            PP2_TYPE_SSL if secure.is_some() => return Err("it tells of TLS twice"),
            PP2_TYPE_SSL => {
                let client = value.first().filter(|_| value.len() >= 5).ok_or("what it tells of TLS is too short")?;
                secure = Some(client & PP2_CLIENT_SSL != 0);
            }
            PP2_TYPE_CRC32C if checksum.is_some() => return Err("it has two checksums"),
            PP2_TYPE_CRC32C => {
                let value: [u8; 4] = value.try_into().map_err(|_| "its checksum is not of four bytes")?;
                checksum = Some((u32::from_be_bytes(value), block.len() - rest.len() - 4));
            }
            _ => {}
        }
        vectors = rest;
    }
    if let Some((wanted, at)) = checksum {
        let blank = |(index, byte): (usize, &u8)| if (at..at + 4).contains(&index) { 0 } else { *byte };
        let header = SIGNATURE.iter().copied().chain(fixed).chain(block.iter().enumerate().map(blank));
        if crc32c(header) != wanted {
            return Err("its checksum is wrong");
        }
    }
    Ok(secure.unwrap_or(false))
}

/// CRC-32C, reflected. RFC 9260 appendix A.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

const LINE: &[u8] = b"PROXY ";

/// With its CR LF.
const LONGEST_LINE: usize = 107;

/// Of version 2, after its first 16 bytes. The specification promises that it fits into a segment.
const LONGEST_BLOCK: usize = 4096;

const PP2_TYPE_CRC32C: u8 = 0x03;

const PP2_TYPE_SSL: u8 = 0x20;

const PP2_CLIENT_SSL: u8 = 0x01;

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads; what is left of the stream too.
    async fn told(bytes: &[u8]) -> (Result<Told, String>, Vec<u8>) {
        let mut stream = bytes;
        let told = read(&mut stream).await.map_err(|refused| refused.to_string());
        (told, stream.to_vec())
    }

    fn of(client: &str, server: &str, secure: bool) -> Told {
        Told::Of { client: client.parse().expect("an address"), server: server.parse().expect("an address"), secure }
    }

    fn v2(version_and_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[version_and_command, family], &length, block].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 0x04, 0x01, 0xbb];

    fn vector(kind: u8, value: &[u8]) -> Vec<u8> {
        [&[kind][..], &u16::try_from(value.len()).expect("short").to_be_bytes(), value].concat()
    }

    #[tokio::test]
    async fn both_versions_tell_the_client_and_leave_what_follows() {
        let v6 = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 15], &[1, 0, 1, 0, 2]].concat();
        let ssl = vector(PP2_TYPE_SSL, &[[1, 0, 0, 0, 0].as_slice(), &vector(0x21, b"TLSv1.3")].concat());
        let no_ssl = vector(PP2_TYPE_SSL, &[0, 0, 0, 0, 1]);
        for (bytes, wanted) in [
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n".to_vec(), of("192.0.2.1:56324", "192.0.2.2:443", false)),
            (b"PROXY TCP6 2001:db8::1 ::1 0 65535\r\n".to_vec(), of("[2001:db8::1]:0", "[::1]:65535", false)),
            (b"PROXY UNKNOWN\r\n".to_vec(), Told::Own),
            (b"PROXY UNKNOWN whatever \xff stands here\r\n".to_vec(), Told::Own),
            (v2(0x21, 0x11, &V4), of("192.0.2.1:56324", "192.0.2.2:443", false)),
            (v2(0x21, 0x21, &v6), of("[2001:db8::1]:1", "[::1]:2", false)),
            (v2(0x21, 0x11, &[&V4[..], &ssl].concat()), of("192.0.2.1:56324", "192.0.2.2:443", true)),
            (v2(0x21, 0x11, &[&V4[..], &no_ssl].concat()), of("192.0.2.1:56324", "192.0.2.2:443", false)),
            (
                v2(0x21, 0x11, &[&V4[..], &vector(0xea, &[7; 300])].concat()),
                of("192.0.2.1:56324", "192.0.2.2:443", false),
            ),
            (v2(0x20, 0x00, &[]), Told::Own),
            (v2(0x20, 0x11, &[9; 3]), Told::Own),
            (v2(0x21, 0x00, &[]), Told::Own),
            (v2(0x21, 0x31, &[0; 216]), Told::Own),
        ] {
            let (told, rest) = told(&[&bytes[..], b"GET / HTTP/1.1\r\n"].concat()).await;
            assert_eq!(told, Ok(wanted), "{bytes:?}");
            assert_eq!(rest, b"GET / HTTP/1.1\r\n");
        }
    }

    #[tokio::test]
    async fn what_is_not_exactly_a_header_is_refused() {
        let too_long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 92], b"\r\n"].concat();
        for bytes in [
            &b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..],
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"PROXY",
            b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
            b"PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
            b"PROXY TCP4 192.0.02.1 192.0.2.2 1 2\r\n",
            b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
            b"PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
            b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY TCP6 2001:db8::1::2 ::1 1 2\r\n",
            b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
            b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY UNKNOWNX\r\n",
            &too_long,
            &v2(0x11, 0x11, &V4),
            &v2(0x31, 0x11, &V4),
            &v2(0x22, 0x11, &V4),
            &v2(0x21, 0x12, &V4),
            &v2(0x21, 0x13, &V4),
            &v2(0x21, 0x41, &V4),
            &v2(0x21, 0x11, &V4[..11]),
            &v2(0x21, 0x21, &V4),
            &v2(0x21, 0x11, &[&V4[..], &[4, 0]].concat()),
            &v2(0x21, 0x11, &[&V4[..], &[4, 0, 9, 1]].concat()),
            &v2(0x21, 0x11, &[&V4[..], &vector(PP2_TYPE_SSL, &[1, 0, 0, 0])].concat()),
            &v2(0x21, 0x11, &[&V4[..], &vector(PP2_TYPE_SSL, &[0; 5]), &vector(PP2_TYPE_SSL, &[1; 5])].concat()),
            &v2(0x21, 0x11, &[&V4[..], &vector(PP2_TYPE_CRC32C, &[1, 2, 3, 4])].concat()),
            &v2(0x21, 0x11, &[&V4[..], &vector(PP2_TYPE_CRC32C, &[1, 2, 3])].concat()),
            &v2(0x20, 0x00, &[0; LONGEST_BLOCK + 1]),
        ] {
            let (told, _) = told(bytes).await;
            assert!(told.is_err(), "{bytes:?}: {told:?}");
        }
        assert_eq!(told(b"").await.0, Err("the connection ended without a word".to_owned()));
    }

    #[tokio::test]
    async fn a_header_cut_at_any_byte_is_refused_and_every_byte_may_be_wrong() {
        let ssl = vector(PP2_TYPE_SSL, &[1, 0, 0, 0, 0]);
        for header in
            [b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n".to_vec(), v2(0x21, 0x11, &[&V4[..], &ssl].concat())]
        {
            for cut in 0..header.len() {
                assert!(told(&header[..cut]).await.0.is_err(), "{cut}");
            }
            for at in 0..header.len() {
                for wrong in 0..=255 {
                    let mut header = header.clone();
                    header[at] = wrong;
                    // It must end, whatever it says.
                    let _ = told(&header).await;
                }
            }
        }
    }

    #[tokio::test]
    async fn a_checksum_is_verified() {
        assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283, "the check value of CRC-32C");
        let mut header = v2(0x21, 0x11, &[&V4[..], &vector(PP2_TYPE_CRC32C, &[0; 4])].concat());
        let sum = crc32c(header.iter().copied());
        let at = header.len() - 4;
        header[at..].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(told(&header).await.0, Ok(of("192.0.2.1:56324", "192.0.2.2:443", false)));
        header[17] ^= 1;
        assert_eq!(told(&header).await.0, Err("its checksum is wrong".to_owned()));
    }
}
