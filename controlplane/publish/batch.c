#include "controlplane/publish/publish_internal.h"
#include "lib/log/log.h"
#include "lib/state/record_codec.h"

#include <errno.h>
#include <string.h>

void batch_init(struct batch *b, bool is_full)
{
    *b = (struct batch){ .is_full = is_full };
    buf_init_heap(&b->lines, DOCUMENT_SIZE_MAX);
}

void batch_deinit(struct batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        record_unref(b->changes[i].put);
    free(b->changes);
    free(b->ids);
    buf_deinit(&b->lines);
}

static int batch_grow(struct batch *b)
{
    size_t room = b->room ? 2 * b->room : 64;
    struct policy_change *changes;
    struct ids *ids;

    if (b->count < b->room)
        return 0;
    changes = realloc(b->changes, room * sizeof(*changes));
    if (!changes)
        return -ENOMEM;
    b->changes = changes;
    ids = realloc(b->ids, room * sizeof(*ids));
    if (!ids)
        return -ENOMEM;
    b->ids = ids;
    b->room = room;
    return 0;
}

/* What a relay could not read is withheld, so that it grants nothing. */
static int decode(const struct store_change *c, enum record_kind kind, struct record **ret_record)
{
    struct state_error error = { "" };
    int r;

    r = record_decode(kind, c->id, c->json, ret_record, &error);
    if (r == DOCUMENT_E_REJECTED) {
        LOG(ERROR, "publish.record-withheld", S("kind", c->kind), SP("id", c->id),
            S("detail", error.text));
        return 0;
    }
    return r;
}

static int put_line(struct batch *b, const struct store_change *c, bool is_put)
{
    if (is_put)
        buf_printf(&b->lines, "+%s " SPAN_FMT " " SPAN_FMT "\n", c->kind, SPAN_ARG(c->id), SPAN_ARG(c->json));
    else
        buf_printf(&b->lines, "-%s " SPAN_FMT "\n", c->kind, SPAN_ARG(c->id));
    b->line_count++;
    return buf_error(&b->lines);
}

/* A newer control plane on the same database has put it there: relays judge it themselves. */
static int pass_on(struct batch *b, const struct store_change *c)
{
    struct span parts[] = { span_str(c->kind), c->id, c->json };

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (span_find(parts[i], '\n') < parts[i].n || (i < 2 && span_find(parts[i], ' ') < parts[i].n))
            return -EINVAL;
    }
    return !c->json.p && b->is_full ? 0 : put_line(b, c, c->json.p != NULL);
}

int batch_add(void *ctx, const struct store_change *c)
{
    struct batch *b = ctx;
    struct policy_change *change;
    enum record_kind kind;
    int r;

    if (!record_kind_parse(span_str(c->kind), &kind))
        return pass_on(b, c);
    r = batch_grow(b);
    if (r)
        return r;
    change = &b->changes[b->count];
    *change = (struct policy_change){ .kind = kind };
    if (!span_copy(c->id, b->ids[b->count].text, sizeof(b->ids[0].text)))
        return -EINVAL;
    if (c->json.p)
        r = decode(c, kind, &change->put);
    if (r == DOCUMENT_E_TOO_NEW)
        return pass_on(b, c);
    if (r || (!change->put && b->is_full))
        return r;
    b->count++;
    return put_line(b, c, change->put != NULL);
}

/* The ids moved while the batch grew: they are pointed at last. */
int batch_apply(struct batch *b, const struct policy *base, struct policy **ret_policy)
{
    for (size_t i = 0; i < b->count; i++)
        b->changes[i].id = span_str(b->ids[i].text);
    return policy_apply(base, b->changes, b->count, ret_policy);
}
