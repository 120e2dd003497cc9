#include "lib/http1/chars.h"
#include "lib/http1/head.h"

static const struct span name_length = { "Content-Length", 14 };
static const struct span name_coding = { "Transfer-Encoding", 17 };
static const struct span name_connection = { "Connection", 10 };

static int length_read(struct span value, struct framing *ret_framing)
{
    if (!span_to_u64(value, INT64_MAX, &ret_framing->length))
        return HTTP1_E_LENGTH_INVALID;
    ret_framing->has_length = true;
    return 0;
}

/* Just "chunked" is taken; the rest is told apart for the answer. */
static int coding_read(struct span value, struct framing *ret_framing)
{
    struct span rest = value, coding = SPAN_NONE;
    unsigned chunked = 0, others = 0;

    while (span_cut(&rest, ',', &coding)) {
        coding = span_trim(coding);
        if (span_eq_nocase(coding, SPAN("chunked")))
            chunked++;
        else
            others++;
    }
    if (chunked > 1)
        return HTTP1_E_CODING_REPEATED;
    if (!span_eq_nocase(coding, SPAN("chunked")))
        return HTTP1_E_CODING_NOT_LAST;
    if (others)
        return HTTP1_E_CODING_UNKNOWN;

    ret_framing->is_chunked = true;
    return 0;
}

/* "Content_Length" is another field here and the same one to a CGI program behind. */
static int look_alikes_refuse(const struct http1_head *h)
{
    for (size_t i = 0; i < h->field_count; i++) {
        struct span name = h->fields[i].name;

        if (span_find(name, '_') < name.n
            && (chars_same_name(name, name_length) || chars_same_name(name, name_coding)))
            return HTTP1_E_FIELD_NAME;
    }
    return 0;
}

/* A field named by Connection is removed on the way: never one that the body hangs on. */
static int connection_check(const struct http1_head *h)
{
    static const struct span never[] = {
        { "content-length", 14 }, { "transfer-encoding", 17 }, { "host", 4 },
    };

    for (size_t i = 0; i < ARRAY_LEN(never); i++) {
        if (http1_has_token(h, name_connection, never[i]))
            return HTTP1_E_CONNECTION_NAMES;
    }
    return look_alikes_refuse(h);
}

int framing_read(const struct http1_head *h, struct framing *ret_framing)
{
    size_t lengths = http1_count(h, name_length), codings = http1_count(h, name_coding);
    struct span value;

    *ret_framing = (struct framing){ 0 };
    if (lengths && codings)
        return HTTP1_E_LENGTH_AND_CODING;
    if (lengths > 1)
        return HTTP1_E_LENGTH_REPEATED;
    if (codings > 1)
        return HTTP1_E_CODING_REPEATED;
    if (codings && h->minor == 0)
        return HTTP1_E_CODING_VERSION;

    if (http1_find(h, name_length, &value)) {
        int r = length_read(value, ret_framing);

        if (r)
            return r;
    }
    if (http1_find(h, name_coding, &value)) {
        int r = coding_read(value, ret_framing);

        if (r)
            return r;
    }
    return connection_check(h);
}

void framing_apply(const struct framing *f, enum http1_framing without, struct http1_head *h)
{
    h->framing = f->is_chunked ? HTTP1_BODY_CHUNKED : f->has_length ? HTTP1_BODY_LENGTH : without;
    h->body_bytes = f->length;
}

bool framing_keep_alive(const struct http1_head *h)
{
    if (h->framing == HTTP1_BODY_CLOSE || h->framing == HTTP1_BODY_TUNNEL
        || http1_has_token(h, name_connection, SPAN("close")))
        return false;
    return h->minor == 1 || http1_has_token(h, name_connection, SPAN("keep-alive"));
}
