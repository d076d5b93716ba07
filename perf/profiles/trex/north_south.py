"""Clients' UDP to a Service.

start -f north_south.py -p 0 -m 10mpps -t --size 64 --flows 65536
start -f north_south.py -p 0 -m 5gbps -t --size imix
"""

import argparse

from common import client_flows, mix, request, stream


class NorthSouth:
    """TRex asks it for streams."""

    def get_streams(self, direction=0, tunables=(), **_kwargs):
        """Streams of the clients' port; the nodes' has none."""
        parser = argparse.ArgumentParser()
        parser.add_argument("--size", default="64", help="bytes with check sequence, or imix")
        parser.add_argument("--flows", type=int, default=65536)
        parser.add_argument("--latency", action="store_true", help="1,000 frames a second more")
        args = parser.parse_args(tunables)
        if direction:
            return []
        engine = client_flows(args.flows)
        if args.size == "imix":
            streams = mix(request, engine)
        else:
            streams = [stream(request(int(args.size)), engine)]
        if args.latency:
            # NAT changes headers and keeps the payload's end, where TRex has its numbers.
            streams.append(stream(request(128), None, latency_id=7))
        return streams


def register():
    """For TRex."""
    return NorthSouth()
