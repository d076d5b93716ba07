"""The servers of one lab pod: HTTP (TCP) and an echo (UDP), on IPv4 and IPv6.

GET /        one line: pod=NAME node=NODE client=ADDRESS port=PORT
GET /big/N   N bytes, at most 1 GiB
POST /       reads the body and answers `received=BYTES`
UDP          answers `NAME ` and the payload as it came

Every HTTP answer carries the pod's name in the header X-Pod. Connections are
kept alive unless the client asks otherwise.
"""

import argparse
import signal
import socket
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler

BIG_BYTES_MAX = 1 << 30
CHUNK = bytes(range(256)) * 256
IDLE_SECONDS = 60


def plain_address(address):
    """An IPv4 client of a dual-stack socket shows as ::ffff:A.B.C.D."""
    return address.removeprefix("::ffff:")


def dual_stack(kind, port):
    """A socket of `kind` bound to `port` on every address of both families."""
    sock = socket.socket(socket.AF_INET6, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", port))
    return sock


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path.startswith("/big/"):
            self.big(path.removeprefix("/big/"))
        elif path == "/":
            address, port = self.client_address[:2]
            self.answer(
                200,
                f"pod={self.server.pod} node={self.server.node} "
                f"client={plain_address(address)} port={port}\n",
            )
        else:
            self.answer(404, "expected / or /big/N\n")

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self.close_connection = True
            self.answer(411, "expected a Content-Length\n")
            return
        missing = int(length)
        while missing:
            data = self.rfile.read(min(missing, len(CHUNK)))
            if not data:
                self.close_connection = True
                return
            missing -= len(data)
        self.answer(200, f"received={length}\n")

    def big(self, count):
        if not (count.isascii() and count.isdigit()) or int(count) > BIG_BYTES_MAX:
            self.answer(400, f"expected a number up to {BIG_BYTES_MAX}\n")
            return
        left = int(count)
        self.head(200, left, "application/octet-stream")
        while left:
            part = min(left, len(CHUNK))
            self.wfile.write(CHUNK[:part])
            left -= part

    def head(self, status, length, kind):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.send_header("X-Pod", self.server.pod)
        self.end_headers()

    def answer(self, status, text):
        body = text.encode()
        self.head(status, len(body), "text/plain")
        self.wfile.write(body)

    def log_message(self, format, *args):
        """One line a request would fill the runtime folder under load."""


class WebServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, port, pod, node):
        super().__init__(("::", port), Handler, bind_and_activate=False)
        self.pod = pod
        self.node = node
        self.socket.close()
        self.socket = dual_stack(socket.SOCK_STREAM, port)
        self.server_activate()

    def handle_error(self, request, client_address):
        error = sys.exc_info()[1]
        print(f"{plain_address(client_address[0])}: {error!r}", flush=True)


def echo(sock, pod):
    """Answers datagrams one by one; a send that fails concerns one client only."""
    name = pod.encode() + b" "
    while True:
        payload, client = sock.recvfrom(65535)
        try:
            sock.sendto(name + payload, client)
        except OSError as error:
            print(f"{plain_address(client[0])}: {error!r}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pod", required=True, help="the name given in answers")
    parser.add_argument("--node", required=True, help="the node given in answers")
    parser.add_argument("--http-port", type=int, default=8080)
    parser.add_argument("--udp-port", type=int, default=9053)
    args = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    udp = dual_stack(socket.SOCK_DGRAM, args.udp_port)
    web = WebServer(args.http_port, args.pod, args.node)
    threading.Thread(target=echo, args=(udp, args.pod), daemon=True).start()
    print(f"{args.pod}: HTTP on {args.http_port}, UDP on {args.udp_port}", flush=True)
    web.serve_forever()


if __name__ == "__main__":
    main()
