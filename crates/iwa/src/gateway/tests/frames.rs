//! HTTP/2 by hand: what breaks a rule of RFC 9113 ends its stream or its connection with the error that the rule names, and
//! nothing else. In the order of that document, as h2spec has it.

use core::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::tls::{Pem, stream_over_tls, with_certificates};
use super::{Directory, Server, anonymous, server};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 32;

const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const CANCEL: u32 = 8;
const COMPRESSION: u32 = 9;
const CALM: u32 = 0xb;

#[derive(Debug)]
enum Ends {
    /// GOAWAY with this error, or with PROTOCOL_ERROR, which our implementation says in the place of some more specific ones.
    Connection(u32),
    /// RST_STREAM of stream 1 with this error, and the connection lives; or GOAWAY with it: RFC 9113 5.4.1 lets every error be one of
    /// the connection.
    Stream(u32),
    /// As a stream error, or 400, and the connection lives. RFC 9113 8.1.1.
    Malformed,
    /// The same, but of the connection: fields that no HTTP has are found where they are decompressed.
    Garbled,
    /// Not at all.
    Nothing,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Literals without indexing and without Huffman. RFC 7541 6.2.2.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            block.push(u8::try_from(text.len()).expect("short"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "web.example.test"), (":path", "/")];

/// A request that is right.
fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(&GET))
}

/// A request of these fields alone.
fn of(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(fields))
}

/// One that is right but for these at its end.
fn and(fields: &[(&str, &str)]) -> Vec<u8> {
    of(&[&GET, fields].concat())
}

/// One that has a body, and what follows.
fn post(more: &[(&str, &str)], then: &[Vec<u8>]) -> Vec<u8> {
    let head = [&[(":method", "POST")], &GET[1..], more].concat();
    [frame(HEADERS, END_HEADERS, 1, &block(&head)), then.concat()].concat()
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

fn all(frames: &[Vec<u8>]) -> Vec<u8> {
    frames.concat()
}

struct Raw(TlsStream<TcpStream>);

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }

    fn is_status(&self, indexed: u8) -> bool {
        // Changes of the table's size may come first.
        self.kind == HEADERS && self.payload.iter().find(|byte| *byte & 0xe0 != 0x20) == Some(&indexed)
    }
}

impl Raw {
    async fn of(server: &Server, web: &Pem) -> Self {
        Self(stream_over_tls(server, "web.example.test", &[web], &[b"h2"]).await.expect("TLS"))
    }

    /// With everything that comes first.
    async fn begun(server: &Server, web: &Pem) -> Self {
        let mut raw = Self::of(server, web).await;
        raw.send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(SETTINGS, 0, 0, &[])].concat()).await;
        raw
    }

    async fn send(&mut self, bytes: &[u8]) {
        // The server may have gone already.
        let _ = self.0.write_all(bytes).await;
        let _ = self.0.flush().await;
    }

    /// `None` at the end of the connection, or if nothing comes.
    async fn frame(&mut self) -> Option<Frame> {
        let read = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes(head[5..].try_into().expect("four bytes"));
            Some(Frame { kind: head[3], flags: head[4], stream, payload })
        };
        tokio::time::timeout(Duration::from_secs(10), read).await.ok().flatten()
    }

    /// The next frame that this is true of; `None` if the connection ends before.
    async fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let frame = self.frame().await?;
            if wanted(&frame) {
                return Some(frame);
            }
        }
    }

    async fn lives(&mut self, stream: u32) -> bool {
        self.send(&get(stream)).await;
        self.until(|frame| frame.stream == stream && frame.is_status(0x88)).await.is_some()
    }
}

async fn site(name: &str) -> (Directory, Pem, Server) {
    let files = Directory::new(&format!("frames-{name}"));
    files.write("index.html", "hello");
    let web = Pem::write(&files, "web", &["web.example.test"]);
    let server = server(&files.0, |config| {
        with_certificates(config, &[&web]);
        config.authentication.policy.providers.clear();
        anonymous(config);
    })
    .await;
    (files, web, server)
}

