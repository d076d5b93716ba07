/// Defines [`L7Reason`] from one list: variant, label, status, help. The labels are
/// what metrics, access logs and `sluice explain` show.
macro_rules! l7_reasons {
    ($($(#[doc = $help:literal])+ $variant:ident = $label:literal, $status:literal,)+) => {
        /// Why a request was answered by the gateway itself. Every 4xx and 5xx that it
        /// makes has exactly one reason.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum L7Reason { $($(#[doc = $help])+ $variant,)+ }

        impl L7Reason {
            /// Every reason, in the order in which a request meets them.
            pub const ALL: &[L7Reason] = &[$(L7Reason::$variant,)+];

            /// The reason's name in metrics and output.
            pub const fn label(self) -> &'static str {
                match self { $(L7Reason::$variant => $label,)+ }
            }

            /// The status of the answer.
            pub const fn status(self) -> u16 {
                match self { $(L7Reason::$variant => $status,)+ }
            }

            /// One sentence that says what happened.
            pub fn help(self) -> &'static str {
                match self { $(L7Reason::$variant => concat!($($help),+).trim_start(),)+ }
            }
        }
    };
}

l7_reasons! {
    /// A request line that is not a method, a target and HTTP/1.0 or HTTP/1.1 with one
    /// space between them (RFC 9112 section 3).
    BadRequestLine = "bad_request_line", 400,
    /// A version of HTTP other than 1.0 and 1.1 in a request line.
    BadVersion = "bad_version", 505,
    /// A method that is not served: CONNECT, one with letters that no method has, or a TRACE
    /// that is not to go on (RFC 9110 section 7.6.2).
    BadMethod = "bad_method", 501,
    /// A target that is neither a path, an absolute http URI nor, for OPTIONS, an
    /// asterisk; or that has characters which no URI has (RFC 9112 section 3.2).
    BadTarget = "bad_target", 400,
    /// A request target that is longer than configured.
    TargetTooLong = "target_too_long", 414,
    /// A line of a head that does not end with CR LF, or has either of them elsewhere
    /// (RFC 9112 section 2.2).
    BareLineBreak = "bare_line_break", 400,
    /// A header whose name is no token, is followed by a space, or that goes on in
    /// another line (RFC 9112 section 5).
    BadHeaderName = "bad_header_name", 400,
    /// A header value with control characters (RFC 9110 section 5.5), or in HTTP/2 with
    /// spaces around it (RFC 9113 section 8.2.1).
    BadHeaderValue = "bad_header_value", 400,
    /// More headers than configured.
    TooManyHeaders = "too_many_headers", 431,
    /// A head that is longer than configured.
    HeadTooLarge = "head_too_large", 431,
    /// No Host, several, one that is not a host and a port, or another one than in the
    /// target (RFC 9112 section 3.2).
    BadHost = "bad_host", 400,
    /// A Content-Length that is no number, or several (RFC 9112 section 6.3).
    BadContentLength = "bad_content_length", 400,
    /// A Transfer-Encoding that is not `chunked` alone (RFC 9112 section 6.1).
    BadTransferEncoding = "bad_transfer_encoding", 501,
    /// A Transfer-Encoding beside a Content-Length, or in HTTP/1.0 (RFC 9112 section
    /// 6.1).
    TwoLengths = "two_lengths", 400,
    /// A Connection header that names a header which says where a request goes or ends.
    BadConnectionHeader = "bad_connection_header", 400,
    /// An expectation other than 100-continue.
    BadExpectation = "bad_expectation", 417,
    /// A body that is longer than configured.
    BodyTooLarge = "body_too_large", 413,
    /// A chunk whose size is no hexadecimal number, whose line is too long or whose
    /// data does not end with CR LF (RFC 9112 section 7.1).
    BadChunk = "bad_chunk", 400,
    /// A trailer that says where a request goes or ends (RFC 9110 section 6.5.1).
    BadTrailer = "bad_trailer", 400,
    /// A PROXY protocol header that is none, or is missing, on a connection of a proxy
    /// that has to send one.
    BadProxyHeader = "bad_proxy_header", 400,
    /// A request without TLS on a listener that expects it.
    NotTls = "not_tls", 400,
    /// A host other than the one whose certificate the connection was made with, which
    /// another certificate is for, or whose clients have to show what this one was not asked
    /// for; or a target of https without TLS (RFC 9110 section 7.4 and 15.5.20).
    MisdirectedRequest = "misdirected_request", 421,
    /// A head or a body that took longer to come than configured.
    RequestTimeout = "request_timeout", 408,
    /// No route takes the host and path.
    NoRoute = "no_route", 404,
    /// A path that leads out of its root, has a percent sign without two digits, or
    /// becomes such a one when it is rewritten.
    BadPath = "bad_path", 400,
    /// A request without TLS for a route whose clients have to show a certificate.
    ClientCertificate = "client_certificate", 403,
    /// The route asks for what is not supported.
    RouteUnsupported = "route_unsupported", 503,
    /// The Service has no endpoint that is ready.
    NoEndpoint = "no_endpoint", 503,
    /// Network policies do not let the client's requests pass to the endpoint.
    PolicyDenied = "policy_denied", 403,
    /// As many requests as may be wait for connections to the Service's endpoints.
    UpstreamOverflow = "upstream_overflow", 503,
    /// The worker has as many bytes in buffers as it may.
    OutOfMemory = "out_of_memory", 503,
    /// No connection to an endpoint was established in time.
    ConnectTimeout = "connect_timeout", 504,
    /// An endpoint refused the connection, or there is no way to it.
    ConnectFailed = "connect_failed", 502,
    /// The TLS handshake with an endpoint failed.
    UpstreamTls = "upstream_tls", 502,
    /// The endpoint ended the connection before it had answered.
    UpstreamReset = "upstream_reset", 502,
    /// The endpoint answered what is not HTTP.
    UpstreamProtocol = "upstream_protocol", 502,
    /// The endpoint did not go on with its answer in time.
    UpstreamTimeout = "upstream_timeout", 504,
    /// The gateway is about to end.
    Stopping = "stopping", 503,
    /// The gateway itself failed at the request: a panic, which ended nothing else.
    Internal = "internal", 500,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_has_a_label_of_its_own_and_a_status_of_an_error() {
        let labels: BTreeSet<_> = L7Reason::ALL.iter().map(|reason| reason.label()).collect();
        assert_eq!(labels.len(), L7Reason::ALL.len());
        for reason in L7Reason::ALL {
            assert!((400..600).contains(&reason.status()), "{reason:?}");
            assert!(reason.help().ends_with('.'), "{reason:?}");
        }
    }
}
