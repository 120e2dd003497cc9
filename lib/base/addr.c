#include "lib/base/addr.h"
#include "lib/base/buf.h"
#include <stdio.h>
#include <string.h>

#define GROUPS 8                /* of 16 bits */
#define V4_OFFSET 12            /* where IPv4 lies in the 16 bytes */
#define V4_BITS 96              /* the prefix of ::ffff:0:0/96 */

static const unsigned char mapped_prefix[V4_OFFSET] = { [10] = 0xff, [11] = 0xff };

bool addr_is_v4(const struct addr *a)
{
    return memcmp(a->ip, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    return memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

struct addr addr_v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    struct addr addr = { 0 };

    memcpy(addr.ip, mapped_prefix, sizeof(mapped_prefix));
    addr.ip[V4_OFFSET] = a;
    addr.ip[V4_OFFSET + 1] = b;
    addr.ip[V4_OFFSET + 2] = c;
    addr.ip[V4_OFFSET + 3] = d;
    return addr;
}

/* Decimal without sign and leading zeros: "08" is eight to some and an error to others. */
static bool decimal_parse(struct span text, uint64_t max, uint64_t *ret_value)
{
    if (text.n > 1 && text.p[0] == '0')
        return false;
    return span_to_u64(text, max, ret_value);
}

static bool v4_parse(struct span text, unsigned char ret_ip[4])
{
    struct span part;
    unsigned char ip[4];
    uint64_t value;
    size_t n = 0;

    while (span_cut(&text, '.', &part)) {
        if (n == sizeof(ip) || !decimal_parse(part, 255, &value))
            return false;
        ip[n++] = (unsigned char)value;
    }
    if (n != sizeof(ip))
        return false;
    memcpy(ret_ip, ip, sizeof(ip));
    return true;
}

static bool group_parse(struct span text, unsigned char ret_wire[2])
{
    unsigned value = 0;

    if (text.n == 0 || text.n > 4)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *digit = memchr(digits, text.p[i], sizeof(digits) - 1);

        if (!digit)
            return false;
        value = value << 4 | (unsigned)((digit - digits) & 15);
    }
    ret_wire[0] = (unsigned char)(value >> 8);
    ret_wire[1] = (unsigned char)value;
    return true;
}

/* Groups separated by ':', the last of which may be dotted IPv4.  "" is no groups. */
static bool groups_parse(struct span text, struct buf *out)
{
    unsigned char wire[4];
    struct span part;

    if (text.n == 0)
        return true;
    while (span_cut(&text, ':', &part)) {
        bool is_last = !text.p;

        if (group_parse(part, wire))
            buf_put(out, wire, 2);
        else if (is_last && v4_parse(part, wire))
            buf_put(out, wire, 4);
        else
            return false;
    }
    return !buf_error(out);
}

/* Position of "::", or text.n. */
static size_t gap_find(struct span text)
{
    for (size_t i = 0; i + 1 < text.n; i++) {
        if (text.p[i] == ':' && text.p[i + 1] == ':')
            return i;
    }
    return text.n;
}

static bool v6_parse(struct span text, struct addr *ret_addr)
{
    unsigned char head_mem[sizeof_field(struct addr, ip)], tail_mem[sizeof(head_mem)];
    struct addr addr = { 0 };
    size_t gap = gap_find(text);
    struct buf head, tail;

    buf_init_fixed(&head, head_mem, sizeof(head_mem));
    buf_init_fixed(&tail, tail_mem, sizeof(tail_mem));
    if (gap == text.n) {
        if (!groups_parse(text, &head) || head.len != sizeof(addr.ip))
            return false;
    } else if (memchr(text.p, '.', gap) || !groups_parse(span_first(text, gap), &head)
               || !groups_parse(span_skip(text, gap + 2), &tail)
               || head.len + tail.len > sizeof(addr.ip) - 2) {
        return false;               /* "::" stands for one group at least */
    }
    if (head.len)
        memcpy(addr.ip, head.data, head.len);
    if (tail.len)
        memcpy(addr.ip + sizeof(addr.ip) - tail.len, tail.data, tail.len);
    *ret_addr = addr;
    return true;
}

bool addr_parse(struct span text, struct addr *ret_addr)
{
    unsigned char v4[4];

    if (span_find(text, ':') < text.n)
        return v6_parse(text, ret_addr);
    if (!v4_parse(text, v4))
        return false;
    *ret_addr = addr_v4(v4[0], v4[1], v4[2], v4[3]);
    return true;
}

