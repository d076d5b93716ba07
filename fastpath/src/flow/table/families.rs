use super::FlowTable;
use crate::wire::ip::Ip;
use sluice_tables::{V4, V6};

/// The flows of both families of one worker.
pub struct Flows {
    /// IPv4.
    pub v4: FlowTable<V4>,
    /// IPv6.
    pub v6: FlowTable<V6>,
}

impl Flows {
    /// Bytes of memory once every flow has been used.
    pub fn memory_bytes(&self) -> usize {
        self.v4.memory_bytes() + self.v6.memory_bytes() + self.v4.loads.memory_bytes()
    }
}

/// Which table of [`Flows`] is a family's.
pub trait FlowFamily: Ip {
    /// The family's flows.
    fn flows(flows: &mut Flows) -> &mut FlowTable<Self>;

    /// The family's flows, to be looked at.
    fn table(flows: &Flows) -> &FlowTable<Self>;
}

impl FlowFamily for V4 {
    #[inline]
    fn flows(flows: &mut Flows) -> &mut FlowTable<V4> {
        &mut flows.v4
    }

    #[inline]
    fn table(flows: &Flows) -> &FlowTable<V4> {
        &flows.v4
    }
}

impl FlowFamily for V6 {
    #[inline]
    fn flows(flows: &mut Flows) -> &mut FlowTable<V6> {
        &mut flows.v6
    }

    #[inline]
    fn table(flows: &Flows) -> &FlowTable<V6> {
        &flows.v6
    }
}