#[tokio::test]
async fn each_broken_rule_ends_what_it_broke_and_no_more() {
    let (_files, web, server) = site("rules").await;
    let mut wrong = Vec::new();
    for (number, (what, bytes, ends)) in cases().into_iter().enumerate() {
        let mut raw = Raw::begun(&server, &web).await;
        raw.send(&bytes).await;
        let ended = |frame: &Frame| {
            frame.kind == GOAWAY
                || frame.stream == 1 && (frame.kind == RST_STREAM || frame.is_status(0x8c))
                || frame.kind == PING && frame.flags & ACK != 0
        };
        // Whoever lives answers this, after everything else.
        raw.send(&frame(PING, 0, 0, b"are you?")).await;
        let mut seen = raw.until(ended).await;
        if seen.as_ref().is_some_and(|frame| frame.kind == PING) && matches!(ends, Ends::Stream(_) | Ends::Malformed) {
            // PONG overtakes what streams have to say.
            seen = raw.until(|frame| frame.kind != PING && ended(frame)).await;
        }
        let told = format!("case {number}, {what}: wanted {ends:?}, found {seen:?}");
        let Some(seen) = seen else {
            wrong.push(told);
            continue;
        };
        let wanted = match (&ends, seen.kind) {
            (Ends::Connection(code) | Ends::Stream(code), GOAWAY) => [*code, PROTOCOL].contains(&seen.number(4)),
            (Ends::Garbled, GOAWAY) => seen.number(4) == PROTOCOL,
            (Ends::Stream(code), RST_STREAM) => seen.number(0) == *code && raw.lives(5).await,
            (Ends::Malformed, RST_STREAM) => seen.number(0) == PROTOCOL && raw.lives(5).await,
            (Ends::Malformed, HEADERS) => raw.lives(5).await,
            (Ends::Nothing, PING) => raw.lives(5).await,
            _ => false,
        };
        if !wanted {
            wrong.push(told);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    server.running.stop().await;
}

fn cases() -> Vec<(&'static str, Vec<u8>, Ends)> {
    use Ends::{Connection, Garbled, Malformed, Nothing, Stream};
    let requests = GET;
    let without = |name: &str| of(&requests.iter().copied().filter(|(is, _)| *is != name).collect::<Vec<_>>());
    let instead = |name: &str, value: &'static str| {
        of(&requests.iter().map(|&(is, was)| (is, if is == name { value } else { was })).collect::<Vec<_>>())
    };
    let open = || post(&[], &[]);
    vec![
        // 4.2: sizes.
        ("DATA longer than 16384", post(&[], &[frame(DATA, 0, 1, &[0; 16_385])]), Connection(FRAME_SIZE)),
        (
            "HEADERS longer than 16384",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0; 16_385]),
            Connection(FRAME_SIZE),
        ),
        // 4.3: compression.
        (
            "an index that is not in the table",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff, 0xff, 0x10]),
            Connection(COMPRESSION),
        ),
        (
            "a block that ends in the middle",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x00, 0x7f]),
            Connection(COMPRESSION),
        ),
        ("index 0", frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x80]), Connection(COMPRESSION)),
        (
            "a table larger than was allowed",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x3f, 0xe1, 0xff, 0x3f]),
            Connection(COMPRESSION),
        ),
        // 5.1: states.
        ("DATA on an idle stream", frame(DATA, END_STREAM, 1, b"x"), Connection(PROTOCOL)),
        ("RST_STREAM on an idle stream", frame(RST_STREAM, 0, 1, &CANCEL.to_be_bytes()), Connection(PROTOCOL)),
        ("WINDOW_UPDATE on an idle stream", frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), Connection(PROTOCOL)),
        ("CONTINUATION on an idle stream", frame(CONTINUATION, END_HEADERS, 1, &block(&GET)), Connection(PROTOCOL)),
        ("DATA after the end of a stream", all(&[get(1), frame(DATA, END_STREAM, 1, b"x")]), Stream(STREAM_CLOSED)),
        ("HEADERS after the end of a stream", all(&[get(1), get(1)]), Stream(STREAM_CLOSED)),
        (
            "CONTINUATION after the end of a stream",
            all(&[get(1), frame(CONTINUATION, END_HEADERS, 1, &block(&GET))]),
            Connection(PROTOCOL),
        ),
        // 5.1.1: numbers.
        ("an even stream", get(2), Connection(PROTOCOL)),
        ("a smaller stream than before", all(&[get(5), get(3)]), Connection(PROTOCOL)),
        // 5.3: priorities are deprecated; they are read and have no effect.
        ("a stream that depends on itself", frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 7]), Nothing),
        (
            "HEADERS that depend on themselves",
            frame(
                HEADERS,
                END_STREAM | END_HEADERS | WITH_PRIORITY,
                1,
                &[&[0, 0, 0, 1, 7], block(&GET).as_slice()].concat(),
            ),
            Stream(PROTOCOL),
        ),
        // 5.5: what nobody knows.
        ("an unknown frame", frame(0x16, 0xff, 0, b"whatever"), Nothing),
        (
            "an unknown frame within a block",
            all(&[frame(HEADERS, END_STREAM, 1, &block(&GET)), frame(0x16, 0, 0, b"x")]),
            Connection(PROTOCOL),
        ),
        // 6.1: DATA.
        ("DATA on stream 0", frame(DATA, 0, 0, b"x"), Connection(PROTOCOL)),
        (
            "DATA with more padding than there is",
            post(&[], &[frame(DATA, PADDED | END_STREAM, 1, &[9, 0, 0])]),
            Connection(PROTOCOL),
        ),
        // 6.2: HEADERS.
        ("HEADERS on stream 0", frame(HEADERS, END_STREAM | END_HEADERS, 0, &block(&GET)), Connection(PROTOCOL)),
        (
            "HEADERS with more padding than there is",
            frame(HEADERS, PADDED | END_STREAM | END_HEADERS, 1, &[99, 0x82]),
            Connection(PROTOCOL),
        ),
        (
            "a block that another stream interrupts",
            all(&[frame(HEADERS, END_STREAM, 1, &block(&GET)), get(3)]),
            Connection(PROTOCOL),
        ),
        (
            "a block that DATA interrupts",
            all(&[frame(HEADERS, 0, 1, &block(&GET)), frame(DATA, END_STREAM, 1, b"x")]),
            Connection(PROTOCOL),
        ),
        // 6.3: PRIORITY.
        ("PRIORITY on stream 0", frame(PRIORITY, 0, 0, &[0, 0, 0, 3, 7]), Connection(PROTOCOL)),
        ("PRIORITY of 4 bytes", frame(PRIORITY, 0, 1, &[0; 4]), Stream(FRAME_SIZE)),
        // 6.4: RST_STREAM.
        ("RST_STREAM on stream 0", frame(RST_STREAM, 0, 0, &CANCEL.to_be_bytes()), Connection(PROTOCOL)),
        ("RST_STREAM of 3 bytes", all(&[open(), frame(RST_STREAM, 0, 1, &[0; 3])]), Connection(FRAME_SIZE)),
        // 6.5: SETTINGS.
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, &[]), Connection(PROTOCOL)),
        ("SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, &[0; 5]), Connection(FRAME_SIZE)),
        ("an acknowledgement with settings", frame(SETTINGS, ACK, 0, &[0; 6]), Connection(FRAME_SIZE)),
        ("ENABLE_PUSH of 2", setting(2, 2), Connection(PROTOCOL)),
        ("a window of 2^31", setting(4, 1 << 31), Connection(FLOW_CONTROL)),
        ("frames of 16383", setting(5, 16_383), Connection(PROTOCOL)),
        ("frames of 2^24", setting(5, 1 << 24), Connection(PROTOCOL)),
        ("an unknown setting", setting(0x99, 7), Nothing),
        // 6.6: clients push nothing.
        (
            "PUSH_PROMISE",
            all(&[open(), frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], block(&GET).as_slice()].concat())]),
            Connection(PROTOCOL),
        ),
        // 6.7: PING.
        ("PING on a stream", frame(PING, 0, 1, &[0; 8]), Connection(PROTOCOL)),
        ("PING of 7 bytes", frame(PING, 0, 0, &[0; 7]), Connection(FRAME_SIZE)),
        ("a PONG that nobody asked for", frame(PING, ACK, 0, &[9; 8]), Ends::Nothing),
        // 6.8: GOAWAY.
        ("GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), Connection(PROTOCOL)),
        // 6.9: windows.
        ("WINDOW_UPDATE of nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), Connection(PROTOCOL)),
        (
            "WINDOW_UPDATE of nothing for a stream",
            all(&[open(), frame(WINDOW_UPDATE, 0, 1, &[0; 4])]),
            Stream(PROTOCOL),
        ),
        ("WINDOW_UPDATE of 3 bytes", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), Connection(FRAME_SIZE)),
        ("a window beyond 2^31", frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]), Connection(FLOW_CONTROL)),
        (
            "a stream's window beyond 2^31",
            all(&[open(), frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])]),
            Stream(FLOW_CONTROL),
        ),
        // 6.10: CONTINUATION.
        (
            "CONTINUATION without HEADERS",
            all(&[open(), frame(CONTINUATION, END_HEADERS, 1, &[])]),
            Connection(PROTOCOL),
        ),
        (
            "CONTINUATION on stream 0",
            all(&[frame(HEADERS, END_STREAM, 1, &block(&GET)), frame(CONTINUATION, END_HEADERS, 0, &[])]),
            Connection(PROTOCOL),
        ),
        // 8.1, 8.2: fields.
        ("a name in upper case", and(&[("X-Test", "ok")]), Garbled),
        ("a name with a space", and(&[("x test", "ok")]), Garbled),
        ("a name with a colon", and(&[("x:test", "ok")]), Garbled),
        ("an empty name", and(&[("", "ok")]), Garbled),
        ("a value with a line end", and(&[("x-test", "a\r\nx-user: admin")]), Garbled),
        ("a value with a NUL", and(&[("x-test", "a\0b")]), Garbled),
        ("connection", and(&[("connection", "x-test")]), Malformed),
        ("keep-alive", and(&[("keep-alive", "timeout=5")]), Malformed),
        ("proxy-connection", and(&[("proxy-connection", "keep-alive")]), Malformed),
        ("transfer-encoding", and(&[("transfer-encoding", "chunked")]), Malformed),
        ("upgrade", and(&[("upgrade", "websocket")]), Malformed),
        ("te other than trailers", and(&[("te", "gzip")]), Malformed),
        ("te: trailers", and(&[("te", "trailers")]), Nothing),
        // 8.3: pseudo-headers.
        ("an unknown pseudo-header", and(&[(":test", "ok")]), Garbled),
        ("that of an answer", and(&[(":status", "200")]), Malformed),
        ("a pseudo-header after a field", of(&[GET[0], GET[1], ("x-test", "ok"), GET[2], GET[3]]), Malformed),
        ("no method", without(":method"), Malformed),
        ("no scheme", without(":scheme"), Malformed),
        ("no path", without(":path"), Malformed),
        ("no authority and no host", without(":authority"), Malformed),
        ("an empty path", instead(":path", ""), Malformed),
        ("a path that does not begin with /", instead(":path", "index.html"), Malformed),
        ("another scheme", instead(":scheme", "http"), Malformed),
        ("no scheme that there is", instead(":scheme", "a b"), Malformed),
        ("an authority with a user", instead(":authority", "alice@web.example.test"), Malformed),
        ("an authority that is none", instead(":authority", "a b"), Malformed),
        ("two methods", of(&[GET[0], GET[0], GET[1], GET[2], GET[3]]), Malformed),
        ("two schemes", of(&[GET[0], GET[1], GET[1], GET[2], GET[3]]), Malformed),
        ("two authorities", of(&[GET[0], GET[1], GET[2], GET[2], GET[3]]), Malformed),
        ("two paths", of(&[GET[0], GET[1], GET[2], GET[3], GET[3]]), Malformed),
        ("a host that differs", and(&[("host", "other.example.test")]), Malformed),
        ("CONNECT with a path", instead(":method", "CONNECT"), Malformed),
        // 8.1.1: lengths.
        ("a length without a body", and(&[("content-length", "5")]), Malformed),
        ("a length that is none", and(&[("content-length", "5x")]), Malformed),
        ("two lengths", and(&[("content-length", "0"), ("content-length", "5")]), Malformed),
        ("less than the length", post(&[("content-length", "5")], &[frame(DATA, END_STREAM, 1, b"abc")]), Malformed),
        (
            "more than the length",
            post(&[("content-length", "1")], &[frame(DATA, 0, 1, b"a"), frame(DATA, END_STREAM, 1, b"bc")]),
            Malformed,
        ),
        (
            "a pseudo-header in trailers",
            post(
                &[],
                &[frame(DATA, 0, 1, b"a"), frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&[(":path", "/")]))],
            ),
            Nothing,
        ),
        (
            "trailers that do not end the stream",
            post(&[], &[frame(DATA, 0, 1, b"a"), frame(HEADERS, END_HEADERS, 1, &block(&[("x-test", "ok")]))]),
            Malformed,
        ),
    ]
}

