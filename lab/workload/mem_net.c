// SPDX-License-Identifier: LGPL-2.1-or-later
// Pages in the buffers of sockets, and of a page_pool.
#include "kinds.h"
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

static void send_marked(int fd, const char *kind, const char *name, size_t size)
{
    char *p = anon(16 * PAGE), words[200], hex[33];
    unsigned char marker[16];
    fill(p, 16 * PAGE, name[0]);
    make_marker(marker, name);
    marker_hex(hex, marker);
    memcpy(p + size - 16, marker, 16);
    if (send(fd, p, size, 0) != (ssize_t)size)
        skip(kind, strerror(errno));
    snprintf(words, sizeof words, "name=%s marker=%s", name, hex);
    claim_words(kind, "%s", words);
    memset(marker, 0, 16);
    munmap(p, 16 * PAGE);
}

static void tcp(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (void *)&at, size) || listen(listener, 1) || getsockname(listener, (void *)&at, &size)
        || connect(fd, (void *)&at, size)) {
        skip("socket", strerror(errno));
        return;
    }
    if (accept(listener, NULL, NULL) < 0)
        skip("socket", strerror(errno));
    send_marked(fd, "socket", "tcp", 10 * PAGE);
}

static void udp(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int to = socket(AF_INET, SOCK_DGRAM, 0), fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (bind(to, (void *)&at, size) || getsockname(to, (void *)&at, &size) || connect(fd, (void *)&at, size)) {
        skip("socket", strerror(errno));
        return;
    }
    send_marked(fd, "socket", "udp", 8000);
}

void w_socket(void)
{
    int pair[2], grams[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || socketpair(AF_UNIX, SOCK_DGRAM, 0, grams))
        return;
    send_marked(pair[0], "socket", "unix_stream", 8 * PAGE);
    send_marked(grams[0], "socket", "unix_dgram", 9 * PAGE);
    tcp();
    udp();
}

static int pass_program(void)
{
    // r0 = XDP_PASS; exit
    struct bpf_insn code[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = XDP_PASS},
                              {.code = BPF_JMP | BPF_EXIT}};
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_XDP;
    attr.insns = (uintptr_t)code;
    attr.insn_cnt = 2;
    attr.license = (uintptr_t)"GPL";
    return syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
}

// Frames of a test run live in a page_pool; a packet socket keeps them.
void w_page_pool(void)
{
    unsigned char frame[256] = {0}, marker[16];
    char hex[33];
    int listener = socket(AF_PACKET, SOCK_RAW, htons(0x88b5)), prog = pass_program();
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(0x88b5), .sll_ifindex = 1};
    union bpf_attr attr;
    if (listener < 0 || prog < 0 || bind(listener, (void *)&at, sizeof at)) {
        skip("page_pool", strerror(errno));
        return;
    }
    frame[12] = 0x88, frame[13] = 0xb5;
    make_marker(marker, "page_pool");
    marker_hex(hex, marker);
    memcpy(frame + 64, marker, 16);
    memset(&attr, 0, sizeof attr);
    attr.test.prog_fd = prog;
    attr.test.data_in = (uintptr_t)frame;
    attr.test.data_size_in = sizeof frame;
    attr.test.repeat = 8;
    attr.test.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
    if (syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attr, sizeof attr))
        skip("page_pool", strerror(errno));
    else
        claim_words("page_pool", "marker=%s by=page_pool", hex);
    memset(frame, 0, sizeof frame);
}

// The ring that a packet socket shares with its owner.
void w_packet_ring(void)
{
    struct tpacket_req ring = {.tp_block_size = 2 * PAGE, .tp_block_nr = 3, .tp_frame_size = 2048, .tp_frame_nr = 12};
    int fd = socket(AF_PACKET, SOCK_RAW, htons(0x88b6));
    if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &ring, sizeof ring)) {
        skip("packet_ring", strerror(errno));
        return;
    }
    char *p = mmap(NULL, 6 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    claim("packet_ring", p, 6, "");
}
