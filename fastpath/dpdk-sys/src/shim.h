/* What Sluice uses of DPDK. Errors are negative errno values. */
#ifndef SLUICE_DPDK_SHIM_H
#define SLUICE_DPDK_SHIM_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of a buffer before received data: what DPDK was built with
 * (RTE_PKTMBUF_HEADROOM), and what the shim was. */
#define SLUICE_DPDK_HEADROOM 128

/* Takes a line of DPDK's log; `level` as in rte_log.h (1 is the most severe, 8 debug). */
typedef void (*sluice_dpdk_log)(uint32_t level, const char *line, size_t len);

/* Starts the environment abstraction layer (EAL), once in a process, with its log going
 * to `log`. */
int sluice_dpdk_init(int argc, char **argv, sluice_dpdk_log log);

/* The version of the library that runs. */
const char *sluice_dpdk_version(void);

/* Makes the calling thread one that DPDK knows, with caches of its own. */
int sluice_dpdk_register_thread(void);

/* The number of the device that EAL knows by this name. */
int sluice_dpdk_find(const char *name, uint16_t *port);

/* What a device is and can. */
struct sluice_dpdk_device {
	char driver[32];
	uint8_t mac[6];
	/* Bytes of an IP packet: now, and what can be set. */
	uint16_t mtu;
	uint16_t mtu_min;
	uint16_t mtu_max;
	uint16_t rx_queues_max;
	uint16_t tx_queues_max;
	/* The NUMA node of the device; -1: any. */
	int socket;
	/* It spreads flows over queues by a hash of addresses and ports (RSS). */
	uint8_t has_rss;
};

int sluice_dpdk_inspect(uint16_t port, struct sluice_dpdk_device *device);

/* Makes a pool of buffers of `room` bytes each behind the headroom, in memory of NUMA
 * node `socket` (-1: any). Null: rte_errno is in `error`. */
void *sluice_dpdk_pool(const char *name, uint32_t frames, uint16_t room, int socket, int *error);

/* Takes up to `count` buffers from a pool, all or none; returns how many. */
uint32_t sluice_dpdk_take(void *pool, void **buffers, uint32_t count);

/* Gives buffers back to the pool that they are of. */
void sluice_dpdk_give(void *pool, void **buffers, uint32_t count);

/* Buffers in the pool, those in caches of threads included. */
uint32_t sluice_dpdk_free(void *pool);

/* What is set up for a device: a queue pair for each of `queues` workers. */
struct sluice_dpdk_setup {
	void *pool;
	uint16_t queues;
	/* Descriptors of a queue, at most: the device may have bounds of its own, which are
	 * told in `rx_len` and `tx_len`. */
	uint16_t ring_len;
	/* MTU of IP packets, in bytes, and whether the device is to be told: it has another. */
	uint16_t mtu;
	uint8_t sets_mtu;
	/* Out. */
	uint16_t rx_len;
	uint16_t tx_len;
	/* What failed, for a message. */
	const char *step;
};

/* Configures a device and starts it, with all multicast frames let in. */
int sluice_dpdk_start(uint16_t port, struct sluice_dpdk_setup *setup);

/* Stops a device and closes it. */
void sluice_dpdk_stop(uint16_t port);

/* Bytes of a line: each buffer begins at another one, whose number is the buffer's. */
#define SLUICE_DPDK_LINE 64

/* A buffer, its number, and the window of it that holds a frame. */
struct sluice_dpdk_packet {
	void *buffer;
	uint32_t number;
	uint16_t head;
	uint16_t len;
};

/* Bytes of a buffer that a frame may lie in: the chunk of one. */
#define SLUICE_DPDK_CHUNK 2048

/* Frames of a burst, at most. */
#define SLUICE_DPDK_BURST 64

/* Receives up to `count` frames of one queue, each within the chunk of its buffer. Frames
 * of several buffers, of foreign ones or longer than a chunk are dropped, and counted in
 * `dropped`. */
uint16_t sluice_dpdk_rx(uint16_t port, uint16_t queue, struct sluice_dpdk_packet *packets,
			uint16_t count, uint64_t *dropped);

/* Sends frames, a burst at most; returns how many the queue took, from the front. The rest
 * stay the caller's. */
uint16_t sluice_dpdk_tx(uint16_t port, uint16_t queue, const struct sluice_dpdk_packet *packets,
			uint16_t count);

/* Counts kept by a device. */
struct sluice_dpdk_stats {
	/* No room in the receive queue. */
	uint64_t rx_missed;
	/* Broken, or too long. */
	uint64_t rx_errors;
	/* No buffer to receive into. */
	uint64_t rx_no_buffer;
	uint64_t tx_errors;
};

int sluice_dpdk_read_stats(uint16_t port, struct sluice_dpdk_stats *stats);

/* Whether the link is up: 1 or 0; -ENODEV once the device has gone, another error where
 * the driver does not say. */
int sluice_dpdk_link(uint16_t port);

#endif
