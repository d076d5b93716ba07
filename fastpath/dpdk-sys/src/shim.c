#include "shim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_log.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_version.h>

/* Buffers that a thread's cache of the pool holds, at most. */
#define CACHE 256
/* refcnt and nb_segs of an mbuf, as they lie there. */
#define ONE_SEGMENT_ONE_REFERENCE 0x00010001
/* What flows are spread over queues by. */
#define RSS (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_SCTP)

_Static_assert(SLUICE_DPDK_HEADROOM == RTE_PKTMBUF_HEADROOM, "another headroom");
_Static_assert(RTE_BYTE_ORDER == RTE_LITTLE_ENDIAN, "fields are loaded together");

_Static_assert(offsetof(struct rte_mbuf, refcnt) == offsetof(struct rte_mbuf, rearm_data) + 2 &&
		       offsetof(struct rte_mbuf, nb_segs) ==
			       offsetof(struct rte_mbuf, rearm_data) + 4,
	       "an mbuf of another layout");
_Static_assert(offsetof(struct rte_mbuf, data_len) == offsetof(struct rte_mbuf, pkt_len) + 4 &&
		       offsetof(struct rte_mbuf, vlan_tci) == offsetof(struct rte_mbuf, pkt_len) + 6,
	       "an mbuf of another layout");

static sluice_dpdk_log log_to;

static ssize_t write_log(void *cookie, const char *text, size_t len)
{
	(void)cookie;
	const char *end = text + len;
	for (const char *line = text; line < end;) {
		const char *stop = memchr(line, '\n', (size_t)(end - line));
		if (stop == NULL)
			stop = end;
		if (stop > line)
			log_to((uint32_t)rte_log_cur_msg_loglevel(), line, (size_t)(stop - line));
		line = stop + 1;
	}
	return (ssize_t)len;
}

int sluice_dpdk_init(int argc, char **argv, sluice_dpdk_log log)
{
	cookie_io_functions_t functions = { .write = write_log };
	FILE *stream = fopencookie(NULL, "w", functions);
	if (stream == NULL)
		return -ENOMEM;
	setvbuf(stream, NULL, _IOLBF, BUFSIZ);
	log_to = log;
	rte_openlog_stream(stream);
	return rte_eal_init(argc, argv) < 0 ? -rte_errno : 0;
}

const char *sluice_dpdk_version(void) { return rte_version(); }

int sluice_dpdk_register_thread(void)
{
	if (rte_lcore_id() != LCORE_ID_ANY)
		return 0;
	return rte_thread_register() < 0 ? -rte_errno : 0;
}

int sluice_dpdk_find(const char *name, uint16_t *port)
{
	return rte_eth_dev_get_port_by_name(name, port);
}

int sluice_dpdk_inspect(uint16_t port, struct sluice_dpdk_device *device)
{
	struct rte_eth_dev_info info;
	struct rte_ether_addr mac;
	int error;

	memset(device, 0, sizeof(*device));
	error = rte_eth_dev_info_get(port, &info);
	if (error == 0)
		error = rte_eth_macaddr_get(port, &mac);
	if (error == 0)
		error = rte_eth_dev_get_mtu(port, &device->mtu);
	if (error != 0)
		return error;
	snprintf(device->driver, sizeof(device->driver), "%s", info.driver_name);
	memcpy(device->mac, mac.addr_bytes, sizeof(device->mac));
	device->mtu_min = info.min_mtu;
	device->mtu_max = info.max_mtu;
	device->rx_queues_max = info.max_rx_queues;
	device->tx_queues_max = info.max_tx_queues;
	device->socket = rte_eth_dev_socket_id(port);
	device->has_rss = (info.flow_type_rss_offloads & RSS) != 0;
	return 0;
}

void *sluice_dpdk_pool(const char *name, uint32_t frames, uint16_t room, int socket, int *error)
{
	/* A cache and half of another must fit the pool. */
	uint32_t cache = RTE_MIN(CACHE, frames / 2);
	struct rte_mempool *pool = rte_pktmbuf_pool_create(
		name, frames, cache, 0, (uint16_t)(RTE_PKTMBUF_HEADROOM + room), socket);
	*error = pool == NULL ? -rte_errno : 0;
	return pool;
}

