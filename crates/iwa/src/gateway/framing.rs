//! Where each request of a connection ends, read in one way only. RFC 9112 2.2, 3, 5, 6, 7 and 11.2.
//!
//! hyper is as tolerant as most servers: it takes a bare LF for the end of a line, and of two lengths it takes one. Whoever sits
//! in front of this server, or behind it, may take the other, and one request becomes two: request smuggling. On connections
//! that are signed in, the second one is somebody's. So this looks at every byte before hyper does, and whatever the
//! grammar does not allow is refused, however clear its meaning may seem.

use core::fmt;

/// How far the requests of a connection were read.
#[derive(Debug)]
pub(crate) struct Framing {
    at: At,
    head: Head,
    /// The beginning of a line that has not ended yet; empty unless a line came in parts.
    begun: Vec<u8>,
    /// A line longer than this is hyper's to refuse, by its own limit.
    longest: usize,
    heads: u64,
}

/// What a request cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    /// The bytes before it are good.
    pub(crate) after: usize,
    /// The request whose body it is in, from 1; `None` in a head.
    pub(crate) in_body_of: Option<u64>,
    pub(crate) why: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    /// Before a request; whether an empty line was passed over already.
    Start { skipped: bool },
    /// In the fields of a head.
    Fields,
    /// In a body of known length, or a chunk: bytes to come.
    Data { left: u64, chunk: bool },
    /// Behind a chunk.
    ChunkEnd,
    /// Before a chunk.
    ChunkSize,
    /// In the trailer section: bytes of it so far.
    Trailer { length: usize },
    /// It is hyper's to refuse.
    TooLong,
    /// No HTTP any more.
    Raw,
}

#[derive(Clone, Copy, Default, Debug)]
struct Head {
    version_10: bool,
    length: Option<u64>,
    chunked: bool,
}

impl Framing {
    /// Of a connection whose lines are hyper's to refuse from `longest` bytes.
    pub(crate) const fn new(longest: usize) -> Self {
        let head = Head { version_10: false, length: None, chunked: false };
        Self { at: At::Start { skipped: false }, head, begun: Vec::new(), longest, heads: 0 }
    }

    /// What follows is no HTTP: the connection was switched to another protocol.
    pub(crate) fn ends(&mut self) {
        self.at = At::Raw;
        self.begun = Vec::new();
    }

    /// Whether nothing is under way: all requests so far are whole.
    pub(crate) fn is_between_requests(&self) -> bool {
        self.at == At::Start { skipped: false } && self.begun.is_empty()
    }

