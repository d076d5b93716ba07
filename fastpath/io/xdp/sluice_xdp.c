/* Decides, for every frame that a port receives, whether it is Sluice's or the
 * kernel's.
 *
 * To the kernel (XDP_PASS) go frames for the port's kernel addresses and the
 * control protocols that only the kernel's daemons speak. Everything else goes
 * to the AF_XDP socket of the receive queue; where there is none it is dropped
 * and counted, so that nothing gets past Sluice.
 *
 * Frames too short for the headers that a decision needs are Sluice's: it
 * drops them with a reason of its own.
 */
#include "bpf.h"

#define ADDRESSES_MAX 256

enum counter {
	REDIRECTED,
	PASSED_KERNEL_ADDRESS,
	PASSED_ARP,
	PASSED_ND,
	PASSED_CONTROL,
	DROPPED_NO_SOCKET,
	DROPPED_MALFORMED,
	COUNTERS,
};

struct in6 {
	__u8 bytes[16];
};

/* The socket of each receive queue. Resized to the device's queues on load. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

/* Addresses of the kernel; the values mean nothing. The IPv6 key fe80:: stands
 * for all link-local addresses. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ADDRESSES_MAX);
	__type(key, __u32);
	__type(value, __u16);
} kernel_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ADDRESSES_MAX + 1);
	__type(key, struct in6);
	__type(value, __u16);
} kernel_v6 SEC(".maps");

/* Addresses of Sluice's VXLAN tunnel endpoints, and the UDP port (network byte
 * order) on which each takes VXLAN even when the kernel has the address too. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ADDRESSES_MAX);
	__type(key, __u32);
	__type(value, __u16);
} vtep_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ADDRESSES_MAX);
	__type(key, struct in6);
	__type(value, __u16);
} vtep_v6 SEC(".maps");

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_ARP 0x0806
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_SLOW 0x8809 /* LACP, OAM: IEEE 802.3 annex 57A */
#define ETHERTYPE_EAPOL 0x888e
#define ETHERTYPE_QINQ 0x88a8
#define ETHERTYPE_LLDP 0x88cc

#define PROTOCOL_ICMP 1
#define PROTOCOL_UDP 17
#define PROTOCOL_ICMPV6 58
#define IPV4_MORE_FRAGMENTS_OR_OFFSET 0x3fff

#define ICMP_UNREACHABLE 3
#define ICMP_FRAGMENTATION_NEEDED 4
#define ICMPV6_PACKET_TOO_BIG 2
#define ICMPV6_ROUTER_SOLICITATION 133
#define ICMPV6_ROUTER_ADVERTISEMENT 134
#define ICMPV6_NEIGHBOR_SOLICITATION 135
#define ICMPV6_NEIGHBOR_ADVERTISEMENT 136
#define ICMPV6_REDIRECT 137

struct ethernet {
	__u8 destination[6];
	__u8 source[6];
	__be16 ethertype;
} __attribute__((packed));

struct vlan {
	__be16 tci;
	__be16 ethertype;
} __attribute__((packed));

struct arp {
	__be16 hardware_type;
	__be16 protocol_type;
	__u8 hardware_len;
	__u8 protocol_len;
	__be16 operation;
	__u8 sender_hardware[6];
	__u8 sender_protocol[4];
	__u8 target_hardware[6];
	__be32 target_protocol;
} __attribute__((packed));

struct ipv4 {
	__u8 version_ihl;
	__u8 tos;
	__be16 total_len;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__be16 checksum;
	__be32 source;
	__be32 destination;
} __attribute__((packed));

struct ipv6 {
	__be32 version_class_flow;
	__be16 payload_len;
	__u8 next_header;
	__u8 hop_limit;
	struct in6 source;
	struct in6 destination;
} __attribute__((packed));

struct udp {
	__be16 source;
	__be16 destination;
	__be16 len;
	__be16 checksum;
} __attribute__((packed));

/* An ICMP or ICMPv6 error; the packet that it quotes follows. */
struct icmp {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 mtu;
} __attribute__((packed));

