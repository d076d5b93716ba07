"""Pods' UDP to a Service inside VXLAN, as a node sends it.

start -f vxlan.py -p 1 -m 10mpps -t --size 64 --flows 1024
"""

import argparse

from common import mix, pod_flows, stream, tunneled_request
from scapy.layers.inet import UDP


def without_checksum(size):
    """The inner UDP checksum is 0: ports vary, and no engine mends it that far inside."""
    packet = tunneled_request(size)
    packet[UDP:2].chksum = 0
    return packet


class Tunneled:
    """TRex asks it for streams."""

    def get_streams(self, direction=0, tunables=(), **_kwargs):
        """Streams of the nodes' port; direction counts ports by pairs, so it does not matter."""
        del direction
        parser = argparse.ArgumentParser()
        parser.add_argument("--size", default="64", help="bytes of the inner frame, or imix")
        parser.add_argument("--flows", type=int, default=1024)
        args = parser.parse_args(tunables)
        engine = pod_flows(args.flows)
        if args.size == "imix":
            return mix(without_checksum, engine)
        return [stream(without_checksum(int(args.size)), engine)]


def register():
    """For TRex."""
    return Tunneled()