    /// Reads on.
    ///
    /// # Errors
    /// There is no request that these bytes can be part of. Nothing more may be read then.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut read = 0;
        while let Some(rest) = bytes.get(read..).filter(|rest| !rest.is_empty()) {
            let taken = match self.at {
                At::Raw | At::TooLong => return Ok(()),
                At::Data { left, chunk } => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let left = left - taken as u64;
                    self.at = match (left, chunk) {
                        (0, true) => At::ChunkEnd,
                        (0, false) => At::Start { skipped: false },
                        _ => At::Data { left, chunk },
                    };
                    Ok(taken)
                }
                _ => self.line(rest),
            };
            read += taken.map_err(|why| Fault { after: read, in_body_of: self.in_body(), why })?;
        }
        Ok(())
    }

    /// Reads to the end of a line, or of what there is.
    fn line(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        if self.begun.last() == Some(&b'\r') {
            if bytes.first() != Some(&b'\n') {
                return Err("a CR without LF");
            }
            let mut line = core::mem::take(&mut self.begun);
            line.pop();
            return self.whole(&line).map(|()| 1);
        }
        let mut from = 0;
        while let Some(place) = bytes.get(from..).and_then(control).map(|place| from + place) {
            match (bytes.get(place), bytes.get(place + 1)) {
                (Some(b'\t'), _) => from = place + 1,
                (Some(b'\r'), Some(b'\n')) => {
                    let line = bytes.get(..place).unwrap_or_default();
                    if self.begun.is_empty() {
                        self.whole(line)?;
                    } else {
                        let mut begun = core::mem::take(&mut self.begun);
                        begun.extend_from_slice(line);
                        self.whole(&begun)?;
                    }
                    return Ok(place + 2);
                }
                (Some(b'\r'), None) => break,
                (Some(b'\r'), Some(_)) => return Err("a CR without LF"),
                (Some(b'\n'), _) => return Err("a line that ends with LF and without CR"),
                (Some(0), _) => return Err("a NUL"),
                _ => return Err("a control character"),
            }
        }
        self.line_goes_on(bytes)
    }

    fn line_goes_on(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let length = self.begun.len() + bytes.len();
        match self.at {
            At::ChunkSize | At::ChunkEnd if length > LONGEST_CHUNK_LINE => {
                return Err("a chunk's extensions are too long");
            }
            At::Trailer { .. } if length > LONGEST_TRAILER => return Err("the trailers are too long"),
            At::Start { .. } | At::Fields if length > self.longest => {
                self.at = At::TooLong;
                self.begun = Vec::new();
            }
            _ => self.begun.extend_from_slice(bytes),
        }
        Ok(bytes.len())
    }

    /// Takes a line without its end. It has no control characters but tabs.
    fn whole(&mut self, line: &[u8]) -> Result<(), &'static str> {
        self.at = match self.at {
            // RFC 9112 2.2: one empty line may stand before a request.
            At::Start { skipped: false } if line.is_empty() => At::Start { skipped: true },
            At::Start { .. } => {
                self.head = Head { version_10: request_line(line)?, ..Head::default() };
                At::Fields
            }
            At::Fields if line.is_empty() => self.body()?,
            At::Fields => {
                self.head.field(line)?;
                At::Fields
            }
            At::ChunkSize => match chunk_size(line)? {
                0 => At::Trailer { length: 0 },
                left => At::Data { left, chunk: true },
            },
            At::ChunkEnd if line.is_empty() => At::ChunkSize,
            At::ChunkEnd => return Err("a chunk that is longer than its size"),
            At::Trailer { .. } if line.is_empty() => At::Start { skipped: false },
            At::Trailer { length } => {
                let length = length + line.len();
                if length > LONGEST_TRAILER {
                    return Err("the trailers are too long");
                }
                trailer(line)?;
                At::Trailer { length }
            }
            at @ (At::Data { .. } | At::TooLong | At::Raw) => at,
        };
        Ok(())
    }

    /// What follows the head.
    fn body(&mut self) -> Result<At, &'static str> {
        let Head { version_10, length, chunked } = self.head;
        let at = match (chunked, length) {
            (true, Some(_)) => return Err("both Transfer-Encoding and Content-Length"),
            (true, None) if version_10 => return Err("Transfer-Encoding in HTTP/1.0"),
            (true, None) => At::ChunkSize,
            (false, None | Some(0)) => At::Start { skipped: false },
            (false, Some(left)) => At::Data { left, chunk: false },
        };
        self.heads += 1;
        Ok(at)
    }

    fn in_body(&self) -> Option<u64> {
        match self.at {
            At::Start { .. } | At::Fields | At::TooLong | At::Raw => None,
            At::Data { .. } | At::ChunkEnd | At::ChunkSize | At::Trailer { .. } => Some(self.heads),
        }
    }
}

impl Head {
    fn field(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let (name, value) = field(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.length.is_some() {
                return Err("Content-Length twice");
            }
            self.length = Some(number(value, 10).ok_or("a Content-Length that is no number")?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked {
                return Err("Transfer-Encoding twice");
            }
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err("a Transfer-Encoding that is not just chunked");
            }
            self.chunked = true;
        }
        Ok(())
    }
}

/// `GET /path HTTP/1.1`; whether it is HTTP/1.0.
fn request_line(line: &[u8]) -> Result<bool, &'static str> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("a request line that is not method, target and version with a space between");
    };
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
        return Err("a method that is no token");
    }
    if target.contains(&b'\t') || target.contains(&b'#') {
        return Err("a tab or a fragment in the request's target");
    }
    if method == b"CONNECT" {
        return Err("CONNECT");
    }
    // RFC 9112 3.2: the authority alone is for CONNECT, and this is no proxy of that kind.
    let begins = |with: &[u8]| target.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    let asterisk = target == b"*" && method == b"OPTIONS";
    if !(asterisk || target.first() == Some(&b'/') || begins(b"http://") || begins(b"https://")) {
        return Err("a target that is neither a path nor an http URI");
    }
    match version {
        b"HTTP/1.1" => Ok(false),
        b"HTTP/1.0" => Ok(true),
        _ => Err("a version that is neither HTTP/1.1 nor HTTP/1.0"),
    }
}

