"""TCP connections of clients to a Service: HTTP requests and answers, many a second.

TRex plays the clients (port 0). Servers have to be the pods, real ones: what a gateway with NAT
and VXLAN sends to the other port is addressed to them, and TRex's own servers take no VXLAN.
start -f astf_http.py -m 1000 -d 60 --size 1024   (with --astf, and the client side alone)
"""

import argparse

from trex.astf.api import (
    ASTFAssociationRule,
    ASTFIPGen,
    ASTFIPGenDist,
    ASTFIPGenGlobal,
    ASTFProfile,
    ASTFProgram,
    ASTFTCPClientTemplate,
    ASTFTCPServerTemplate,
    ASTFTemplate,
)

REQUEST = b"GET /1k HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"


class Http:
    """TRex asks it for a profile."""

    def get_profile(self, tunables=(), **_kwargs):
        """Clients of 100.64.0.0/16, the Service at 172.20.0.1:80."""
        parser = argparse.ArgumentParser()
        parser.add_argument("--size", type=int, default=1024, help="bytes of an answer's body")
        parser.add_argument("--rate", type=int, default=1, help="connections a second times -m")
        args = parser.parse_args(tunables)
        answer = HEAD % args.size + b"x" * args.size
        client = ASTFProgram()
        client.send(REQUEST)
        client.recv(len(answer))
        server = ASTFProgram()
        server.recv(len(REQUEST))
        server.send(answer)
        addresses = ASTFIPGen(
            glob=ASTFIPGenGlobal(ip_offset="1.0.0.0"),
            dist_client=ASTFIPGenDist(["100.64.0.1", "100.64.255.254"], distribution="seq"),
            dist_server=ASTFIPGenDist(["172.20.0.1", "172.20.0.1"], distribution="seq"),
        )
        template = ASTFTemplate(
            client_template=ASTFTCPClientTemplate(
                program=client, ip_gen=addresses, port=80, cps=args.rate
            ),
            server_template=ASTFTCPServerTemplate(
                program=server, assoc=ASTFAssociationRule(port=80)
            ),
        )
        return ASTFProfile(default_ip_gen=addresses, templates=template)


def register():
    """For TRex."""
    return Http()
