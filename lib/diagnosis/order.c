#include "lib/diagnosis/order.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define AT(member) offsetof(struct diagnosis_order, member), sizeof_field(struct diagnosis_order, member)

static const struct json_field fields[] = {
    { "id", J_TEXT, AT(id), ULID_LEN, ULID_LEN, JSON_REQUIRED },
    { "agent", J_TEXT, AT(agent), ULID_LEN, ULID_LEN, JSON_REQUIRED },
    { "host", J_TEXT, AT(host), 1, ORDER_HOST_MAX, JSON_REQUIRED },
    { "port", J_INT, AT(port), 1, 65535, JSON_REQUIRED },
    { "resolve_to", J_STRS, AT(resolve_to), 0, ORDER_RESOLVE_MAX, 0 },
    { "ranges", J_STRS, AT(ranges), 0, ORDER_RANGES_MAX, 0 },
    { "special", J_BOOL, AT(allow_special), 0, 0, 0 },
    { "tls_name", J_TEXT, AT(tls_name), 1, ORDER_HOST_MAX, 0 },
    { "timeout_ms", J_INT, AT(timeout_ms), ORDER_MS_MIN, ORDER_MS_MAX, JSON_REQUIRED },
    { "principal", J_TEXT, AT(principal), 1, ORDER_NAME_MAX, 0 },
    { "grant", J_TEXT, AT(grant), ULID_LEN, ULID_LEN, 0 },
    { "profile", J_TEXT, AT(profile), ULID_LEN, ULID_LEN, 0 },
};

void order_encode(const struct diagnosis_order *o, struct buf *out)
{
    json_encode(o, fields, ARRAY_LEN(fields), out);
}

static bool are_ids(const struct diagnosis_order *o)
{
    struct ulid id;

    return ulid_parse(span_str(o->id), &id) && ulid_parse(span_str(o->agent), &id);
}

/* What a later control plane says beside is for later relays. */
int order_decode(const struct json_value *v, struct diagnosis_order *ret_order, struct json_error *reterr)
{
    int r;

    memset(ret_order, 0, sizeof(*ret_order));
    r = json_decode(v, fields, ARRAY_LEN(fields), JSON_ALLOW_UNKNOWN, ret_order, reterr);
    if (r || are_ids(ret_order))
        return r;
    order_deinit(ret_order);
    snprintf(reterr->message, sizeof(reterr->message), "ids must be ULIDs");
    return -EINVAL;
}

void order_deinit(struct diagnosis_order *o)
{
    json_free_fields(fields, ARRAY_LEN(fields), o);
}