/// Name and value without the white space around it.
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err("a line that goes on with the field before it (obs-fold)");
    }
    let colon = line.iter().position(|byte| *byte == b':').ok_or("a field without a colon")?;
    let (name, value) = line.split_at_checked(colon).unwrap_or((line, &[]));
    if name.is_empty() {
        return Err("a field without a name");
    }
    if !name.iter().all(|byte| is_token(*byte)) {
        return Err("a field's name that is no token; a space before the colon, perhaps");
    }
    let mut value = value.strip_prefix(b":").unwrap_or(value);
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    Ok((name, value))
}

/// RFC 9112 7.1: the size, and extensions, which nobody here knows.
fn chunk_size(line: &[u8]) -> Result<u64, &'static str> {
    if line.len() > LONGEST_CHUNK_LINE {
        return Err("a chunk's extensions are too long");
    }
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    if digits.len() > 16 {
        return Err("a chunk's size that is too long");
    }
    number(digits, 16).ok_or("a chunk's size that is no hexadecimal number")
}

/// RFC 9110 6.5.1: what says how a message is read and to whom it goes has no place behind it.
fn trailer(line: &[u8]) -> Result<(), &'static str> {
    let (name, _) = field(line)?;
    if NOT_IN_TRAILERS.iter().any(|not| name.eq_ignore_ascii_case(not)) {
        return Err("a trailer that says how the request is read, or for whom");
    }
    Ok(())
}

/// Digits and nothing else, and no more than fit.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let value = |digit: &u8| char::from(*digit).to_digit(radix).map(u64::from);
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| number.checked_mul(u64::from(radix))?.checked_add(value(digit)?))
}

/// RFC 9110 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

/// Where the first control character is.
fn control(bytes: &[u8]) -> Option<usize> {
    let is_control = |byte: &u8| *byte < b' ' || *byte == 0x7f;
    let mut blocks = bytes.chunks_exact(BLOCK);
    // A whole block at once: the compiler makes one comparison of it.
    let clear =
        blocks.by_ref().take_while(|block| !block.iter().fold(false, |any, byte| any | is_control(byte))).count();
    let from = clear * BLOCK;
    Some(from + bytes.get(from..)?.iter().position(is_control)?)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why)
    }
}

const BLOCK: usize = 32;

const NOT_IN_TRAILERS: [&[u8]; 9] = [
    b"content-length",
    b"transfer-encoding",
    b"host",
    b"trailer",
    b"te",
    b"connection",
    b"upgrade",
    b"authorization",
    b"content-encoding",
];

/// Bytes of a chunk's size and extensions. hyper throws the extensions away.
const LONGEST_CHUNK_LINE: usize = 1024;

