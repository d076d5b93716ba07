# shellcheck shell=bash
# The part `ports`: what frames cost in and out by DPDK's drivers, and nothing else.

# For Sluice's pool, and then for testpmd's beside it.
readonly PORTS_HUGE_PAGES=400

needs_ports() {
  need ports dpdk-testpmd dpdk-dev
  need ports setsid util-linux
  need_built ports dpdk race
}

part_ports() {
  part ports "frames by DPDK's drivers, ns a packet"
  huge_pages "$PORTS_HUGE_PAGES"
  run "$BIN/dpdk" --huge-pages --rounds "$ROUNDS" --cpu "$CPU" --main-cpu "$GENERATOR_CPU" \
    --json "$DIR/ports.json"
  "$BIN/race" keep ports --from "$DIR/ports.json" --json "$JSON"
  huge_pages_back
}
