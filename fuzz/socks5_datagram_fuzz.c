// room: dataplane/doors
// parser: dataplane/doors/socks5.c
// beside: socks5_error_reply socks5_error_text socks5_method_write socks5_password_write socks5_reply_write is_wrong is_zero socks5_greeting_parse has_control text_read socks5_password_parse command_read socks5_request_parse is_visible
#include "dataplane/doors/socks5.h"
#include <stdlib.h>
#include <string.h>
/*
 * The header of a SOCKS5 datagram: what was found lies inside the input and nothing is lost, and
 * what is written of it is read as the same.
 */
#define CHECK(condition) do { if (!(condition)) __builtin_trap(); } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool is_inside(struct span part, struct span whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static void check_again(const struct socks5_datagram *d)
{
    size_t n = SOCKS5_DATAGRAM_HEADER_MAX + d->bytes.n;
    unsigned char *mem = malloc(n);
    struct socks5_datagram again;
    struct buf out;

    buf_init_fixed(&out, mem, n);
    socks5_datagram_write(&out, d);
    CHECK(!buf_error(&out));
    CHECK(socks5_datagram_parse(buf_span(&out), &again) == 0);
    CHECK(span_eq(again.name, d->name) && again.port == d->port && span_eq(again.bytes, d->bytes));
    CHECK(d->name.n || addr_eq(&again.addr, &d->addr));
    free(mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct socks5_datagram d = { .name = SPAN_NONE };
    struct span in = span_of(data, n);
    int r = socks5_datagram_parse(in, &d);

    CHECK(r >= 0 && r < SOCKS5_E_COUNT);
    if (r)
        return 0;
    CHECK(is_inside(d.name, in) && is_inside(d.bytes, in) && d.port);
    CHECK(d.bytes.p + d.bytes.n == in.p + in.n);
    check_again(&d);
    return 0;
}