/// Bytes of all trailers. hyper's own limit.
const LONGEST_TRAILER: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "Host: web.example.test\r\n";

    /// Of bytes that arrive in these pieces.
    fn read(bytes: &[u8], piece: usize) -> Result<bool, &'static str> {
        let mut framing = Framing::new(65536);
        for piece in bytes.chunks(piece) {
            framing.read(piece).map_err(|fault| fault.why)?;
        }
        Ok(framing.is_between_requests())
    }

    #[test]
    fn whole_requests_are_taken_in_pieces_of_any_size() {
        let chunked = "Transfer-Encoding: Chunked \r\n\r\n";
        for request in [
            format!("GET / HTTP/1.1\r\n{HOST}\r\n"),
            format!("\r\nGET / HTTP/1.1\r\n{HOST}\r\n\r\nGET / HTTP/1.1\r\n{HOST}\r\n"),
            format!("POST /a?b=c HTTP/1.1\r\n{HOST}Content-Length: 5\r\n\r\nhe\n\0oGET / HTTP/1.0\r\n\r\n"),
            format!("POST /a HTTP/1.1\r\n{HOST}content-length:\t0\t\r\n\r\nGET / HTTP/1.1\r\n{HOST}X: a\tb\r\n\r\n"),
            format!("POST /a HTTP/1.1\r\n{HOST}{chunked}5;a=\"b c\"\r\nhe\r\no\r\n00A\r\n0123456789\r\n0\r\n\r\n"),
            format!("POST /a HTTP/1.1\r\n{HOST}{chunked}0\r\nX-Sum: 1\r\n\r\nGET http://a/ HTTP/1.1\r\n{HOST}\r\n"),
            format!("OPTIONS * HTTP/1.1\r\n{HOST}Empty:\r\nX: {}\r\n\r\n", "a".repeat(9000)),
        ] {
            for piece in (1..80).chain([request.len()]) {
                assert_eq!(read(request.as_bytes(), piece), Ok(true), "{request:?} in pieces of {piece}");
            }
            for cut in 1..request.len() {
                assert!(read(&request.as_bytes()[..cut], cut).is_ok(), "{request:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused_in_pieces_of_any_size() {
        for (request, why) in [
            ("GET / HTTP/1.1\nHost: a\n\n", "a line that ends with LF and without CR"),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", "a line that ends with LF and without CR"),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", "a line that ends with LF and without CR"),
            ("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", "a CR without LF"),
            ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", "a CR without LF"),
            ("GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", "a NUL"),
            ("GET / HTTP/1.1\r\nHost: a\x7f\r\n\r\n", "a control character"),
            ("GET / HTTP/1.1\r\nX\x01: a\r\n\r\n", "a control character"),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "Content-Length twice"),
            ("POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\nhello", "a Content-Length that is no number"),
            ("POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello", "a Content-Length that is no number"),
            ("POST / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n", "a Content-Length that is no number"),
            (
                "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "both Transfer-Encoding and Content-Length",
            ),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding in HTTP/1.0"),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
                "Transfer-Encoding twice",
            ),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n", "a Transfer-Encoding that is not just chunked"),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
                "a chunk that is longer than its size",
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
                "a line that ends with LF and without CR",
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n",
                "a chunk's size that is too long",
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 3\r\n\r\n",
                "a trailer that says how the request is read, or for whom",
            ),
            ("GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n", "a line that goes on with the field before it (obs-fold)"),
            (
                "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
                "a field's name that is no token; a space before the colon, perhaps",
            ),
            ("GET / HTTP/1.1\r\n: a\r\n\r\n", "a field without a name"),
            ("CONNECT a:80 HTTP/1.1\r\n\r\n", "CONNECT"),
            ("GET a:80 HTTP/1.1\r\n\r\n", "a target that is neither a path nor an http URI"),
            ("GET / HTTP/2.0\r\n\r\n", "a version that is neither HTTP/1.1 nor HTTP/1.0"),
        ] {
            for piece in 1..=request.len() {
                assert_eq!(read(request.as_bytes(), piece), Err(why), "{request:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_fault_stands_behind_the_last_good_line_and_knows_its_request() {
        let mut framing = Framing::new(65536);
        let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc";
        framing.read(good.as_bytes()).expect("good");
        let fault = framing.read(b"\r\nxyz\r\n").expect_err("bad");
        assert_eq!((fault.after, fault.in_body_of), (2, Some(2)));
        let mut framing = Framing::new(65536);
        let fault = framing.read(b"GET / HTTP/1.1\r\nHost: a\nX").expect_err("bad");
        assert_eq!((fault.after, fault.in_body_of), (16, None));
    }

    #[test]
    fn after_an_upgrade_nothing_is_looked_at() {
        let mut framing = Framing::new(65536);
        framing.read(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n").expect("good");
        framing.ends();
        framing.read(b"\x81\x05\0\n\n").expect("not HTTP");
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory_than_the_limit() {
        let mut framing = Framing::new(1000);
        for _ in 0..100 {
            framing.read(&[b'a'; 500]).expect("hyper's to refuse");
            assert!(framing.begun.capacity() <= 2048);
        }
    }

    #[test]
    fn controls_are_found_wherever_they_are() {
        for length in 0..100 {
            for place in 0..length {
                let mut bytes = vec![b'a'; length];
                assert_eq!(control(&bytes), None);
                bytes[place] = 0x7f;
                assert_eq!(control(&bytes), Some(place));
            }
        }
    }
}
