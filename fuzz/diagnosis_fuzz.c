// room: lib/diagnosis
// parser: lib/diagnosis/diagnosis.c lib/diagnosis/order.c
// beside: diagnosis_step_name
#include "lib/diagnosis/diagnosis.h"
#include "lib/diagnosis/order.h"
#include <stdlib.h>

/* What was taken says the same after it was written; nothing in it harms a terminal. */
static void try_diagnosis(const struct json_value *v)
{
    struct diagnosis *d = calloc(2, sizeof(*d));
    struct json_value *again = NULL;
    struct json_error error;
    struct json_writer w;
    struct buf text;

    buf_init_heap(&text, (size_t)1 << 20);
    json_begin(&w, &text);
    if (d && diagnosis_decode(v, d) == 0) {
        diagnosis_encode(d, &w, NULL);
        if (buf_error(&text) || json_parse(buf_span(&text), &again, &error) || diagnosis_decode(again, d + 1) ||
            memcmp(d, d + 1, sizeof(*d)) != 0)
            abort();
        for (const char *p = d->detail; *p; p++) {
            if ((unsigned char)*p < 0x20 || *p == 0x7f)
                abort();
        }
    }
    json_value_free(again);
    buf_deinit(&text);
    free(d);
}

static void try_order(const struct json_value *v)
{
    struct diagnosis_order order;
    struct json_error error;
    struct buf text;

    if (order_decode(v, &order, &error))
        return;
    buf_init_heap(&text, (size_t)1 << 20);
    order_encode(&order, &text);
    if (buf_error(&text) || order.timeout_ms > ORDER_MS_MAX || order.port < 1 || order.port > 65535)
        abort();
    buf_deinit(&text);
    order_deinit(&order);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_value *v = NULL;
    struct json_error error;

    if (json_parse(span_of(data, size), &v, &error))
        return 0;
    try_diagnosis(v);
    try_order(v);
    json_value_free(v);
    return 0;
}
