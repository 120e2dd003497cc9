// room: dataplane/doors
// parser: dataplane/doors/socks5.c
// beside: socks5_error_reply socks5_error_text socks5_method_write socks5_password_write socks5_reply_write address_write socks5_datagram_parse socks5_datagram_write
#include "dataplane/doors/socks5.h"
/*
 * The first byte chooses the message.  Byte by byte it gives the same answer as all at once,
 * and what was found lies inside the input.
 */
#define CHECK(condition) do { if (!(condition)) __builtin_trap(); } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct answer {
    int r;
    size_t bytes;
};

static bool is_inside(struct span part, struct span whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static struct answer greeting(struct span in)
{
    struct socks5_greeting g = { 0 };
    int r = socks5_greeting_parse(in, &g);

    CHECK(g.bytes <= SOCKS5_GREETING_MAX);
    return (struct answer){ r, g.bytes };
}

static struct answer password(struct span in)
{
    struct socks5_password p = { 0 };
    int r = socks5_password_parse(in, &p);

    CHECK(is_inside(p.user, in) && is_inside(p.secret, in));
    CHECK(r || (p.user.n && p.secret.n));
    CHECK(p.bytes <= SOCKS5_PASSWORD_MAX);
    return (struct answer){ r, p.bytes };
}

static struct answer request(struct span in)
{
    struct socks5_request q = { 0 };
    int r = socks5_request_parse(in, &q);

    CHECK(is_inside(q.name, in));
    CHECK(r || q.port || q.command != SOCKS5_CONNECT);
    CHECK(q.bytes <= SOCKS5_REQUEST_MAX);
    return (struct answer){ r, q.bytes };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct answer (*const parsers[])(struct span) = { greeting, password, request };
    struct answer whole, split = { SOCKS5_E_MORE, 0 };
    struct span in;

    if (n == 0)
        return 0;
    in = span_of(data + 1, n - 1);
    whole = parsers[data[0] % ARRAY_LEN(parsers)](in);
    for (size_t have = 0; have <= in.n && split.r == SOCKS5_E_MORE; have++)
        split = parsers[data[0] % ARRAY_LEN(parsers)](span_first(in, have));
    CHECK(split.r == whole.r && split.bytes == whole.bytes && whole.bytes <= in.n);
    CHECK(whole.r >= 0 && whole.r < SOCKS5_E_COUNT);
    return 0;
}
