//! `announce`: which of several gateways announces which VIP.

use std::time::Duration;

use crate::read::{Fields, Reader, Reported, boolean, integer, label};
use crate::schema::{self, Key, Section};

/// Who announces VIPs by ARP and ND.
#[derive(Clone, Debug, PartialEq)]
pub struct Announce {
    /// The election among the gateways of a cluster; `None`: this gateway announces all VIPs.
    pub leases: Option<Leases>,
}

/// The election by Leases (`coordination.k8s.io/v1`).
#[derive(Clone, Debug, PartialEq)]
pub struct Leases {
    /// Namespace of the Leases; `None`: that of Sluice's pod, or `sluice-system` outside of one.
    pub namespace: Option<String>,
    /// How long a gateway counts as alive without a renewal: whole seconds.
    pub duration: Duration,
    /// Time between two renewals, at most a third of that.
    pub renew: Duration,
    /// Groups that VIPs are dealt out in; the same number on all gateways.
    pub groups: u16,
}

/// Least number of renewals in a duration.
const RENEWALS_MIN: u32 = 3;

pub(crate) static SECTION: Section = Section {
    path: "announce",
    keys: &[Key {
        name: "leases",
        kind: "section",
        default: schema::Default::Words("its defaults"),
        meaning: "how the gateways of a cluster agree on who announces which VIP",
    }],
};

pub(crate) static LEASES: Section = Section {
    path: "announce.leases",
    keys: &[
        Key {
            name: "enabled",
            kind: "boolean",
            default: schema::Default::Words("`true` with `source.kubernetes`, else `false`"),
            meaning: "agree by Leases; without it this gateway announces all VIPs",
        },
        Key {
            name: "namespace",
            kind: "DNS label",
            default: schema::Default::Words(
                "that of Sluice's pod; outside of one, `sluice-system`",
            ),
            meaning: "where the Leases are; the same on all gateways",
        },
        Key {
            name: "duration_ms",
            kind: "integer, 1000 to 60000, whole seconds",
            default: schema::Default::Value("2000"),
            meaning: "how long after its last renewal others take over a gateway's VIPs",
        },
        Key {
            name: "renew_ms",
            kind: "integer, 100 to 20000, at most a third of `duration_ms`",
            default: schema::Default::Value("500"),
            meaning: "time between two renewals: one small write each, whatever the number of VIPs",
        },
        Key {
            name: "groups",
            kind: "integer, 1 to 64",
            default: schema::Default::Value("16"),
            meaning: "groups that VIPs are dealt out in; the same number on all gateways",
        },
    ],
};

impl Announce {
    /// Reads `announce`. Whether Leases are used by default depends on the source.
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        root: &Fields<'_>,
        has_api: bool,
    ) -> Result<Self, Reported> {
        let fields = root.section(reader, "announce", &SECTION)?;
        let leases = fields.section(reader, "leases", &LEASES)?;
        let enabled = leases.optional(reader, "enabled", boolean);
        let namespace = leases.optional(reader, "namespace", label);
        let duration = leases.defaulted(reader, "duration_ms", integer(1000..=60_000_u32));
        let renew = leases.defaulted(reader, "renew_ms", integer(100..=20_000_u32));
        let groups = leases.defaulted(reader, "groups", integer(1..=64_u16));
        let (enabled, namespace) = (enabled?, namespace?);
        let (duration, renew, groups) = (duration?, renew?, groups?);
        if duration.value % 1000 != 0 {
            let message = format!("found {}", duration.value);
            return Err(reader.error(
                &duration.spot,
                &message,
                "whole seconds: a multiple of 1000",
            ));
        }
        if renew.value > duration.value / RENEWALS_MIN {
            let message = format!("found {}", renew.value);
            let expected = format!("at most {}, a third of `duration_ms`", duration.value / 3);
            return Err(reader.error(&renew.spot, message, expected.as_str()));
        }
        if let Some(enabled) = enabled.as_ref().filter(|enabled| enabled.value && !has_api) {
            let message = "without an API server there are no Leases";
            return Err(reader.error(&enabled.spot, message, "`source.kubernetes`"));
        }
        let is_enabled = enabled.map_or(has_api, |enabled| enabled.value);
        let leases = Leases {
            namespace: namespace.map(|namespace| namespace.value),
            duration: Duration::from_millis(duration.value.into()),
            renew: Duration::from_millis(renew.value.into()),
            groups: groups.value,
        };
        Ok(Announce { leases: is_enabled.then_some(leases) })
    }
}
