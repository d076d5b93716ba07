"""Addresses of the lab, and streams that profiles have in common."""

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
from trex_stl_lib.api import (
    STLFlowLatencyStats,
    STLPktBuilder,
    STLScVmRaw,
    STLStream,
    STLTXCont,
    STLVmFixChecksumHw,
    STLVmFixIpv4,
    STLVmFlowVar,
    STLVmWrFlowVar,
    CTRexVmInsFixHwCs,
)

UPLINK_MAC, ROUTER_MAC = "02:00:00:00:00:02", "02:00:00:00:00:04"
CLUSTER_MAC, NODE_MAC = "02:00:00:00:00:01", "02:10:00:00:00:00"
OVERLAY_MAC, VTEP_MAC = "02:00:00:00:00:03", "02:20:00:00:00:00"
CLIENT_MIN, VIP = "100.64.0.1", "172.20.0.1"
NODE, GATEWAY, POD = "172.16.1.0", "172.16.0.1", "10.0.0.2"
SERVICE_PORT, VXLAN_PORT, VNI = 53, 4789, 42
# TRex adds the check sequence.
CHECK_SEQUENCE = 4
# Clients' addresses, and source ports of each, or of a pod.
CLIENTS, PORT_MIN = 65536, 1024
PORTS = 65536 - PORT_MIN
# Bytes with check sequence, and how often of 12.
IMIX = [(64, 7), (594, 4), (1518, 1)]


def padded(packet, size):
    """A packet with payload up to a frame's size, check sequence included."""
    return packet / (b"Z" * max(0, size - CHECK_SEQUENCE - len(packet)))


def request(size):
    """A client's request, as it comes to the uplink."""
    head = Ether(src=ROUTER_MAC, dst=UPLINK_MAC) / IP(src=CLIENT_MIN, dst=VIP, flags="DF")
    return padded(head / UDP(sport=1024, dport=SERVICE_PORT), size)


def tunneled_request(size):
    """A pod's request to a Service, as its node sends it; the size is that of the inner frame."""
    inner = Ether(src=VTEP_MAC, dst=OVERLAY_MAC) / IP(src=POD, dst=VIP, flags="DF")
    inner = padded(inner / UDP(sport=1024, dport=SERVICE_PORT), size)
    outer = Ether(src=NODE_MAC, dst=CLUSTER_MAC) / IP(src=NODE, dst=GATEWAY)
    outer = outer / UDP(sport=49152, dport=VXLAN_PORT, chksum=0)
    return outer / VXLAN(vni=VNI, flags="Instance") / inner


def check_flows(flows, most):
    """Refuses more flows than there are addresses and ports for: a field would overflow."""
    if not 0 < flows <= most:
        raise ValueError(f"--flows {flows}: expected 1 to {most}, as many as addresses have ports")


def client_flows(flows):
    """Up to 65,536 clients, and ports of theirs, as many as make so many flows."""
    check_flows(flows, CLIENTS * PORTS)
    clients = min(flows, CLIENTS)
    ports = max(1, flows // clients)
    last = 0x64400000 + clients
    return STLScVmRaw(
        [
            STLVmFlowVar("client", min_value=0x64400001, max_value=last, size=4, op="inc"),
            STLVmFlowVar(
                "port", min_value=PORT_MIN, max_value=PORT_MIN + ports - 1, size=2, op="random"
            ),
            STLVmWrFlowVar(fv_name="client", pkt_offset="IP.src"),
            STLVmWrFlowVar(fv_name="port", pkt_offset="UDP.sport"),
            STLVmFixChecksumHw(
                l3_offset="IP", l4_offset="UDP", l4_type=CTRexVmInsFixHwCs.L4_TYPE_UDP
            ),
        ]
    )


def pod_flows(flows):
    """Ports of a pod, and the tunnel's own, by which receive queues are chosen."""
    check_flows(flows, PORTS)
    outer_ip, outer_udp = 14, 34
    inner_ip = outer_udp + 8 + 8 + 14
    inner_udp = inner_ip + 20
    return STLScVmRaw(
        [
            STLVmFlowVar(
                "port", min_value=PORT_MIN, max_value=PORT_MIN + flows - 1, size=2, op="inc"
            ),
            STLVmFlowVar("entropy", min_value=49152, max_value=65535, size=2, op="inc"),
            STLVmWrFlowVar(fv_name="port", pkt_offset=inner_udp),
            STLVmWrFlowVar(fv_name="entropy", pkt_offset=outer_udp),
            # The inner UDP checksum is left out (0) by the profiles: no engine mends it.
            STLVmFixIpv4(offset=outer_ip),
        ]
    )


def stream(packet, engine, share=100.0, latency_id=None):
    """A stream of a share of the port's rate, or one that measures times."""
    stats = STLFlowLatencyStats(pg_id=latency_id) if latency_id is not None else None
    mode = STLTXCont(pps=1000) if stats else STLTXCont(percentage=share)
    return STLStream(
        packet=STLPktBuilder(pkt=packet, vm=None if stats else engine),
        mode=mode,
        flow_stats=stats,
    )


def mix(build, engine):
    """IMIX: streams whose rates are as 7 to 4 to 1."""
    return [
        STLStream(packet=STLPktBuilder(pkt=build(size), vm=engine), mode=STLTXCont(pps=times))
        for size, times in IMIX
    ]
