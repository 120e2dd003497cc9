// room: controlplane/domain
// parser: controlplane/domain/check.c controlplane/domain/when.c
#include "controlplane/domain/check.h"
#include "controlplane/domain/when.h"
#include <stdlib.h>

/* The first byte chooses the leaf.  What is taken is canonical: taken again, it is itself. */
static const struct check_limits limits = { 0, 500, "active disabled" };

static enum check_result run(enum leaf leaf, struct span text, struct buf *out)
{
    const char *message;
    enum check_result r = check_text(leaf, &limits, text, out, &message);

    if (!message || !message[0])
        abort();
    return r;
}

static void check_again(enum leaf leaf, struct span canonical)
{
    AUTO(buf_deinit) struct buf again;

    buf_init_heap(&again, 4096);
    if (run(leaf, canonical, &again) != CHECK_OK || !span_eq(buf_span(&again), canonical))
        abort();
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    AUTO(buf_deinit) struct buf out;
    struct span text;
    enum leaf leaf;
    int64_t ms;

    buf_init_heap(&out, 4096);
    if (!size)
        return 0;
    leaf = data[0] % LEAF_COUNT;
    text = span_of(data + 1, size - 1);
    if (run(leaf, text, &out) == CHECK_OK && !buf_error(&out))
        check_again(leaf, buf_span(&out));
    if (when_parse(text, &ms)) {
        char formatted[WHEN_TEXT_MAX];
        int64_t again;

        if (!when_parse(span_str(when_format(ms, formatted)), &again) || again > ms || ms - again >= 1000)
            abort();
    }
    check_label_key(text);
    scope_covers(text, text);
    return 0;
}
