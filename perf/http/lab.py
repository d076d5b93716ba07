"""Three network namespaces, client - proxy - server, joined by veth pairs, and the proxies
that stand in the middle. The proxy has a core to itself; client and server share the others.
Where it is asked for there is a fourth one between client and proxy, with a wire that
delays and loses frames.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TOOLS = os.path.join(os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target"), "release")
SLUICE = os.path.join(TOOLS, "sluice")
DIRECT = "direct"
CLONE_NEWNET = 0x40000000
RUN = f"race-{os.getpid()}"


def sh(*command, check=True):
    return subprocess.run(command, check=check, capture_output=True, text=True)


def within(namespace, *command):
    return ["ip", "netns", "exec", f"{RUN}-{namespace}", *command]


def move(namespace):
    """Takes this thread, and what it opens from now on, to a namespace."""
    with open(f"/run/netns/{RUN}-{namespace}") as of:
        _move(of)


def _move(namespace):
    if ctypes.CDLL(None).setns(namespace.fileno(), CLONE_NEWNET):
        raise OSError("setns failed")


@contextlib.contextmanager
def enter(namespace):
    """What is opened meanwhile is of a namespace."""
    with open("/proc/self/ns/net") as home:
        move(namespace)
        try:
            yield
        finally:
            _move(home)


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def gateway(site):
    """The process of the gateway below those that have started it."""
    for child in site.started:
        with open(f"/proc/{child.pid}/cmdline") as line:
            if line.read().split("\0")[0] == site.sluice:
                return child.pid
    sys.exit("the gateway is not there")


class Site:
    """The namespaces, and the folder of what is written; gone when it is left."""

    def __init__(self, core, sluice, tools=TOOLS, wired=False):
        self.core = core
        self.sluice = sluice
        self.tools = tools
        self.wired = wired
        self.congestion = None
        # Of all threads of the gateway; its worker has the proxy's.
        self.gateway_cores = str(core)
        self.spin_us = os.environ.get("RACE_SPIN_US", "0")
        self.namespaces = ["client", "proxy", "server", *(["wire"] if wired else [])]
        self.others = [str(cpu) for cpu in os.sched_getaffinity(0) if cpu != core]
        self.folder = tempfile.mkdtemp(prefix="sluice-race-")
        self.started = []

    def __enter__(self):
        # What was made goes, whoever ends this.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        for name in self.namespaces:
            sh("ip", "netns", "add", f"{RUN}-{name}")
            sh(*within(name, "ip", "link", "set", "lo", "up"))
        pairs = [("server", "b0", "proxy", "k0")]
        if self.wired:
            pairs += [("client", "c0", "wire", "w0"), ("wire", "w1", "proxy", "u0")]
        else:
            pairs += [("client", "c0", "proxy", "u0")]
        for near, there, far, here in pairs:
            sh("ip", "link", "add", there, "netns", f"{RUN}-{near}", "type", "veth", "peer", "name", here,
               "netns", f"{RUN}-{far}")
            for namespace, device in ((near, there), (far, here)):
                sh(*within(namespace, "ip", "link", "set", device, "up"))
        sh(*within("client", "ip", "addr", "add", "10.7.0.2/24", "dev", "c0"))
        sh(*within("client", "ip", "addr", "add", "fd07::2/64", "dev", "c0", "nodad"))
        sh(*within("server", "ip", "addr", "add", "10.8.0.2/24", "dev", "b0"))
        sh(*within("server", "ip", "route", "add", "10.9.0.0/24", "via", "10.8.0.1"))
        sh("ip", "link", "add", "c1", "netns", f"{RUN}-client", "type", "veth", "peer", "name", "b1",
           "netns", f"{RUN}-server")
        for namespace, device, address in (("client", "c1", "10.6.0.2/24"), ("server", "b1", "10.6.0.3/24")):
            sh(*within(namespace, "ip", "addr", "add", address, "dev", device))
            sh(*within(namespace, "ip", "link", "set", device, "up"))
        for name in ("client", "server"):
            sh(*within(name, "sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65535",
                       "net.ipv4.tcp_tw_reuse=1", "net.core.somaxconn=8192"))
        self.certificate()
        self.server()
        return self

    def certificate(self):
        folder = self.folder
        sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
           "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem", "-days", "30", "-subj",
           "/CN=shop.example", "-addext", "subjectAltName=DNS:shop.example")
        with open(f"{folder}/both.pem", "w") as both:
            for name in ("cert.pem", "key.pem"):
                both.write(open(f"{folder}/{name}").read())

    @contextlib.contextmanager
    def wire(self, *options):
        """The wire, with options of its own; what it has done comes after it."""
        told = {}
        log = open(f"{self.folder}/wire.log", "a")
        command = within("wire", f"{self.tools}/wire", "--near", "w0", "--far", "w1", "--cpu", self.others[0], *options)
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        self.started.append(child)
        try:
            yield told
        finally:
            self.started.remove(child)
            # It ends with its input.
            out, _ = child.communicate()
        if child.returncode:
            sys.exit(f"the wire has failed: {open(log.name).read()}")
        told["near"], told["far"] = json.loads(out)

    def offloads(self, is_raw):
        """Whether frames are whole where they come: who reads them from rings needs that."""
        for namespace, device in (("client", "c0"), ("proxy", "u0"), ("server", "b0"), ("proxy", "k0")):
            whole = is_raw or self.wired and device in ("c0", "u0")
            sh(*within(namespace, "ethtool", "-K", device, "tx", "off" if whole else "on"), check=False)
            if namespace == "proxy" or not is_raw:
                sh(*within(namespace, "ethtool", "-K", device, "gro", "off" if is_raw else "on"), check=False)

    def control_congestion(self, namespace, address, device):
        """The congestion control that is asked for, towards a device's own network: a namespace
        may not have each as its default."""
        if self.congestion:
            sh(*within(namespace, "ip", "route", "replace", "10.7.0.0/24", "dev", device, "proto", "kernel", "scope",
                       "link", "src", address, "congctl", self.congestion))

    def write(self, name, text=None):
        text = text or open(os.path.join(HERE, name)).read()
        text = text.replace("@FOLDER@", self.folder).replace("@CORE@", str(self.core))
        text = text.replace("@SPIN@", self.spin_us)
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def start(self, namespace, cores, *command):
        log = open(os.path.join(self.folder, f"{os.path.basename(command[0])}.log"), "a")
        child = subprocess.Popen(within(namespace, "taskset", "-c", cores, *command), stdout=log, stderr=log)
        self.started.append(child)
        return child

    def stop(self, child):
        child.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(10)
        if child.poll() is None:
            child.kill()
            child.wait()
        self.started.remove(child)

    def server(self):
        os.makedirs(f"{self.folder}/www")
        os.chmod(self.folder, 0o755)
        with open(f"{self.folder}/www/1k", "w") as file:
            file.write("x" * 1024)
        self.start("server", ",".join(self.others), "nginx", "-c", self.write("backend.conf"))

    @contextlib.contextmanager
    def proxy(self, name):
        """A proxy that serves; the address to ask comes back."""
        if name == DIRECT:
            self.await_answer("10.6.0.3:8080")
            yield "10.6.0.3:8080"
            return
        if name == "sluice":
            os.makedirs(f"{self.folder}/manifests", exist_ok=True)
            text = open(os.path.join(HERE, "manifests.yaml")).read()
            secret = "\n".join(["---", "apiVersion: v1", "kind: Secret", "type: kubernetes.io/tls",
                                "metadata: {name: tls, namespace: shop}", "stringData:",
                                "  tls.crt: " + json.dumps(open(f"{self.folder}/cert.pem").read()),
                                "  tls.key: " + json.dumps(open(f"{self.folder}/key.pem").read())])
            self.write("manifests/all.yaml", text + secret + "\n")
            for device in ("u0", "k0"):
                sh(*within("proxy", "ip", "addr", "flush", "dev", device))
            self.offloads(True)
            child = self.start("proxy", self.gateway_cores, self.sluice, "run", "--config", self.write("sluice.yaml"))
            host = "10.7.0.80"
        else:
            self.offloads(False)
            for address, device in (("10.7.0.1/24", "u0"), ("fd07::1/64", "u0"), ("10.8.0.1/24", "k0")):
                flags = ["nodad"] if ":" in address else []
                sh(*within("proxy", "ip", "addr", "replace", address, "dev", device, *flags))
            self.control_congestion("proxy", "10.7.0.1", "u0")
            config = self.write("haproxy.cfg" if name == "haproxy" else "nginx.conf")
            flag = "-f" if name == "haproxy" else "-c"
            child = self.start("proxy", f"{self.core}", name, flag, config)
            host = "10.7.0.1"
        try:
            self.await_answer(host)
            yield host
        finally:
            self.stop(child)
            for device in ("u0", "k0"):
                sh(*within("proxy", "ip", "addr", "flush", "dev", device), check=False)

    def await_answer(self, host):
        for _ in range(100):
            got = sh(*within("client", "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "2",
                             "-H", "Host: shop.example", f"http://{host}/1k"), check=False)
            if got.stdout == "200":
                return
            time.sleep(0.1)
        sys.exit(f"{host} does not answer: see {self.folder}")

    def __exit__(self, *_):
        for child in list(self.started):
            self.stop(child)
        for name in self.namespaces:
            sh("ip", "netns", "del", f"{RUN}-{name}", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
