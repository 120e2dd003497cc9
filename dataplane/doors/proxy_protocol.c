#include "dataplane/doors/proxy_protocol.h"
#include "lib/base/buf.h"
#include <string.h>

#define SIGNATURE_V1 SPAN("PROXY ")
#define SIGNATURE_V2 SPAN("\r\n\r\n\0\r\nQUIT\n")
#define HEADER_V2 16

enum { COMMAND_LOCAL = 0x20, COMMAND_PROXY = 0x21 };
enum { FAMILY_UNSPEC = 0x00, FAMILY_TCP4 = 0x11, FAMILY_TCP6 = 0x21, FAMILY_UNIX = 0x31 };
enum { TLV_CRC32C = 0x03 };

const char *proxy_protocol_error_text(int error)
{
    static const char *const texts[PROXY_PROTOCOL_E_COUNT] = {
        [PROXY_PROTOCOL_E_MORE] = "the header is not whole",
#define PROXY_PROTOCOL_ERROR(name, text) [PROXY_PROTOCOL_E_##name] = text,
        PROXY_PROTOCOL_ERRORS(PROXY_PROTOCOL_ERROR)
#undef PROXY_PROTOCOL_ERROR
    };

    return error > 0 && error < PROXY_PROTOCOL_E_COUNT ? texts[error] : "something failed inside";
}

/* As far as there are bytes. */
static bool may_start(struct span in, struct span signature)
{
    return span_starts(signature, span_first(in, signature.n));
}

/* ---- version 1: a line of text ---- */

static bool port_parse(struct span text, uint16_t *ret_port)
{
    uint64_t port;

    if ((text.n > 1 && text.p[0] == '0') || !span_to_u64(text, UINT16_MAX, &port))
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

/* The family is what the text looks like: IPv6 may be written for a mapped IPv4. */
static bool ip_parse(struct span text, bool is_v6, struct addr *ret_addr)
{
    return (span_find(text, ':') < text.n) == is_v6 && addr_parse(text, ret_addr);
}

static int ends_parse(struct span rest, bool is_v6, struct proxy_protocol *header)
{
    struct span source, destination, source_port, destination_port = SPAN_NONE;

    if (!span_cut(&rest, ' ', &source) || !span_cut(&rest, ' ', &destination)
        || !span_cut(&rest, ' ', &source_port) || !span_cut(&rest, ' ', &destination_port)
        || rest.p)
        return PROXY_PROTOCOL_E_LINE;
    if (!ip_parse(source, is_v6, &header->source.addr)
        || !ip_parse(destination, is_v6, &header->destination.addr)
        || !port_parse(source_port, &header->source.port)
        || !port_parse(destination_port, &header->destination.port))
        return PROXY_PROTOCOL_E_ADDRESS;

    header->source.kind = header->destination.kind = ENDPOINT_IP;
    return 0;
}

/* `line` begins behind "PROXY ". */
static int line_parse(struct span line, struct proxy_protocol *header)
{
    struct span rest = line, family;

    if (span_find(line, '\r') < line.n || !span_cut(&rest, ' ', &family))
        return PROXY_PROTOCOL_E_LINE;
    if (span_eq(family, SPAN("UNKNOWN")))       /* what follows is not to be read */
        return 0;
    if (span_eq(family, SPAN("TCP4")))
        return ends_parse(rest, false, header);
    if (span_eq(family, SPAN("TCP6")))
        return ends_parse(rest, true, header);
    return PROXY_PROTOCOL_E_FAMILY;
}

static int v1_parse(struct span in, struct proxy_protocol *header)
{
    struct span window = span_first(in, PROXY_PROTOCOL_V1_MAX);
    size_t end = span_find(window, '\n');

    if (end == window.n)
        return window.n == PROXY_PROTOCOL_V1_MAX ? PROXY_PROTOCOL_E_TOO_LONG
                                                 : PROXY_PROTOCOL_E_MORE;
    if (in.p[end - 1] != '\r')
        return PROXY_PROTOCOL_E_LINE;

    header->bytes = end + 1;
    return line_parse(span_skip(span_first(in, end - 1), SIGNATURE_V1.n), header);
}

/* ---- version 2: bytes ---- */

static uint32_t crc32c_byte(uint32_t crc, unsigned char c)
{
    crc ^= c;
    for (int bit = 0; bit < 8; bit++)
        crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    return crc;
}

/* Over the whole header, the four bytes at `hole` (the checksum itself) taken as 0. */
static uint32_t crc32c(struct span in, size_t hole)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < in.n; i++)
        crc = crc32c_byte(crc, i >= hole && i < hole + 4 ? 0 : (unsigned char)in.p[i]);
    return ~crc;
}

