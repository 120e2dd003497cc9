#pragma once
#include "lib/check/check.h"
#include "lib/base/buf.h"
#include "lib/net/loop.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
/*
 * dns_fixture.h - for tests: a DNS server on loopback, on the loop of the test.
 *
 * The first label says what it answers: "a-N" one IPv4 address 192.0.2.N; "many" three;
 * "both" IPv4 and IPv6; "only4", "only6" the same, but says nothing about the other family;
 * "broken" SERVFAIL; "none" no data; "silent" nothing; any other: NXDOMAIN.  The TTL is dns.ttl_s.
 */
struct dns {
    struct loop *loop;
    struct watch *watch;
    int fd;
    char at[32];                /* "127.0.0.1:port" for resolver_config.servers */
    uint32_t ttl_s;
    unsigned queries;           /* for A; each look-up asks for AAAA too */
    bool is_silent, is_broken;
};

static inline bool dns_is(const char *name, const char *label)
{
    return strncmp(name, label, strlen(label)) == 0 && name[strlen(label)] == '.';
}

static inline void dns_put_record(struct buf *out, uint16_t type, uint32_t ttl_s, const void *addr, uint16_t n)
{
    buf_put_u16(out, 0xc00c);           /* the question's name */
    buf_put_u16(out, type);
    buf_put_u16(out, 1);
    buf_put_u32(out, ttl_s);
    buf_put_u16(out, n);
    buf_put(out, addr, n);
}

static inline unsigned dns_put_a(struct buf *out, const struct dns *d, const char *name)
{
    unsigned char v4[4] = { 192, 0, 2, 0 };
    unsigned count = 1, n = 1;

    if (sscanf(name, "a-%u.", &n) != 1)
        count = strncmp(name, "many.", 5) == 0 ? 3 : dns_is(name, "both") || dns_is(name, "only4");
    for (unsigned i = 0; i < count; i++) {
        v4[3] = (unsigned char)(n + i);
        dns_put_record(out, 1, d->ttl_s, v4, sizeof(v4));
    }
    return count;
}

static inline unsigned dns_put_aaaa(struct buf *out, const struct dns *d, const char *name)
{
    static const unsigned char v6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 };

    if (!dns_is(name, "both") && !dns_is(name, "only6"))
        return 0;
    dns_put_record(out, 28, d->ttl_s, v6, sizeof(v6));
    return 1;
}

static inline bool dns_knows(const char *name)
{
    return strncmp(name, "a-", 2) == 0 || strncmp(name, "many.", 5) == 0 || strncmp(name, "both.", 5) == 0 ||
           strncmp(name, "none.", 5) == 0 || dns_is(name, "only4") || dns_is(name, "only6");
}

static inline bool dns_says_nothing(const struct dns *d, const char *name, bool is_a)
{
    return d->is_silent || dns_is(name, "silent") || (dns_is(name, "only4") && !is_a) ||
           (dns_is(name, "only6") && is_a);
}

static inline uint16_t dns_flags(const struct dns *d, const char *name)
{
    if (d->is_broken || dns_is(name, "broken"))
        return 0x8582;
    return dns_knows(name) ? 0x8580 : 0x8583;
}

/* The question's name as text, and its length on the wire. */
static inline size_t dns_name(const unsigned char *p, char text[256])
{
    size_t at = 0, n = 0;

    while (p[at]) {
        memcpy(text + n, p + at + 1, p[at]);
        n += p[at];
        text[n++] = '.';
        at += (size_t)p[at] + 1;
    }
    text[n] = 0;
    return at + 1;
}

static inline void dns_on_query(void *arg, unsigned events)
{
    struct dns *d = arg;
    unsigned char in[512], mem[512];
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    ssize_t n = recvfrom(d->fd, in, sizeof(in), 0, (struct sockaddr *)&from, &len);
    struct buf out;
    size_t name_n;
    unsigned count;
    char name[256];
    bool is_a;

    (void)events;
    if (n < 17)
        return;
    name_n = dns_name(in + 12, name);
    is_a = in[12 + name_n + 1] == 1;
    d->queries += is_a;
    if (dns_says_nothing(d, name, is_a))
        return;
    buf_init_fixed(&out, mem, sizeof(mem));
    buf_put(&out, in, 2);
    buf_put_u16(&out, dns_flags(d, name));
    buf_put_u16(&out, 1);
    buf_put_u16(&out, 0);               /* answers: below */
    buf_put_u32(&out, 0);
    buf_put(&out, in + 12, name_n + 4);
    count = d->is_broken ? 0 : is_a ? dns_put_a(&out, d, name) : dns_put_aaaa(&out, d, name);
    mem[7] = (unsigned char)count;
    (void)!sendto(d->fd, mem, out.len, 0, (struct sockaddr *)&from, len);
}

static inline void dns_open(struct dns *d, struct loop *loop)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(at);

    *d = (struct dns){ .loop = loop, .ttl_s = 60 };
    d->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(d->fd >= 0);
    assert_int_equal(bind(d->fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(d->fd, (struct sockaddr *)&at, &len), 0);
    snprintf(d->at, sizeof(d->at), "127.0.0.1:%u", ntohs(at.sin_port));
    assert_int_equal(watch_new(loop, d->fd, dns_on_query, d, &d->watch), 0);
    watch_set(d->watch, WATCH_READ);
}

static inline void dns_close(struct dns *d)
{
    watch_free(d->watch);
    close(d->fd);
}