/* A buffer lies behind its mbuf: pools have no private area. */
static inline struct rte_mbuf *mbuf_of(void *buffer)
{
	return (struct rte_mbuf *)buffer - 1;
}

uint32_t sluice_dpdk_take(void *pool, void **buffers, uint32_t count)
{
	if (rte_mempool_get_bulk(pool, buffers, count) != 0)
		return 0;
	for (uint32_t i = 0; i < count; i++)
		buffers[i] = (struct rte_mbuf *)buffers[i] + 1;
	return count;
}

void sluice_dpdk_give(void *pool, void **buffers, uint32_t count)
{
	/* As received or taken: one reference, one segment. */
	for (uint32_t i = 0; i < count; i++)
		buffers[i] = mbuf_of(buffers[i]);
	rte_mempool_put_bulk(pool, buffers, count);
}

uint32_t sluice_dpdk_free(void *pool) { return rte_mempool_avail_count(pool); }

static int fail(struct sluice_dpdk_setup *setup, const char *step, int error)
{
	setup->step = step;
	return error;
}

int sluice_dpdk_start(uint16_t port, struct sluice_dpdk_setup *setup)
{
	struct rte_eth_dev_info info;
	struct rte_eth_conf conf;
	struct rte_eth_rxconf rx_conf;
	struct rte_eth_txconf tx_conf;
	int error = rte_eth_dev_info_get(port, &info);
	if (error != 0)
		return fail(setup, "tell the abilities", error);

	memset(&conf, 0, sizeof(conf));
	conf.rx_adv_conf.rss_conf.rss_hf =
		RSS & info.flow_type_rss_offloads;
	if (setup->queues > 1 && conf.rx_adv_conf.rss_conf.rss_hf != 0)
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	conf.rxmode.mtu = setup->mtu;
	/* Every frame is of one pool and one segment, and has one reference. */
	conf.txmode.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
	error = rte_eth_dev_configure(port, setup->queues, setup->queues, &conf);
	if (error != 0)
		return fail(setup, "configure the queues", error);
	if (setup->sets_mtu) {
		error = rte_eth_dev_set_mtu(port, setup->mtu);
		if (error != 0)
			return fail(setup, "set the MTU", error);
	}
	setup->rx_len = setup->tx_len = setup->ring_len;
	error = rte_eth_dev_adjust_nb_rx_tx_desc(port, &setup->rx_len, &setup->tx_len);
	if (error != 0)
		return fail(setup, "size the rings", error);
	rx_conf = info.default_rxconf;
	/* A worker that stands still costs the others nothing, where a NIC would wait for it. */
	rx_conf.rx_drop_en = setup->queues > 1;
	tx_conf = info.default_txconf;
	tx_conf.offloads = conf.txmode.offloads;
	for (uint16_t queue = 0; queue < setup->queues; queue++) {
		error = rte_eth_rx_queue_setup(port, queue, setup->rx_len,
					       (unsigned int)rte_eth_dev_socket_id(port),
					       &rx_conf, setup->pool);
		if (error != 0)
			return fail(setup, "set up a receive queue", error);
		error = rte_eth_tx_queue_setup(port, queue, setup->tx_len,
					       (unsigned int)rte_eth_dev_socket_id(port), &tx_conf);
		if (error != 0)
			return fail(setup, "set up a transmit queue", error);
	}
	error = rte_eth_dev_start(port);
	if (error != 0)
		return fail(setup, "start the queues", error);
	/* Neighbor discovery comes to groups of VIPs, which change. */
	if (rte_eth_allmulticast_enable(port) != 0)
		(void)rte_eth_promiscuous_enable(port);
	return 0;
}

void sluice_dpdk_stop(uint16_t port)
{
	(void)rte_eth_dev_stop(port);
	(void)rte_eth_dev_close(port);
}

/* Makes a received frame one that lies in the chunk of a buffer of the pool, with the one
 * reference that it is sent and given back with; false: it cannot be. Drivers that fill
 * buffers of their own (mlx5 with mprq_en) have nothing of an mbuf in front of them. */
