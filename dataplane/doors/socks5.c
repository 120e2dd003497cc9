#include "dataplane/doors/socks5.h"
#include <string.h>

#define VERSION 5
#define PASSWORD_VERSION 1

enum { TYPE_V4 = 1, TYPE_NAME = 3, TYPE_V6 = 4 };

static const struct {
    enum socks5_reply reply;
    const char *text;
} errors[SOCKS5_E_COUNT] = {
    [SOCKS5_E_MORE] = { SOCKS5_SILENT, "the message is not whole" },
#define SOCKS5_ERROR(name, reply, text) [SOCKS5_E_##name] = { reply, text },
    SOCKS5_ERRORS(SOCKS5_ERROR)
#undef SOCKS5_ERROR
};

enum socks5_reply socks5_error_reply(int error)
{
    return error > 0 && error < SOCKS5_E_COUNT ? errors[error].reply : SOCKS5_FAILURE;
}

const char *socks5_error_text(int error)
{
    return error > 0 && error < SOCKS5_E_COUNT ? errors[error].text : "something failed inside";
}

/* Checks go byte by byte in the order of the wire, and one whose byte is not there passes: the
 * first bad byte decides, however the bytes arrive. */
static bool is_wrong(const struct reader *r, uint8_t value, uint8_t wanted)
{
    return !r->error && value != wanted;
}

static bool is_zero(const struct reader *r, uint8_t value)
{
    return !r->error && value == 0;
}

int socks5_greeting_parse(struct span in, struct socks5_greeting *ret_greeting)
{
    struct socks5_greeting greeting;
    struct span methods;
    struct reader r;
    uint8_t count;

    reader_init(&r, in);
    if (is_wrong(&r, read_u8(&r), VERSION))
        return SOCKS5_E_VERSION;
    count = read_u8(&r);
    if (is_zero(&r, count))
        return SOCKS5_E_METHODS;
    methods = read_span(&r, count);
    if (r.error)
        return SOCKS5_E_MORE;

    greeting.bytes = in.n - r.n;
    greeting.has_none = span_find(methods, SOCKS5_METHOD_NONE) < methods.n;
    greeting.has_password = span_find(methods, SOCKS5_METHOD_PASSWORD) < methods.n;
    *ret_greeting = greeting;
    return 0;
}

/* Bytes that HTTP's Basic credentials may hold too: one secret works at both doors. */
static bool has_control(struct span text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];

        if (c < 0x20 || c == 0x7f)
            return true;
    }
    return false;
}

static int text_read(struct reader *r, int error, struct span *ret_text)
{
    uint8_t n = read_u8(r);

    if (is_zero(r, n))
        return error;
    *ret_text = read_span(r, n);
    if (r->error)
        return SOCKS5_E_MORE;
    return has_control(*ret_text) ? error : 0;
}

int socks5_password_parse(struct span in, struct socks5_password *ret_password)
{
    struct socks5_password password;
    struct reader reader;
    int r;

    reader_init(&reader, in);
    if (is_wrong(&reader, read_u8(&reader), PASSWORD_VERSION))
        return SOCKS5_E_PASSWORD_VERSION;
    r = text_read(&reader, SOCKS5_E_USER, &password.user);
    if (r)
        return r;
    r = text_read(&reader, SOCKS5_E_SECRET, &password.secret);
    if (r)
        return r;

    password.bytes = in.n - reader.n;
    *ret_password = password;
    return 0;
}

static bool is_visible(struct span text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] <= ' ' || text.p[i] > '~')
            return false;
    }
    return text.n > 0;
}

static int v6_read(struct reader *r, struct socks5_request *request)
{
    struct span ip = read_span(r, sizeof(request->addr.ip));

    if (r->error)
        return SOCKS5_E_MORE;
    memcpy(request->addr.ip, ip.p, ip.n);
    return 0;
}

static int v4_read(struct reader *r, struct socks5_request *request)
{
    struct span ip = read_span(r, 4);

    if (r->error)
        return SOCKS5_E_MORE;
    request->addr = addr_v4((uint8_t)ip.p[0], (uint8_t)ip.p[1], (uint8_t)ip.p[2],
                            (uint8_t)ip.p[3]);
    return 0;
}

/* A name that is the text of an address is that address: rules for addresses hold for it. */
static int name_read(struct reader *r, struct socks5_request *request)
{
    uint8_t n = read_u8(r);
    struct span name;

    if (is_zero(r, n))
        return SOCKS5_E_NAME;
    name = read_span(r, n);
    if (r->error)
        return SOCKS5_E_MORE;
    if (!is_visible(name))
        return SOCKS5_E_NAME;
    if (!addr_parse(name, &request->addr))
        request->name = name;
    return 0;
}

