use crate::gateway::Gateway;
use crate::lab::{Lab, eventually};

/// A dual-stack load balancer's manifest, whose addresses end in `last`; `spec`
/// is the rest of its spec, indented by two.
pub fn balancer(name: &str, last: u8, spec: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default}}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  ipFamilies: [IPv4, IPv6]
  clusterIP: 10.96.0.{last}
  clusterIPs: [10.96.0.{last}, 'fd00:10:96::{last}']
{spec}
status:
  loadBalancer:
    ingress: [{{ip: 203.0.113.{last}}}, {{ip: '2001:db8:f00::{last}'}}]
"
    )
}

/// Writes a Service's manifest and waits until its tables are live: each port
/// has an endpoint in each family.
pub fn serve(lab: &Lab, gateway: &Gateway<'_>, name: &str, manifest: &str) {
    lab.write_manifest(&format!("service-{name}.yaml"), manifest);
    let service = format!("default/{name}");
    eventually(name, || {
        let backends = gateway.show(&["backends"]);
        let own = backends.as_array()?.iter().filter(|backend| backend["service"] == service);
        (own.count() >= 2).then_some(())
    });
}
