//! Requests of HTTP/1.1, and TCP connections.

/// Words of requests.
pub const HTTP_WORDS: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\n",
    b"POST /a HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b"Host: a\r\n",
    b"Content-Length: 4\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: x\r\n",
    b"Expect: 100-continue\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\t",
    b" ",
    b":",
    b";",
    b"0\r\n\r\n",
    b"4\r\nabcd\r\n",
    b"ffffffffffffffff",
    b"%2f",
    b"http://a/",
    b"\0",
    b"\xff",
];

/// Words of steps: segments, ends, times.
pub const TCP_WORDS: &[&[u8]] = &[
    &[0, 2, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0],
    &[0, 16, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0],
    &[0, 16, 0, 0, 0, 0, 0xff, 0xff, 5, 0, 0],
    &[0, 17, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0],
    &[0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    &[9],
    &[10],
    &[11, 0x7f, 0xff],
    &[12, 0x7f, 0xff],
    &[13],
    &[15, 28],
    &[15, 31],
    &[2, 4, 5, 0xb4],
    &[1, 3, 3, 7],
    &[1, 1, 4, 2],
    &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0],
];

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd";
const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
    4;x=y\r\nabcd\r\n0\r\nX: y\r\n\r\n";
const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";

pub(super) fn requests() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let of = |switches: u8, parts: &[&[u8]]| [&[0, switches][..], &parts.concat()].concat();
    vec![
        ("guard", "get", of(0, &[GET])),
        ("guard", "pipeline", of(0, &[GET, POST, b"\r\n", CHUNKED, GET])),
        ("guard", "switch", of(1, &[UPGRADE, b"\0anything"])),
        ("guard", "no-switch", of(0, &[UPGRADE, GET])),
        ("guard", "last", of(0, &[b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", GET])),
    ]
}

pub(super) fn connections() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let segment = |flags: u8, len: u16, options: &[u8]| {
        let [high, low] = len.to_be_bytes();
        let words = options.len() as u8 / 4;
        [&[0, flags, 0, 0, 0, 0, 0xff, 0xff, high, low, words][..], options].concat()
    };
    let (syn, ack, fin) = (segment(2, 0, &[]), segment(16, 0, &[]), segment(17, 0, &[]));
    let data = segment(16, 1_000, &[]);
    let write: &[u8] = &[11, 0x20, 0];
    let read: &[u8] = &[12, 0x20, 0];
    let with = |flags: u8, steps: &[&[u8]]| [&[flags][..], &steps.concat()].concat();
    let served: &[&[u8]] =
        &[&syn, &ack, &data, &data, read, write, &ack, &[15, 28], &ack, &[13], &fin];
    let opened: &[&[u8]] = &[&[9], &segment(18, 0, &[]), write, &ack, &data, read, &fin, &[10]];
    let mut many: Vec<&[u8]> = vec![&[9], &[0x19], &[0x29], &[0x39], &[15, 31]];
    many.extend([&syn[..], &data, write, &[15, 31]]);
    vec![
        ("tcp", "served-v4", with(4, served)),
        ("tcp", "served-v6", with(5, served)),
        ("tcp", "cookie", with(2, served)),
        ("tcp", "opened-v4", with(8, opened)),
        ("tcp", "opened-v6", with(9, opened)),
        ("tcp", "many", with(12, &many)),
    ]
}
