/*
 * A line between two networks of its own, for kernels without netem: a rate, a delay, losses and a queue.
 *
 *   link RATE_MBIT DELAY_US LOSS_PPM QUEUE_BYTES SEED CONGESTION
 *
 * It makes two network namespaces with a TUN interface "line0" in each (10.77.0.1 and 10.77.0.2) and carries packets
 * between them. Each direction has a drop-tail queue in front of a serializer at RATE_MBIT, then DELAY_US, then losses,
 * LOSS_PPM of a million packets, drawn from SEED: the same sequence in every run. Packets are counted as Ethernet sends
 * them, with preamble, header, checksum and gap. CONGESTION is what TCP uses between them.
 *
 * First it prints the descriptors of the namespaces: /proc/PID/fd/N, for nsenter. Each byte on standard input is
 * answered by a line of counters; the end of standard input ends it. The namespaces have no name and end with the last
 * process in them, so there is nothing to clean up.
 *
 * TCP hands over trains of segments in one piece, as to a card with segmentation offload, which is what makes 1 Gb/s
 * cheap. A train is paid for, lost and cut by segment, but its survivors arrive together, as a receiving card that
 * coalesces would deliver them. What arrives does so up to TICK_NS late.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define TICK_NS 100000
#define FRAMING_BYTES 38
#define MAX_PACKET (65536 + 64)
/* Longest train: 16 segments, 0.2 ms of 1 Gb/s. */
#define MAX_TRAIN_BYTES 24000
#define MAX_SEGMENTS 128
#define BATCH 64

typedef struct {
  uint64_t due;
  uint32_t bytes;
} Record;

/* One direction. Records lie in a ring of bytes, head to tail; one of 0 bytes sends the reader back to its start. */
typedef struct {
  int in, out;
  uint8_t *ring;
  size_t size, head, tail, used;
  uint64_t free_at; /* When the serializer has sent all it took. */
  uint64_t random;
  uint64_t packets, wire, payload, lost, dropped;
} Direction;

static double ns_per_byte;
static uint64_t delay_ns, queue_ns;
static uint32_t loss_ppm;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000ull + time.tv_nsec;
}

/* xorshift64*, Vigna 2016. */
static uint32_t draw(Direction *way) {
  way->random ^= way->random >> 12;
  way->random ^= way->random << 25;
  way->random ^= way->random >> 27;
  return (way->random * 0x2545f4914f6cdd1dull) >> 32;
}

/*
 * Enters a new network namespace and makes its end of the line. Gives the TUN, and the namespace in *space. The route
 * names the congestion control: as the default of a namespace it would have to be allowed to every user of the machine.
 */
