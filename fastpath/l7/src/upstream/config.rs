use std::time::Duration;

/// Bounds of what a worker has of its upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// How long a connection for HTTP/1.1 is kept without a request: less than common
    /// servers do, or they close it just when a request is on its way.
    pub idle_timeout: Duration,
    /// The same for HTTP/2, where who closes says which requests it has not seen.
    pub h2_idle_timeout: Duration,
    /// Connections for HTTP/1.1 that are kept to an endpoint.
    pub idle_per_endpoint_max: usize,
    /// Those that are kept in all.
    pub idle_max: usize,
    /// Connections to an endpoint.
    pub connections_per_endpoint_max: usize,
    /// Requests that wait for a connection to an endpoint.
    pub waiting_per_endpoint_max: usize,
    /// Requests at once on a connection for HTTP/2, whatever the endpoint lets.
    pub h2_streams_max: usize,
    /// Bytes of an answer's head.
    pub head_bytes_max: usize,
    /// Endpoints that a request is sent to after the first.
    pub retries_max: u8,
    /// Retries that may follow each other at once, if there were none for long.
    pub retries_burst: u32,
    /// Retries in a second, and
    pub retries_per_s: u32,
    /// in a hundred requests.
    pub retries_per_cent: u32,
    /// Failures in a row after which an endpoint is left out.
    pub failures_max: u32,
    /// How long it is left out at first, and
    pub ejected_min: Duration,
    /// at most, if it goes on failing.
    pub ejected_max: Duration,
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        UpstreamConfig {
            idle_timeout: Duration::from_secs(4),
            h2_idle_timeout: Duration::from_secs(50),
            idle_per_endpoint_max: 1024,
            idle_max: 4096,
            connections_per_endpoint_max: 1024,
            waiting_per_endpoint_max: 4096,
            h2_streams_max: 256,
            head_bytes_max: 64 << 10,
            retries_max: 2,
            retries_burst: 100,
            retries_per_s: 3,
            retries_per_cent: 20,
            failures_max: 5,
            ejected_min: Duration::from_secs(1),
            ejected_max: Duration::from_secs(30),
        }
    }
}
