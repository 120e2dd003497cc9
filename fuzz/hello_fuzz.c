// room: lib/tunnel
// parser: lib/tunnel/hello.c
// beside: hello_proof hello_proof_is_right put_signed hello_sign hello_check_signature hello_order
#include "lib/tunnel/hello.h"

#include <stdint.h>
#include <stdlib.h>

/* What was taken is taken again after it was written, and says the same. */
static void try_side(struct span json, bool is_accepting_side)
{
    struct tunnel_hello h = { 0 }, again = { 0 };
    struct json_error e;
    struct buf text;

    if (hello_decode(json, is_accepting_side, &h, &e))
        return;
    buf_init_heap(&text, 262144);
    hello_encode(&h, &text);
    if (buf_error(&text) || hello_decode(buf_span(&text), is_accepting_side, &again, &e))
        abort();
    if (again.starts != h.starts || again.credential != h.credential ||
        !span_eq_secret(span_of(again.nonce, TUNNEL_NONCE_LEN), span_of(h.nonce, TUNNEL_NONCE_LEN)))
        abort();
    buf_deinit(&text);
    hello_deinit(&again);
    hello_deinit(&h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_side(span_of(data, size), true);
    try_side(span_of(data, size), false);
    return 0;
}
