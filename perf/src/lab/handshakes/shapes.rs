use crate::flood::shape::{Segment, Shape};
use crate::flood::shapes::{ACK, Mold, RST, SYN, WINDOW, Way};
use crate::site::Family;
use anyhow::{Context, Result, bail};

const FIN: u8 = 0x01;

/// What a segment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Syn,
    SynAck,
    Ack,
    Fin,
    Rst,
}

/// Segments that go one way, without options: there is nothing for a gateway to change.
pub struct Shapes {
    /// SYN of clients, SYN-ACK of pods.
    open: Shape,
    pub ack: Shape,
    fin: Shape,
    rst: Shape,
    is_pods: bool,
}

impl Shapes {
    /// Makes them.
    pub fn new(family: Family, way: Way) -> Self {
        let is_pods = matches!(way, Way::FromPod(_) | Way::ToClient);
        let mut mold = Mold::new(family, way);
        let ttl = mold.ttl();
        let mut shape = |flags, window| mold.shape(flags, None, &[], window, ttl);
        Shapes {
            open: shape(if is_pods { SYN | ACK } else { SYN }, WINDOW),
            ack: shape(ACK, WINDOW),
            fin: shape(FIN | ACK, WINDOW),
            rst: shape(RST, 0),
            is_pods,
        }
    }

    /// That of a step.
    pub fn of(&self, step: Step) -> &Shape {
        match step {
            Step::Syn | Step::SynAck => &self.open,
            Step::Ack => &self.ack,
            Step::Fin => &self.fin,
            Step::Rst => &self.rst,
        }
    }

    /// Takes a frame apart.
    ///
    /// # Errors
    /// When it is none of these, and what is wrong with it.
    pub fn read(&self, data: &[u8]) -> Result<(Step, Segment)> {
        let open = if self.is_pods { Step::SynAck } else { Step::Syn };
        let steps = [open, Step::Ack, Step::Fin, Step::Rst].into_iter();
        let mut of = steps.map(|step| (step, self.of(step)));
        let found = of.find(|(_, shape)| shape.resembles(data));
        let (step, shape) = found.context("no segment of the lab")?;
        match shape.read(data) {
            Ok(segment) => Ok((step, segment)),
            Err(wrong) => bail!("{wrong}"),
        }
    }
}
