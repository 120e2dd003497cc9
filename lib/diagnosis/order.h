#pragma once
#include "lib/base/ulid.h"
#include "lib/json/json.h"
/*
 * order.h - what an agent is to try, as the control plane decided it: the target, where it resolves
 * to, which addresses are permitted.  A relay opens a stream with it as it stands.
 *
 * Units      milliseconds.
 * Ownership  order_deinit() frees what order_decode() made.
 * Errors     -EINVAL with reterr; -ENOMEM.
 * Threads    no state.
 */
#define ORDER_BYTES_MAX ((size_t)16 << 10)
#define ORDER_HOST_MAX 253
#define ORDER_NAME_MAX 63
#define ORDER_RESOLVE_MAX 16
#define ORDER_RANGES_MAX 64
#define ORDER_MS_MIN 100
#define ORDER_MS_MAX 15000

struct diagnosis_order {
    char id[ULID_LEN + 1], agent[ULID_LEN + 1];
    char host[ORDER_HOST_MAX + 1];
    int64_t port;
    struct json_strs resolve_to;        /* addresses, or one "unix:/path"; none: the agent resolves */
    struct json_strs ranges;            /* permitted; none: the agent's policy decides alone */
    bool allow_special;
    char tls_name[ORDER_HOST_MAX + 1];  /* shake hands, and that name is to be proved; "": do not */
    int64_t timeout_ms;                 /* for all of it */
    char principal[ORDER_NAME_MAX + 1];
    char grant[ULID_LEN + 1], profile[ULID_LEN + 1];    /* what allows it; "": an operator asks */
};

void order_encode(const struct diagnosis_order *o, struct buf *out);
MUST_CHECK int order_decode(const struct json_value *v, struct diagnosis_order *ret_order, struct json_error *reterr);
void order_deinit(struct diagnosis_order *o);