/* The common start of the ICMPv6 messages of neighbor discovery (RFC 4861). */
struct nd {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 reserved;
	struct in6 target;
} __attribute__((packed));

static __always_inline void count(__u32 counter)
{
	__u64 *value = bpf_map_lookup_elem(&counters, &counter);

	if (value)
		*value += 1;
}

/* What becomes of a frame: the counter of the reason to pass it, or
 * REDIRECTED. */

static __always_inline int is_vxlan(void *udp_header, void *end, const __u16 *vxlan_port)
{
	struct udp *udp = udp_header;

	return vxlan_port && (void *)(udp + 1) <= end && udp->destination == *vxlan_port;
}

/* The path MTU of a tunnel is Sluice's to know, also where the kernel has the
 * VTEP's address: the errors that tell of it quote a VXLAN packet, and on that
 * port all VXLAN of the address is Sluice's. */

static __always_inline int is_vxlan_too_big_v4(void *header, void *end, const __u16 *vxlan_port)
{
	struct icmp *icmp = header;
	struct ipv4 *quoted = (void *)(icmp + 1);

	if (!vxlan_port || (void *)(quoted + 1) > end || icmp->type != ICMP_UNREACHABLE ||
	    icmp->code != ICMP_FRAGMENTATION_NEEDED || quoted->protocol != PROTOCOL_UDP)
		return 0;

	__u32 header_len = (quoted->version_ihl & 0x0f) * 4;

	return header_len >= sizeof(*quoted) &&
	       is_vxlan((void *)quoted + header_len, end, vxlan_port);
}

static __always_inline int is_vxlan_too_big_v6(void *header, void *end, const __u16 *vxlan_port)
{
	struct icmp *icmp = header;
	struct ipv6 *quoted = (void *)(icmp + 1);

	return vxlan_port && (void *)(quoted + 1) <= end && icmp->type == ICMPV6_PACKET_TOO_BIG &&
	       quoted->next_header == PROTOCOL_UDP && is_vxlan(quoted + 1, end, vxlan_port);
}

static __always_inline enum counter judge_arp(void *header, void *end)
{
	struct arp *arp = header;

	if ((void *)(arp + 1) > end || arp->protocol_type != bpf_htons(ETHERTYPE_IPV4) ||
	    arp->hardware_len != 6 || arp->protocol_len != 4)
		return REDIRECTED;

	__u32 target = arp->target_protocol;

	return bpf_map_lookup_elem(&kernel_v4, &target) ? PASSED_ARP : REDIRECTED;
}

static __always_inline enum counter judge_ipv4(void *header, void *end)
{
	struct ipv4 *ip = header;

	if ((void *)(ip + 1) > end)
		return REDIRECTED;

	__u32 destination = ip->destination;

	if (!bpf_map_lookup_elem(&kernel_v4, &destination))
		return REDIRECTED;
	/* A fragment does not name its port, or only the first one does: all of
	 * a datagram goes the same way. */
	if (!(ip->fragment & bpf_htons(IPV4_MORE_FRAGMENTS_OR_OFFSET))) {
		__u32 header_len = (ip->version_ihl & 0x0f) * 4;
		void *transport = header + header_len;
		__u16 *vxlan_port = bpf_map_lookup_elem(&vtep_v4, &destination);

		if (header_len < sizeof(*ip))
			return PASSED_KERNEL_ADDRESS;
		if (ip->protocol == PROTOCOL_UDP && is_vxlan(transport, end, vxlan_port))
			return REDIRECTED;
		if (ip->protocol == PROTOCOL_ICMP &&
		    is_vxlan_too_big_v4(transport, end, vxlan_port))
			return REDIRECTED;
	}
	return PASSED_KERNEL_ADDRESS;
}

static __always_inline int is_link_local(const struct in6 *address)
{
	return address->bytes[0] == 0xfe && (address->bytes[1] & 0xc0) == 0x80;
}