static unsigned group_at(const struct addr *a, int i)
{
    return (unsigned)(a->ip[2 * i] << 8 | a->ip[2 * i + 1]);
}

/* RFC 5952 section 4.2: the longest run of two zero groups or more, the first of equals. */
static int longest_zeros(const struct addr *a, int *ret_start)
{
    int best = 0;

    *ret_start = -1;
    for (int i = 0, run = 0; i < GROUPS; i++) {
        run = group_at(a, i) ? 0 : run + 1;
        if (run > best && run >= 2) {
            best = run;
            *ret_start = i - run + 1;
        }
    }
    return best;
}

static void v6_print(const struct addr *a, struct buf *out)
{
    int gap, gap_len = longest_zeros(a, &gap);

    for (int i = 0; i < GROUPS; i++) {
        if (i == gap) {
            buf_put_str(out, "::");
            i += gap_len - 1;
            continue;
        }
        buf_printf(out, "%s%x", i && i != gap + gap_len ? ":" : "", group_at(a, i));
    }
}

static void v4_print(const unsigned char v4[4], struct buf *out)
{
    for (int i = 0; i < 4; i++) {
        if (i)
            buf_put_u8(out, '.');
        buf_put_decimal(out, v4[i]);
    }
}

static void addr_print(const struct addr *a, struct buf *out)
{
    if (addr_is_v4(a))
        v4_print(a->ip + V4_OFFSET, out);
    else
        v6_print(a, out);
}

const char *addr_format(const struct addr *a, char *dst)
{
    struct buf out;

    buf_init_fixed(&out, dst, ADDR_TEXT_MAX);
    addr_print(a, &out);
    return buf_text(&out);
}

struct addr addr_unwrap(const struct addr *a)
{
    static const struct { unsigned char prefix[12]; size_t prefix_len, at; } forms[] = {
        { { 0x20, 0x02 }, 2, 2 },                               /* 6to4 */
        { { 0x00, 0x64, 0xff, 0x9b }, 12, 12 },                 /* NAT64, well known */
        { { 0x00, 0x64, 0xff, 0x9b, 0x00, 0x01 }, 6, 12 },      /* NAT64, local use, /96 */
    };

    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        const unsigned char *v4 = a->ip + forms[i].at;

        if (memcmp(a->ip, forms[i].prefix, forms[i].prefix_len) == 0)
            return addr_v4(v4[0], v4[1], v4[2], v4[3]);
    }
    return *a;
}

struct addr addr_source(const struct addr *a)
{
    struct addr source = *a;

    if (!addr_is_v4(a))
        memset(source.ip + 8, 0, 8);
    return source;
}

static bool has_host_bits(const struct cidr *c)
{
    unsigned partial = c->bits % 8;

    for (unsigned i = c->bits / 8; i < sizeof(c->base.ip); i++, partial = 0) {
        if (c->base.ip[i] & 0xff >> partial)
            return true;
    }
    return false;
}

bool cidr_parse(struct span text, struct cidr *ret_cidr)
{
    struct cidr cidr = { .bits = 128 };
    struct span rest = text, host;
    bool is_v6 = span_find(text, ':') < text.n;
    uint64_t bits;

    if (!span_cut(&rest, '/', &host) || !addr_parse(host, &cidr.base))
        return false;
    if (rest.p) {
        if (!decimal_parse(rest, is_v6 ? 128 : 32, &bits))
            return false;
        cidr.bits = (uint8_t)(is_v6 ? bits : bits + V4_BITS);
    }
    if (has_host_bits(&cidr))
        return false;
    *ret_cidr = cidr;
    return true;
}

static bool cidr_is_v4(const struct cidr *c)
{
    return c->bits >= V4_BITS && addr_is_v4(&c->base);
}

const char *cidr_format(const struct cidr *c, char *dst)
{
    struct buf out;

    buf_init_fixed(&out, dst, ADDR_TEXT_MAX);
    addr_print(&c->base, &out);
    buf_printf(&out, "/%u", cidr_is_v4(c) ? c->bits - V4_BITS : c->bits);
    return buf_text(&out);
}

bool cidr_has(const struct cidr *c, const struct addr *a)
{
    size_t whole = c->bits / 8;
    unsigned partial = c->bits % 8;

    if (cidr_is_v4(c) != addr_is_v4(a) || memcmp(c->base.ip, a->ip, whole) != 0)
        return false;
    return !partial || !((c->base.ip[whole] ^ a->ip[whole]) >> (8 - partial));
}