#[tokio::test]
async fn what_does_not_begin_with_the_preface_is_no_http2() {
    let (_files, web, server) = site("preface").await;
    for bytes in [&b"GET / HTTP/1.1\r\nHost: web.example.test\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"] {
        let mut raw = Raw::of(&server, &web).await;
        raw.send(bytes).await;
        let end = raw.until(|frame| frame.kind == GOAWAY || frame.kind == HEADERS).await;
        assert!(end.as_ref().is_none_or(|frame| frame.kind == GOAWAY && frame.number(4) == PROTOCOL), "{end:?}");
    }
    server.running.stop().await;
}

#[tokio::test]
async fn streams_that_are_reset_at_once_end_their_connection() {
    let (_files, web, server) = site("rapid").await;
    let mut raw = Raw::begun(&server, &web).await;
    let one = |number: u32| all(&[get(number), frame(RST_STREAM, 0, number, &CANCEL.to_be_bytes())]);
    let flood: Vec<_> = (0..2_000).map(|number| one(number * 2 + 1)).collect();
    raw.send(&flood.concat()).await;
    let end = raw.until(|frame| frame.kind == GOAWAY).await.expect("it is told why");
    assert_eq!(end.number(4), CALM);
    // Others are not kept from it.
    assert!(Raw::begun(&server, &web).await.lives(1).await);
    server.running.stop().await;
}

