// room: agent/look
// parser: agent/look/look.c
// beside: look_judge verify expect_name put_parameters
#include "agent/look/look.h"
#include <stdlib.h>

/* A certificate as hostile as its target, and a handshake with whatever it answers. */
static void check_text(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            abort();
    }
}

static void try_certificate(struct span der)
{
    struct diagnosis_certificate c;

    if (!look_certificate(der, &c))
        return;
    check_text(c.subject);
    check_text(c.issuer);
    for (size_t i = 0; i < c.name_count; i++)
        check_text(c.names[i]);
}

static void try_handshake(struct span bytes)
{
    struct look *l = NULL;
    struct buf out;

    buf_init_heap(&out, LOOK_OUT_MAX);
    if (look_new("wiki.test", &l) == 0 && look_step(l, SPAN_NONE, &out) == LOOK_GOES_ON &&
        look_step(l, bytes, &out) == LOOK_FAILED)
        check_text(look_failure(l));
    if (l)
        look_free(l);
    buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of(data, size);

    if (!size)
        return 0;
    if (data[0] == 'h')
        try_handshake(span_skip(in, 1));
    else
        try_certificate(in);
    return 0;
}