static __attribute__((noinline)) int take_in(struct rte_mbuf *mbuf)
{
	if (mbuf->nb_segs != 1 || mbuf->buf_addr != (void *)(mbuf + 1) ||
	    rte_mbuf_refcnt_read(mbuf) != 1)
		return 0;
	if (mbuf->data_off + mbuf->data_len <= SLUICE_DPDK_CHUNK)
		return 1;
	if (mbuf->data_len > SLUICE_DPDK_CHUNK - SLUICE_DPDK_HEADROOM)
		return 0;
	/* Behind more headroom than usual (net_af_xdp has the kernel's, too). */
	memmove((char *)mbuf->buf_addr + SLUICE_DPDK_HEADROOM, rte_pktmbuf_mtod(mbuf, void *),
		mbuf->data_len);
	mbuf->data_off = SLUICE_DPDK_HEADROOM;
	return 1;
}

uint16_t sluice_dpdk_rx(uint16_t port, uint16_t queue, struct sluice_dpdk_packet *packets,
			uint16_t count, uint64_t *dropped)
{
	struct rte_mbuf *mbufs[SLUICE_DPDK_BURST];
	uint16_t received =
		rte_eth_rx_burst(port, queue, mbufs, (uint16_t)RTE_MIN(count, SLUICE_DPDK_BURST));
	uint16_t kept = 0;

	for (uint16_t i = 0; i < received; i++) {
		struct rte_mbuf *mbuf = mbufs[i];
		uint64_t rearm;

		/* One load of data_off, refcnt, nb_segs, port. */
		memcpy(&rearm, &mbuf->rearm_data, sizeof(rearm));
		if (unlikely((uint32_t)(rearm >> 16) != ONE_SEGMENT_ONE_REFERENCE ||
			     mbuf->buf_addr != (void *)(mbuf + 1) ||
			     (uint16_t)rearm + mbuf->data_len > SLUICE_DPDK_CHUNK) &&
		    !take_in(mbuf)) {
			rte_pktmbuf_free(mbuf);
			++*dropped;
			continue;
		}
		packets[kept].buffer = mbuf + 1;
		packets[kept].number = (uint32_t)((uintptr_t)(mbuf + 1) / SLUICE_DPDK_LINE);
		packets[kept].head = mbuf->data_off;
		packets[kept].len = mbuf->data_len;
		kept++;
	}
	return kept;
}

uint16_t sluice_dpdk_tx(uint16_t port, uint16_t queue, const struct sluice_dpdk_packet *packets,
			uint16_t count)
{
	struct rte_mbuf *mbufs[SLUICE_DPDK_BURST];

	count = (uint16_t)RTE_MIN(count, SLUICE_DPDK_BURST);
	for (uint16_t i = 0; i < count; i++) {
		struct rte_mbuf *mbuf = mbuf_of(packets[i].buffer);
		uint64_t len = packets[i].len;

		/* No flag that reception sets is one that transmission looks at. */
		mbuf->data_off = packets[i].head;
		/* One store of pkt_len, data_len, and vlan_tci, which is none. */
		len |= len << 32;
		memcpy(&mbuf->pkt_len, &len, sizeof(len));
		mbufs[i] = mbuf;
	}
	return rte_eth_tx_burst(port, queue, mbufs, count);
}

int sluice_dpdk_read_stats(uint16_t port, struct sluice_dpdk_stats *stats)
{
	struct rte_eth_stats all;
	int error = rte_eth_stats_get(port, &all);

	if (error != 0)
		return error;
	stats->rx_missed = all.imissed;
	stats->rx_errors = all.ierrors;
	stats->rx_no_buffer = all.rx_nombuf;
	stats->tx_errors = all.oerrors;
	return 0;
}

int sluice_dpdk_link(uint16_t port)
{
	struct rte_eth_link link;
	int error = rte_eth_link_get_nowait(port, &link);

	if (error != 0)
		return error;
	return rte_eth_dev_is_removed(port) ? -ENODEV : link.link_status == RTE_ETH_LINK_UP;
}
