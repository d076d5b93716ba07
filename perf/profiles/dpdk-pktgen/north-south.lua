-- Clients' UDP to a Service with DPDK pktgen: the highest rate at which nothing is lost, by
-- halves (RFC 2544 section 26.1), for some lengths of frames.
-- pktgen -l 0-2 -n 4 -a CLIENTS_NIC -a NODES_NIC -- -P -m "1.0,2.1" -f north-south.lua
--
-- Port 0 stands in front of the uplink, port 1 in front of the cluster, where requests come out
-- in VXLAN: what it receives is compared with what port 0 has sent.
package.path = package.path .. ";?.lua;test/?.lua;app/?.lua;../?.lua"
require "Pktgen"

local clients, nodes = "0", "1"
local sizes = { 64, 128, 256, 512, 1024, 1280, 1518 }
local seconds, tries = 10, 8
local milliseconds = 1000

local function prepare(size)
  pktgen.stop("all")
  pktgen.range.dst_mac(clients, "start", "02:00:00:00:00:02")
  pktgen.range.src_mac(clients, "start", "02:00:00:00:00:04")
  pktgen.range.ip_proto(clients, "udp")
  pktgen.range.src_ip(clients, "start", "100.64.0.1")
  pktgen.range.src_ip(clients, "min", "100.64.0.1")
  pktgen.range.src_ip(clients, "max", "100.64.0.64")
  pktgen.range.src_ip(clients, "inc", "0.0.0.1")
  pktgen.range.dst_ip(clients, "start", "172.20.0.1")
  pktgen.range.dst_ip(clients, "min", "172.20.0.1")
  pktgen.range.dst_ip(clients, "max", "172.20.0.1")
  pktgen.range.dst_ip(clients, "inc", "0.0.0.0")
  pktgen.range.src_port(clients, "start", 1024)
  pktgen.range.src_port(clients, "min", 1024)
  pktgen.range.src_port(clients, "max", 2047)
  pktgen.range.src_port(clients, "inc", 1)
  pktgen.range.dst_port(clients, "start", 53)
  pktgen.range.dst_port(clients, "min", 53)
  pktgen.range.dst_port(clients, "max", 53)
  pktgen.range.dst_port(clients, "inc", 0)
  pktgen.range.pkt_size(clients, "start", size)
  pktgen.range.pkt_size(clients, "min", size)
  pktgen.range.pkt_size(clients, "max", size)
  pktgen.range.pkt_size(clients, "inc", 0)
  pktgen.set_range(clients, "on")
end

-- Sends at a share of the line's rate; frames that were sent, and that came out.
local function trial(percent)
  pktgen.clr()
  pktgen.set(clients, "rate", percent)
  pktgen.start(clients)
  pktgen.delay(seconds * milliseconds)
  pktgen.stop(clients)
  -- What is on its way.
  pktgen.delay(2 * milliseconds)
  local stats = pktgen.portStats("all", "port")
  return stats[0].opackets, stats[1].ipackets
end

for _, size in ipairs(sizes) do
  prepare(size)
  -- Flows begin.
  trial(1)
  local low, high, best = 0, 100, 0
  local percent = 100
  for _ = 1, tries do
    local sent, came = trial(percent)
    printf("%5d bytes %6.2f%% of the line: sent %d, came %d\n", size, percent, sent, came)
    if came >= sent and sent > 0 then
      low, best = percent, sent / seconds
    else
      high = percent
    end
    percent = (low + high) / 2
  end
  printf("%5d bytes: %.3f Mpps without loss\n", size, best / 1e6)
end
pktgen.quit()
