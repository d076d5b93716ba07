"""Requests one after the other on some connections, and what they cost."""

import os
import re
import resource
import sys

from lab import sh, within

TICKS = os.sysconf("SC_CLK_TCK")
PROXIES = ["sluice", "haproxy", "nginx"]


def busy_s():
    """Seconds for which cores have not been idle."""
    with open("/proc/stat") as stat:
        user, nice, system, _idle, _iowait, irq, softirq = map(int, stat.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / TICKS


def load(site, host, scheme, connections, seconds):
    """Requests, seconds of all cores, seconds of the client's own, and the p99 in us."""
    command = within("client", "taskset", "-c", ",".join(site.others), "wrk", "-t", "1", "-c", str(connections),
                     "-d", f"{seconds}s", "--latency", "-H", "Host: shop.example", f"{scheme}://{host}/1k")
    before, own = busy_s(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    out = sh(*command).stdout
    busy, own = busy_s() - before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - own
    requests = int(re.search(r"(\d+) requests in", out)[1])
    for trouble in re.findall(r"Non-2xx or 3xx responses: .*|Socket errors: .*", out):
        print(f"  {host} {scheme} {connections}: {trouble}", file=sys.stderr)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", out)
    return requests, busy, own, float(p99[1]) * {"us": 1, "ms": 1_000, "s": 1_000_000}[p99[2]]
