/// What an engine has done, since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpCounters {
    /// Connections from outside that were established.
    pub accepted: u64,
    /// Connections from here that were established.
    pub connected: u64,
    /// Packets that are no TCP segment, or a wrong one: lengths, checksum, addresses,
    /// flags, options, fragments.
    pub malformed: u64,
    /// SYNs to what nothing listens on.
    pub refused_closed: u64,
    /// SYNs dropped at `half_open_max`.
    pub refused_half_open: u64,
    /// Handshakes dropped, and opens refused, at `connections_max`.
    pub refused_connections: u64,
    /// RSTs sent to segments of no connection.
    pub resets_sent: u64,
    /// RSTs sent to end a connection.
    pub aborts_sent: u64,
    /// Connections that their peers reset.
    pub resets_received: u64,
    /// ACKs sent to segments that are not in the window (RFC 5961).
    pub challenges_sent: u64,
    /// RSTs and challenge ACKs not sent, at `answers_max_per_s`.
    pub answers_limited: u64,
    /// SYN-ACKs sent whose sequence number is a cookie.
    pub cookies_sent: u64,
    /// Connections made from a cookie.
    pub cookies_taken: u64,
    /// ACKs that carry no cookie of ours, while cookies are out.
    pub cookies_refused: u64,
    /// Handshakes from outside that were not over in time.
    pub half_open_timeouts: u64,
    /// Connections from here that were not established in time.
    pub connect_timeouts: u64,
    /// Connections whose peer was not heard for too long.
    pub idle_timeouts: u64,
    /// Released connections that their peers did not close in time.
    pub fin_timeouts: u64,
    /// Connections in TIME-WAIT that gave way to a new one of the same addresses and
    /// ports.
    pub time_wait_recycled: u64,
    /// Connections in TIME-WAIT that gave way at `time_wait_max`.
    pub time_wait_evicted: u64,
    /// Segments sent again.
    pub retransmissions: u64,
    /// Times that something was found to be lost while the rest arrived.
    pub recoveries: u64,
    /// Of these, and of `timeouts`, those in which nothing was lost.
    pub recoveries_undone: u64,
    /// Times that nothing was acknowledged for too long.
    pub timeouts: u64,
    /// Segments sent to learn whether the last one was lost.
    pub tail_probes: u64,
    /// Segments sent to learn whether a window is still closed.
    pub window_probes: u64,
    /// Segments older than what has come, by their timestamps (RFC 7323 section 5).
    pub stamps_refused: u64,
    /// Segments behind more gaps than are kept in mind.
    pub scattered: u64,
    /// Segments that there was no memory for, at `buffer_bytes_max`.
    pub refused_memory: u64,
    /// Segments that told a smaller window than they would with more memory.
    pub windows_held: u64,
    /// SYNs that were refused since too much of the memory is used.
    pub refused_pressure: u64,
    /// Answers to a segment that the sink had no room for.
    pub answers_lost: u64,
    /// ICMP errors that told a connection something.
    pub icmp_taken: u64,
    /// ICMP errors that quote nothing that is on its way (RFC 5927), are wrong, or say
    /// nothing that a connection acts on.
    pub icmp_ignored: u64,
}
