#include "lib/http1/chars.h"
#include "lib/http1/http1.h"
#include <string.h>

enum {
    AT_SIZE,                /* digits of a chunk size */
    AT_EXTENSION,
    AT_SIZE_END,            /* the LF behind the size */
    AT_DATA,
    AT_DATA_CR,
    AT_DATA_LF,
    AT_TRAILER,             /* first byte of a trailer line, or the CR of the empty one */
    AT_TRAILER_NAME,
    AT_TRAILER_VALUE,
    AT_TRAILER_LF,
    AT_END_LF,
    AT_COUNT
};

void http1_body_init(struct http1_body *b, const struct http1_head *h)
{
    *b = (struct http1_body){ .framing = h->framing, .left = h->body_bytes };
    if (b->framing == HTTP1_BODY_CHUNKED)
        b->left = 0;
    b->is_done = b->framing == HTTP1_BODY_NONE || (b->framing == HTTP1_BODY_LENGTH && !b->left);
}

static int hex_digit(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Each at_…() takes one byte; refused, it changes nothing. */
static int at_size(struct http1_body *b, unsigned char c)
{
    int digit = hex_digit(c);

    if (digit >= 0) {
        if (b->count == 16 || b->left > INT64_MAX >> 4)
            return HTTP1_E_CHUNK_SIZE;
        b->left = b->left << 4 | (unsigned)digit;
        b->count++;
        return 0;
    }
    if (b->count == 0 || (c != '\r' && c != ';'))
        return HTTP1_E_CHUNK_SIZE;
    b->count = 0;
    b->state = c == ';' ? AT_EXTENSION : AT_SIZE_END;
    return 0;
}

/* An extension means nothing to anybody; it is passed on if its bytes are plain. */
static int at_extension(struct http1_body *b, unsigned char c)
{
    if (c == '\r') {
        b->state = AT_SIZE_END;
        return 0;
    }
    if (b->count == HTTP1_EXTENSION_MAX || c >= 0x80 || !chars_is(c, CHARS_TEXT))
        return HTTP1_E_CHUNK_EXTENSION;
    b->count++;
    return 0;
}

static int at_size_end(struct http1_body *b, unsigned char c)
{
    if (c != '\n')
        return HTTP1_E_CHUNK_SIZE;
    b->count = 0;
    b->state = b->left ? AT_DATA : AT_TRAILER;
    return 0;
}

static int expect(struct http1_body *b, unsigned char c, char wanted, unsigned next, int error)
{
    if (c != (unsigned char)wanted)
        return error;
    b->state = next;
    return 0;
}

static int at_data_cr(struct http1_body *b, unsigned char c)
{
    return expect(b, c, '\r', AT_DATA_LF, HTTP1_E_CHUNK_END);
}

static int at_data_lf(struct http1_body *b, unsigned char c)
{
    b->count = 0;
    return expect(b, c, '\n', AT_SIZE, HTTP1_E_CHUNK_END);
}

/* What says how to read, route or trust the message comes before it, never after. */
static bool may_be_trailer(struct span name)
{
    static const char *const never[] = {
        "transfer-encoding", "content-length", "host", "connection", "keep-alive", "te", "trailer",
        "upgrade", "expect", "max-forwards", "range", "cache-control", "authorization",
        "www-authenticate", "cookie", "set-cookie", "content-encoding", "content-type",
        "content-range", "location", "forwarded", "forwarded-for", "x-forwarded", "x-real-ip",
        "client-ip", "x-client-ip", "true-client-ip", "x-cluster-client-ip", "cf-connecting-ip",
        "x-originating-ip", "via", "proxy",
    };
    static const char *const begins[] = {
        "proxy-", "x-forwarded-", "remote-", "x-remote-", "x-original-", "x-rewrite-",
    };

    for (size_t i = 0; i < ARRAY_LEN(never); i++) {
        if (span_eq(name, span_str(never[i])))
            return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(begins); i++) {
        if (span_starts(name, span_str(begins[i])))
            return false;
    }
    return true;
}

static int at_trailer_name(struct http1_body *b, unsigned char c)
{
    if (b->count == HTTP1_TRAILERS_MAX)
        return HTTP1_E_TRAILERS_TOO_LARGE;
    if (c == ':') {
        if (!b->name_bytes || !may_be_trailer(span_of(b->name, b->name_bytes)))
            return HTTP1_E_TRAILER;
        b->state = AT_TRAILER_VALUE;
    } else {
        if (!chars_is(c, CHARS_TOKEN) || b->name_bytes == sizeof(b->name))
            return HTTP1_E_TRAILER;
        b->name[b->name_bytes++] = chars_fold((char)c);
    }
    b->count++;
    return 0;
}

static int at_trailer(struct http1_body *b, unsigned char c)
{
    if (c == '\r') {
        b->state = AT_END_LF;
        return 0;
    }
    b->name_bytes = 0;
    b->state = AT_TRAILER_NAME;
    return at_trailer_name(b, c);
}

static int at_trailer_value(struct http1_body *b, unsigned char c)
{
    if (c == '\r') {
        b->state = AT_TRAILER_LF;
        return 0;
    }
    if (!chars_is(c, CHARS_TEXT))
        return HTTP1_E_TRAILER;
    if (b->count == HTTP1_TRAILERS_MAX)
        return HTTP1_E_TRAILERS_TOO_LARGE;
    b->count++;
    return 0;
}

static int at_trailer_lf(struct http1_body *b, unsigned char c)
{
    return expect(b, c, '\n', AT_TRAILER, HTTP1_E_TRAILER);
}

static int at_end_lf(struct http1_body *b, unsigned char c)
{
    if (c != '\n')
        return HTTP1_E_TRAILER;
    b->is_done = true;
    return 0;
}

static int (*const steps[AT_COUNT])(struct http1_body *, unsigned char) = {
    [AT_SIZE] = at_size,
    [AT_EXTENSION] = at_extension,
    [AT_SIZE_END] = at_size_end,
    [AT_DATA_CR] = at_data_cr,
    [AT_DATA_LF] = at_data_lf,
    [AT_TRAILER] = at_trailer,
    [AT_TRAILER_NAME] = at_trailer_name,
    [AT_TRAILER_VALUE] = at_trailer_value,
    [AT_TRAILER_LF] = at_trailer_lf,
    [AT_END_LF] = at_end_lf,
};

static struct span data_take(struct http1_body *b, struct span in)
{
    struct span data = b->left < in.n ? span_first(in, (size_t)b->left) : in;

    b->left -= data.n;
    return data;
}

/* Framing, one run of data, framing: up to the next run.  What stands before a bad byte is
 * given out first, so that the split of the input changes nothing. */
static int chunked_take(struct http1_body *b, struct span in, size_t *ret_bytes,
                        struct span *ret_data)
{
    size_t at = 0;

    while (at < in.n && !b->is_done) {
        int r;

        if (b->state == AT_DATA) {
            if (ret_data->n)
                break;
            *ret_data = data_take(b, span_skip(in, at));
            at += ret_data->n;
            b->state = b->left ? AT_DATA : AT_DATA_CR;
            continue;
        }
        r = steps[b->state](b, (unsigned char)in.p[at]);
        if (r && at == 0)
            return r;
        if (r)
            break;
        at++;
    }
    *ret_bytes = at;
    return 0;
}

int http1_body_take(struct http1_body *b, struct span in, size_t *ret_bytes,
                    struct span *ret_data)
{
    *ret_bytes = 0;
    *ret_data = SPAN_NONE;
    if (b->is_done)
        return 0;
    if (b->framing == HTTP1_BODY_CHUNKED)
        return chunked_take(b, in, ret_bytes, ret_data);

    *ret_data = b->framing == HTTP1_BODY_LENGTH ? data_take(b, in) : in;
    *ret_bytes = ret_data->n;
    b->is_done = b->framing == HTTP1_BODY_LENGTH && b->left == 0;
    return 0;
}