static int open_end(const char *address, const char *congestion, int *space) {
  if (unshare(CLONE_NEWNET)) die("unshare");
  *space = open("/proc/self/ns/net", O_RDONLY);
  int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
  if (*space < 0 || tun < 0) die("/dev/net/tun");
  struct ifreq request = {.ifr_name = "line0", .ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
  if (ioctl(tun, TUNSETIFF, &request)) die("TUNSETIFF");
  int header = sizeof(struct virtio_net_hdr);
  if (ioctl(tun, TUNSETVNETHDRSZ, &header)) die("TUNSETVNETHDRSZ");
  if (ioctl(tun, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4)) die("TUNSETOFFLOAD");
  char command[512];
  snprintf(command, sizeof command,
           "ip link set lo up && ip address add %s/30 dev line0 && "
           "ip link set line0 mtu 1500 txqueuelen 10000 gso_max_size %d up && "
           "ip route replace 10.77.0.0/30 dev line0 proto kernel scope link src %s congctl %s",
           address, MAX_TRAIN_BYTES, address, congestion);
  if (system(command)) die(command);
  return tun;
}

/* Puts a packet, or the segments of a train from `first` on, where deliver() finds it. Header fields follow. */
static void enqueue(Direction *way, const uint8_t *packet, uint32_t bytes, uint64_t due) {
  size_t needed = sizeof(Record) + ((bytes + 15) & ~15u);
  size_t to_end = way->size - way->tail;
  size_t skipped = to_end < needed + sizeof(Record) ? to_end : 0;
  if (way->used + needed + skipped > way->size) {
    way->dropped++;
    return;
  }
  if (skipped) {
    *(Record *)(way->ring + way->tail) = (Record){0, 0};
    way->used += skipped;
    way->tail = 0;
  }
  *(Record *)(way->ring + way->tail) = (Record){due, bytes};
  memcpy(way->ring + way->tail + sizeof(Record), packet, bytes);
  way->tail += needed;
  way->used += needed;
}

static uint32_t sum16(const void *data, size_t bytes, uint32_t sum) {
  const uint16_t *words = data;
  for (size_t i = 0; i < bytes / 2; i++) sum += words[i];
  return sum;
}

static uint16_t fold(uint32_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

/* Segments first .. last of a train of `count`, as a train of their own. */
static void enqueue_part(Direction *way, const uint8_t *train, uint32_t headers, uint32_t payload, uint32_t segment,
                         uint32_t first, uint32_t last, uint32_t count, uint64_t due) {
  static uint8_t part[MAX_PACKET];
  uint32_t at = first * segment;
  uint32_t bytes = (last + 1 == count ? payload : (last + 1) * segment) - at;
  memcpy(part, train, headers);
  memcpy(part + headers, train + headers + at, bytes);
  struct virtio_net_hdr *offload = (void *)part;
  struct iphdr *ip = (void *)(part + sizeof *offload);
  struct tcphdr *tcp = (void *)((uint8_t *)ip + ip->ihl * 4);
  uint32_t tcp_bytes = tcp->doff * 4 + bytes;
  if (bytes <= segment) offload->gso_type = VIRTIO_NET_HDR_GSO_NONE, offload->gso_size = 0;
  ip->tot_len = htons(ip->ihl * 4 + tcp_bytes);
  ip->id = htons(ntohs(ip->id) + first);
  ip->check = 0;
  ip->check = ~fold(sum16(ip, ip->ihl * 4, 0));
  tcp->seq = htonl(ntohl(tcp->seq) + at);
  if (last + 1 < count) tcp->fin = tcp->psh = 0;
  /* The kernel wants the sum of the pseudo header here, and adds the rest (VIRTIO_NET_HDR_F_NEEDS_CSUM). */
  tcp->check = fold(sum16(&ip->saddr, 8, htons(IPPROTO_TCP) + htons(tcp_bytes)));
  enqueue(way, part, headers + bytes, due);
}

/* Takes a packet or train from the sender: queue, serializer and losses, segment by segment. */
static void accept_packet(Direction *way, const uint8_t *packet, uint32_t bytes, uint64_t now) {
  const struct virtio_net_hdr *offload = (const void *)packet;
  const struct iphdr *ip = (const void *)(packet + sizeof *offload);
  /* Ends of the line speak IPv4 alone; router solicitations and the like go nowhere. */
  if (bytes < sizeof *offload + sizeof *ip || ip->version != 4) return;
  uint32_t headers = bytes, payload = 0, segment = 0, count = 1;
  if (ip->protocol == IPPROTO_TCP) {
    const struct tcphdr *tcp = (const void *)((const uint8_t *)ip + ip->ihl * 4);
    headers = sizeof *offload + ip->ihl * 4 + tcp->doff * 4;
    payload = bytes - headers;
    if (offload->gso_type != VIRTIO_NET_HDR_GSO_NONE) {
      segment = offload->gso_size;
      count = (payload + segment - 1) / segment;
    }
  }
  if (way->free_at < now) way->free_at = now;
  int64_t run = -1;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t carried = count == 1 ? payload : i + 1 == count ? payload - i * segment : segment;
    int full = way->free_at - now > queue_ns;
    int kept = 0;
    if (full) {
      way->dropped++;
    } else {
      uint32_t wire = headers - sizeof *offload + carried;
      way->free_at += (wire + FRAMING_BYTES) * ns_per_byte;
      way->packets++, way->wire += wire, way->payload += carried;
      kept = loss_ppm == 0 || draw(way) % 1000000 >= loss_ppm;
      if (!kept) way->lost++;
    }
    if (kept && run < 0) run = i;
    int ends = run >= 0 && (!kept || i + 1 == count);
    if (!ends) continue;
    uint32_t last = kept ? i : i - 1;
    uint64_t due = way->free_at + delay_ns;
    if (run == 0 && last + 1 == count) enqueue(way, packet, bytes, due);
    else enqueue_part(way, packet, headers, payload, segment, run, last, count, due);
    run = -1;
  }
}

static void receive(Direction *way) {
  static uint8_t packet[MAX_PACKET];
  for (int i = 0; i < BATCH; i++) {
    ssize_t bytes = read(way->in, packet, sizeof packet);
    if (bytes <= 0) return;
    accept_packet(way, packet, bytes, now_ns());
  }
}

/* Hands over what is due; gives when the next is, at most `next`. */
static uint64_t deliver(Direction *way, uint64_t next) {
  uint64_t now = now_ns();
  while (way->used > 0) {
    Record *record = (void *)(way->ring + way->head);
    if (record->bytes == 0) {
      way->used -= way->size - way->head;
      way->head = 0;
      continue;
    }
    if (record->due > now) return record->due < next ? record->due : next;
    if (write(way->out, record + 1, record->bytes) < 0) way->dropped++;
    size_t taken = sizeof *record + ((record->bytes + 15) & ~15u);
    way->head += taken;
    way->used -= taken;
  }
  return next;
}

static int answer(const Direction *ways) {
  char asked[16];
  if (read(0, asked, sizeof asked) <= 0) return 0;
  for (int i = 0; i < 2; i++)
    printf("%lu %lu %lu %lu %lu%s", ways[i].packets, ways[i].wire, ways[i].payload, ways[i].lost, ways[i].dropped,
           i == 0 ? " " : "\n");
  fflush(stdout);
  return 1;
}

int main(int count, char **arguments) {
  if (count != 7) {
    fprintf(stderr, "usage: link RATE_MBIT DELAY_US LOSS_PPM QUEUE_BYTES SEED CONGESTION\n");
    return 2;
  }
  ns_per_byte = 8000.0 / atof(arguments[1]);
  delay_ns = strtoull(arguments[2], 0, 10) * 1000;
  loss_ppm = strtoul(arguments[3], 0, 10);
  uint64_t queue_bytes = strtoull(arguments[4], 0, 10);
  queue_ns = queue_bytes * ns_per_byte;
  uint64_t seed = strtoull(arguments[5], 0, 10);
  int spaces[2], tuns[2], machine = open("/proc/self/ns/net", O_RDONLY);
  tuns[0] = open_end("10.77.0.1", arguments[6], &spaces[0]);
  tuns[1] = open_end("10.77.0.2", arguments[6], &spaces[1]);
  if (machine < 0 || setns(machine, CLONE_NEWNET)) die("setns");
  Direction ways[2] = {{.in = tuns[0], .out = tuns[1]}, {.in = tuns[1], .out = tuns[0]}};
  for (int i = 0; i < 2; i++) {
    ways[i].random = (seed * 2 + i + 1) * 0x9e3779b97f4a7c15ull;
    /* Room for what is in the queue and on the way, thrice: small packets have large records. */
    ways[i].size = ((size_t)(3 * (queue_bytes + (delay_ns + 10 * TICK_NS) / ns_per_byte)) + 4 * MAX_PACKET) & ~15ul;
    ways[i].ring = malloc(ways[i].size);
    if (!ways[i].ring) die("malloc");
  }
  prctl(PR_SET_TIMERSLACK, 1000);
  printf("%d %d\n", spaces[0], spaces[1]);
  fflush(stdout);
  for (;;) {
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < 2; i++) {
      receive(&ways[i]);
      next = deliver(&ways[i], next);
    }
    uint64_t now = now_ns();
    /* Many packets in one round cost less than a round for each. */
    struct timespec tick = {0, TICK_NS}, wait = {0, 0};
    if (next > now + TICK_NS) {
      uint64_t left = next == UINT64_MAX ? 1000000000ull : next - now;
      wait = (struct timespec){left / 1000000000ull, left % 1000000000ull};
      struct pollfd waiting[3] = {{tuns[0], POLLIN, 0}, {tuns[1], POLLIN, 0}, {0, POLLIN, 0}};
      ppoll(waiting, 3, &wait, 0);
    } else {
      nanosleep(&tick, 0);
    }
    struct pollfd input = {0, POLLIN, 0};
    if (poll(&input, 1, 0) > 0 && !answer(ways)) return 0;
  }
}