static int target_read(struct reader *r, struct socks5_request *request)
{
    uint8_t type = read_u8(r);

    if (r->error)
        return SOCKS5_E_MORE;
    switch (type) {
    case TYPE_V4:
        return v4_read(r, request);
    case TYPE_NAME:
        return name_read(r, request);
    case TYPE_V6:
        return v6_read(r, request);
    default:
        return SOCKS5_E_ADDRESS_TYPE;
    }
}

static int command_read(struct reader *r, enum socks5_command *ret_command)
{
    uint8_t command;

    if (is_wrong(r, read_u8(r), VERSION))
        return SOCKS5_E_VERSION;
    command = read_u8(r);
    if (!r->error && (command < SOCKS5_CONNECT || command > SOCKS5_UDP_ASSOCIATE))
        return SOCKS5_E_COMMAND;
    if (is_wrong(r, read_u8(r), 0))
        return SOCKS5_E_RESERVED;
    *ret_command = (enum socks5_command)command;
    return 0;
}

int socks5_request_parse(struct span in, struct socks5_request *ret_request)
{
    struct socks5_request request = { .name = SPAN_NONE };
    struct reader reader;
    int r;

    reader_init(&reader, in);
    r = command_read(&reader, &request.command);
    if (r)
        return r;
    r = target_read(&reader, &request);
    if (r)
        return r;
    request.port = read_u16(&reader);
    if (reader.error)
        return SOCKS5_E_MORE;
    if (request.port == 0 && request.command == SOCKS5_CONNECT)
        return SOCKS5_E_PORT;

    request.bytes = in.n - reader.n;
    *ret_request = request;
    return 0;
}

void socks5_method_write(struct buf *out, enum socks5_method method)
{
    buf_put_u8(out, VERSION);
    buf_put_u8(out, (uint8_t)method);
}

void socks5_password_write(struct buf *out, bool is_accepted)
{
    buf_put_u8(out, PASSWORD_VERSION);
    buf_put_u8(out, is_accepted ? 0 : 1);
}

static void address_write(struct buf *out, const struct addr *addr)
{
    bool is_v4 = addr_is_v4(addr);

    buf_put_u8(out, is_v4 ? TYPE_V4 : TYPE_V6);
    if (is_v4)
        buf_put(out, addr->ip + 12, 4);
    else
        buf_put(out, addr->ip, sizeof(addr->ip));
}

void socks5_reply_write(struct buf *out, enum socks5_reply reply, const struct endpoint *bound)
{
    const struct endpoint nowhere = { .addr = addr_v4(0, 0, 0, 0) };
    const struct endpoint *e = bound && bound->kind == ENDPOINT_IP ? bound : &nowhere;

    buf_put_u8(out, VERSION);
    buf_put_u8(out, (uint8_t)reply);
    buf_put_u8(out, 0);
    address_write(out, &e->addr);
    buf_put_u16(out, e->port);
}

/* --- datagrams ---------------------------------------------------------------------------- */

int socks5_datagram_parse(struct span in, struct socks5_datagram *ret_datagram)
{
    struct socks5_request to = { .name = SPAN_NONE };
    struct reader reader;
    int r;

    reader_init(&reader, in);
    if (is_wrong(&reader, read_u8(&reader), 0) || is_wrong(&reader, read_u8(&reader), 0))
        return SOCKS5_E_RESERVED;
    if (is_wrong(&reader, read_u8(&reader), 0))
        return SOCKS5_E_FRAGMENT;
    r = target_read(&reader, &to);
    if (r)
        return r;
    to.port = read_u16(&reader);
    if (reader.error)
        return SOCKS5_E_MORE;
    if (to.port == 0)
        return SOCKS5_E_PORT;

    *ret_datagram = (struct socks5_datagram){ to.name, to.addr, to.port, span_skip(in, in.n - reader.n) };
    return 0;
}

void socks5_datagram_write(struct buf *out, const struct socks5_datagram *datagram)
{
    buf_put_u16(out, 0);
    buf_put_u8(out, 0);
    if (datagram->name.n) {
        buf_put_u8(out, TYPE_NAME);
        buf_put_u8(out, (uint8_t)datagram->name.n);
        buf_put_span(out, datagram->name);
    } else {
        address_write(out, &datagram->addr);
    }
    buf_put_u16(out, datagram->port);
    buf_put_span(out, datagram->bytes);
}
