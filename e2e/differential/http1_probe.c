#include "lib/http1/http1.h"
#include <stdio.h>
/*
 * http1_probe.c - what lib/http1 makes of a client's bytes, for http1.py.
 *
 * Reads cases from stdin, each a decimal length, a line end and so many bytes; writes a line
 * for each request that it takes (method, path, content as hex), one for how the connection
 * ends, and an empty line.
 */
#define CASE_MAX ((size_t)1 << 20)

static void hex_print(struct span data)
{
    for (size_t i = 0; i < data.n; i++)
        printf("%02x", (unsigned char)data.p[i]);
}

/* Takes a body off *in; NULL: it is whole. */
static const char *body_take(const struct http1_head *h, struct span *in)
{
    struct http1_body b;

    http1_body_init(&b, h);
    while (!b.is_done && in->n) {
        struct span data;
        size_t bytes;
        int r = http1_body_take(&b, *in, &bytes, &data);

        if (r)
            return http1_error_text(r);
        hex_print(data);
        *in = span_skip(*in, bytes);
    }
    return b.is_done ? NULL : "waiting";
}

/* One request off *in; how the connection ends with it, or NULL: another may follow. */
static const char *request_take(struct span *in)
{
    struct http1_scan scan = { 0 };
    struct http1_head h;
    const char *end;
    int r = http1_request_parse(&scan, *in, &h);

    if (r)
        return r == HTTP1_E_MORE ? "waiting" : http1_error_text(r);
    *in = span_skip(*in, h.bytes);
    printf("request\t" SPAN_FMT "\t" SPAN_FMT "\t", SPAN_ARG(h.method),
           SPAN_ARG(h.path.n ? h.path : h.target));
    end = h.framing == HTTP1_BODY_TUNNEL ? "tunnel" : body_take(&h, in);
    printf("\t%s\n", end && h.framing != HTTP1_BODY_TUNNEL ? "cut" : "whole");
    return end || h.keep_alive ? end : "closed";
}

static void case_run(struct span in)
{
    const char *end = NULL;

    while (!end)
        end = in.n ? request_take(&in) : "done";
    printf("end\t%s\n\n", end);
}

int main(void)
{
    static char bytes[CASE_MAX];
    size_t n;

    while (scanf("%zu", &n) == 1 && getchar() == '\n') {
        if (n > sizeof(bytes) || fread(bytes, 1, n, stdin) != n)
            return 1;
        case_run(span_of(bytes, n));
    }
    return fflush(stdout) ? 1 : 0;
}
