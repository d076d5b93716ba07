//! The TCP engine on a simulated network: two of them talk, or one is spoken to by
//! segments that etherparse builds and reads.

mod bounds;
mod closing;
mod golden;
mod handshake;
mod hostile;
mod icmp;
mod losses;
mod net;
mod recovery;
mod scale;
mod segments;
mod time_wait;
mod timeouts;
mod transfer;
mod windows;
