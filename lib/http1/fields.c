#include "lib/http1/http1.h"

bool http1_find(const struct http1_head *h, struct span name, struct span *ret_value)
{
    for (size_t i = 0; i < h->field_count; i++) {
        if (span_eq_nocase(h->fields[i].name, name)) {
            *ret_value = h->fields[i].value;
            return true;
        }
    }
    return false;
}

size_t http1_count(const struct http1_head *h, struct span name)
{
    size_t count = 0;

    for (size_t i = 0; i < h->field_count; i++)
        count += span_eq_nocase(h->fields[i].name, name);
    return count;
}

static bool list_has(struct span list, struct span token)
{
    struct span part;

    while (span_cut(&list, ',', &part)) {
        if (span_eq_nocase(span_trim(part), token))
            return true;
    }
    return false;
}

bool http1_has_token(const struct http1_head *h, struct span name, struct span token)
{
    for (size_t i = 0; i < h->field_count; i++) {
        if (span_eq_nocase(h->fields[i].name, name) && list_has(h->fields[i].value, token))
            return true;
    }
    return false;
}

bool http1_is_hop_by_hop(const struct http1_head *h, struct span name)
{
    static const struct span always[] = {
        { "Connection", 10 }, { "Keep-Alive", 10 },         { "TE", 2 },
        { "Upgrade", 7 },     { "Transfer-Encoding", 17 },  { "Proxy", 5 },
    };

    for (size_t i = 0; i < ARRAY_LEN(always); i++) {
        if (span_eq_nocase(name, always[i]))
            return true;
    }
    return span_eq_nocase(span_first(name, 6), SPAN("Proxy-"))
        || http1_has_token(h, SPAN("Connection"), name);
}
