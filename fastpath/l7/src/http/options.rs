use crate::HeadLimits;
use std::time::Duration;

/// What clients may do, and how long they may take for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyOptions {
    /// What the head of a request may be at most. More than 128 headers are never let
    /// through, nor a target of more than 60 KiB.
    pub head: HeadLimits,
    /// Bytes of the body of any request; `None`: as many as its route lets through.
    pub body_bytes_max: Option<u64>,
    /// Connections of a listener at a time.
    pub connections_max: u32,
    /// Requests of a connection, which is ended then.
    pub requests_max: u32,
    /// How long a PROXY protocol header may take.
    pub proxy_header_timeout: Duration,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long a whole head may take; a connection's first one from its beginning on.
    pub head_timeout: Duration,
    /// How long a client may send nothing of a body that is waited for.
    pub body_timeout: Duration,
    /// How long a client may take nothing of what is sent.
    pub send_timeout: Duration,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
    /// After how long without a request a connection gives back the memory that requests
    /// take.
    pub rest_after: Duration,
    /// How long connections of a listener that has gone may go on with what they have
    /// begun.
    pub drain_timeout: Duration,
    /// How long a client that is hung up on may go on sending, so that it gets to read
    /// the answer.
    pub linger_timeout: Duration,
    /// HTTP/2.
    pub http2: Http2Options,
    /// Answers of the gateway's own say why they are (`x-sluice-reason`).
    pub shows_reason: bool,
}

/// What clients may do in HTTP/2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2Options {
    /// Requests of a connection at a time.
    pub streams_max: u32,
    /// Bytes that may come of a body before they are asked for.
    pub stream_window_bytes: u32,
    /// Bytes that may come of a connection's bodies.
    pub connection_window_bytes: u32,
    /// Bytes of a frame.
    pub frame_bytes_max: u32,
    /// Bytes of an answer that wait to be sent.
    pub send_bytes_max: usize,
    /// Requests that are given up before they have been looked at (CVE-2023-44487).
    pub pending_resets_max: usize,
    /// Requests that are reset for what is wrong with them.
    pub local_resets_max: usize,
    /// How often a silent client is asked whether it is there.
    pub ping_interval: Duration,
    /// How long it may take to answer.
    pub ping_timeout: Duration,
}

impl Default for ProxyOptions {
    fn default() -> Self {
        ProxyOptions {
            head: HeadLimits::default(),
            body_bytes_max: None,
            connections_max: 20_000,
            requests_max: 10_000,
            proxy_header_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            send_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(75),
            rest_after: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(60),
            linger_timeout: Duration::from_secs(2),
            http2: Http2Options::default(),
            shows_reason: false,
        }
    }
}

impl Default for Http2Options {
    fn default() -> Self {
        Http2Options {
            streams_max: 128,
            stream_window_bytes: 64 << 10,
            connection_window_bytes: 256 << 10,
            frame_bytes_max: 16 << 10,
            send_bytes_max: 64 << 10,
            pending_resets_max: 20,
            local_resets_max: 256,
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(20),
        }
    }
}

/// As much of it as a time has.
pub(super) fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