/* Sluice has no link-local address of its own: where the kernel has any
 * address, it speaks from its link-local one too (RFC 4861: to routers, and
 * when it doubts a neighbor), and the answers are the kernel's. */
static __always_inline int is_kernel_v6(const struct in6 *address)
{
	struct in6 key = *address;

	if (is_link_local(address))
		key = (struct in6){ .bytes = { 0xfe, 0x80 } };
	return bpf_map_lookup_elem(&kernel_v6, &key) != 0;
}

static __always_inline enum counter judge_ipv6(void *header, void *end, int is_group)
{
	struct ipv6 *ip = header;

	if ((void *)(ip + 1) > end)
		return REDIRECTED;

	struct nd *nd = (void *)(ip + 1);
	int is_icmp = ip->next_header == PROTOCOL_ICMPV6 && (void *)&nd->code <= end;

	if (is_icmp) {
		if (nd->type == ICMPV6_ROUTER_SOLICITATION ||
		    nd->type == ICMPV6_ROUTER_ADVERTISEMENT || nd->type == ICMPV6_REDIRECT)
			return PASSED_CONTROL;
		/* Sent to a multicast group: the target says whom it is for. */
		if (nd->type == ICMPV6_NEIGHBOR_SOLICITATION && (void *)(nd + 1) <= end) {
			struct in6 target = nd->target;

			if (is_kernel_v6(&target))
				return PASSED_ND;
		}
	}

	struct in6 destination = ip->destination;

	if (!is_kernel_v6(&destination) || (is_group && is_link_local(&destination)))
		return REDIRECTED;

	__u16 *vxlan_port = bpf_map_lookup_elem(&vtep_v6, &destination);

	if (ip->next_header == PROTOCOL_UDP && is_vxlan(ip + 1, end, vxlan_port))
		return REDIRECTED;
	if (is_icmp && is_vxlan_too_big_v6(nd, end, vxlan_port))
		return REDIRECTED;
	if (is_icmp && nd->type == ICMPV6_NEIGHBOR_ADVERTISEMENT)
		return PASSED_ND;
	return PASSED_KERNEL_ADDRESS;
}

static __always_inline enum counter judge(__be16 ethertype, void *header, void *end, int is_group)
{
	switch (ethertype) {
	case bpf_htons(ETHERTYPE_IPV4):
		return judge_ipv4(header, end);
	case bpf_htons(ETHERTYPE_IPV6):
		return judge_ipv6(header, end, is_group);
	case bpf_htons(ETHERTYPE_ARP):
		return judge_arp(header, end);
	case bpf_htons(ETHERTYPE_LLDP):
	case bpf_htons(ETHERTYPE_SLOW):
	case bpf_htons(ETHERTYPE_EAPOL):
		return PASSED_CONTROL;
	default:
		return REDIRECTED;
	}
}

static __always_inline int is_tag(__be16 ethertype)
{
	return ethertype == bpf_htons(ETHERTYPE_VLAN) || ethertype == bpf_htons(ETHERTYPE_QINQ);
}

SEC("xdp")
int sluice_xdp(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethernet *ethernet = data;

	if ((void *)(ethernet + 1) > end) {
		count(DROPPED_MALFORMED);
		return XDP_DROP;
	}

	__be16 ethertype = ethernet->ethertype;
	void *header = ethernet + 1;

#pragma unroll
	for (int tags = 0; tags < 2; tags++) {
		struct vlan *vlan = header;

		if (!is_tag(ethertype) || (void *)(vlan + 1) > end)
			break;
		ethertype = vlan->ethertype;
		header = vlan + 1;
	}

	enum counter verdict = judge(ethertype, header, end, ethernet->destination[0] & 1);

	if (verdict != REDIRECTED) {
		count(verdict);
		return XDP_PASS;
	}

	long action = bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_DROP);

	count(action == XDP_REDIRECT ? REDIRECTED : DROPPED_NO_SOCKET);
	return action;
}

char _license[] SEC("license") = "Apache-2.0";
