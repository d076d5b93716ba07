/// How many flows may begin at a worker: of one source, per family, and of one
/// Service, over both. A flow is half open until somebody has answered it and,
/// if it is TCP, the handshake is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLimits {
    /// Flows of a source: an IPv4 address, an IPv6 /64.
    pub per_source: u32,
    /// Half-open flows of a source.
    pub per_source_half_open: u32,
    /// Flows of a port of a Service.
    pub per_service: u32,
    /// Half-open flows of a port of a Service.
    pub per_service_half_open: u32,
}

impl Default for FlowLimits {
    /// None.
    fn default() -> Self {
        FlowLimits {
            per_source: u32::MAX,
            per_source_half_open: u32::MAX,
            per_service: u32::MAX,
            per_service_half_open: u32::MAX,
        }
    }
}