#[tokio::test]
async fn a_head_without_end_ends_its_connection() {
    let (_files, web, server) = site("continuation").await;
    for piece in [&b""[..], &block(&[("x", "y")])] {
        let mut raw = Raw::begun(&server, &web).await;
        let mut flood = frame(HEADERS, END_STREAM, 1, &block(&GET));
        for _ in 0..20_000 {
            flood.extend_from_slice(&frame(CONTINUATION, 0, 1, piece));
        }
        raw.send(&flood).await;
        let end = raw.until(|frame| frame.kind == GOAWAY || frame.kind == HEADERS).await;
        assert!(end.as_ref().is_none_or(|frame| frame.kind == GOAWAY), "{end:?}");
        assert!(Raw::begun(&server, &web).await.lives(1).await);
    }
    server.running.stop().await;
}

#[tokio::test]
async fn headers_up_to_64_kib_are_taken_over_http2_and_longer_ones_are_not() {
    let (_files, web, server) = site("large").await;
    for (length, taken) in [(60_000, true), (70_000, false)] {
        let mut raw = Raw::begun(&server, &web).await;
        let mut head = block(&GET);
        // A length of more than 7 bits: 127, and the rest in groups of 7. RFC 7541 5.1.
        head.extend_from_slice(&[0, 1, b'x', 0x7f]);
        let mut rest = length - 127;
        while rest > 127 {
            head.push(u8::try_from(rest % 128).expect("7 bits") | 0x80);
            rest /= 128;
        }
        head.push(u8::try_from(rest).expect("7 bits"));
        head.resize(head.len() + length, b'y');
        let mut pieces = head.chunks(16_000).peekable();
        raw.send(&frame(HEADERS, END_STREAM, 1, pieces.next().expect("a piece"))).await;
        while let Some(piece) = pieces.next() {
            let flags = if pieces.peek().is_none() { END_HEADERS } else { 0 };
            raw.send(&frame(CONTINUATION, flags, 1, piece)).await;
        }
        let answer = raw.until(|frame| frame.stream == 1 && frame.kind == HEADERS).await.expect("an answer");
        assert_eq!(answer.is_status(0x88), taken, "{length}: {answer:?}");
        assert!(raw.lives(3).await);
    }
    server.running.stop().await;
}