/* `r` stands at the first TLV of `whole` and ends with it. */
static int tlvs_check(struct reader *r, struct span whole)
{
    bool is_checked = false;

    while (r->n) {
        uint8_t type = read_u8(r);
        struct span value = read_span(r, read_u16(r));
        struct reader checksum;

        if (r->error || (type == TLV_CRC32C && value.n != 4))
            return PROXY_PROTOCOL_E_LENGTH;
        if (type != TLV_CRC32C)
            continue;
        reader_init(&checksum, value);
        if (is_checked || read_u32(&checksum) != crc32c(whole, (size_t)(value.p - whole.p)))
            return PROXY_PROTOCOL_E_CHECKSUM;
        is_checked = true;
    }
    return 0;
}

static void ip_read(struct reader *r, bool is_v6, struct endpoint *e)
{
    struct span ip = read_span(r, is_v6 ? 16 : 4);

    e->kind = ENDPOINT_IP;
    e->addr = addr_v4(0, 0, 0, 0);
    if (ip.n)
        memcpy(e->addr.ip + 16 - ip.n, ip.p, ip.n);
}

static int ends_read(struct reader *r, uint8_t family, struct proxy_protocol *header)
{
    switch (family) {
    case FAMILY_UNSPEC:
        read_span(r, r->n);             /* not to be read */
        return 0;
    case FAMILY_UNIX:
        read_span(r, 2 * ADDR_UNIX_MAX);
        break;
    case FAMILY_TCP4:
    case FAMILY_TCP6:
        ip_read(r, family == FAMILY_TCP6, &header->source);
        ip_read(r, family == FAMILY_TCP6, &header->destination);
        header->source.port = read_u16(r);
        header->destination.port = read_u16(r);
        break;
    default:
        return PROXY_PROTOCOL_E_FAMILY;
    }
    return r->error ? PROXY_PROTOCOL_E_LENGTH : 0;
}

static int body_read(struct reader *reader, uint8_t command, uint8_t family, struct span whole,
                     struct proxy_protocol *header)
{
    int r;

    if (command == COMMAND_LOCAL) {     /* the rest is not to be read */
        header->is_local = true;
        return 0;
    }
    r = ends_read(reader, family, header);
    if (r)
        return r;
    return tlvs_check(reader, whole);
}

static int v2_parse(struct span in, struct proxy_protocol *header)
{
    struct reader r;
    uint8_t command, family;

    reader_init(&r, span_skip(in, SIGNATURE_V2.n));
    command = read_u8(&r);
    if (!r.error && command != COMMAND_LOCAL && command != COMMAND_PROXY)
        return PROXY_PROTOCOL_E_VERSION;
    family = read_u8(&r);
    header->bytes = HEADER_V2 + read_u16(&r);
    if (r.error)
        return PROXY_PROTOCOL_E_MORE;
    if (header->bytes > PROXY_PROTOCOL_V2_MAX)
        return PROXY_PROTOCOL_E_TOO_LONG;
    if (header->bytes > in.n)
        return PROXY_PROTOCOL_E_MORE;

    in = span_first(in, header->bytes);
    reader_init(&r, span_skip(in, HEADER_V2));
    return body_read(&r, command, family, in, header);
}

int proxy_protocol_parse(struct span in, struct proxy_protocol *ret_header)
{
    struct proxy_protocol header = { 0 };
    bool is_v1 = may_start(in, SIGNATURE_V1), is_v2 = may_start(in, SIGNATURE_V2);
    int r;

    if (!is_v1 && !is_v2)
        return PROXY_PROTOCOL_E_ABSENT;
    if (in.n < (is_v1 ? SIGNATURE_V1.n : SIGNATURE_V2.n))
        return PROXY_PROTOCOL_E_MORE;

    r = is_v1 ? v1_parse(in, &header) : v2_parse(in, &header);
    if (r)
        return r;
    *ret_header = header;
    return 0;
}
