#include "controlplane/routes/expect.h"
#include "controlplane/domain/kind.h"
#include "controlplane/routes/doc.h"
#include "lib/policy/decide.h"

#include <errno.h>
#include <string.h>

struct expectation {
    struct ulid id, user, group;
    char name[STORE_NAME_MAX + 1], broken_by[RECORD_NAME_MAX + 1];
    struct target target;
    struct addr source;
    bool is_allow, is_broken[2];        /* before, after */
    enum reason reason;
};

struct expectations {
    struct expectation *items;          /* by group, those on users first */
    size_t count;
    int64_t now_ms;
    size_t decisions;
    bool is_truncated;
};

static struct store_query query_of(void)
{
    return (struct store_query){ .source = STORE_OBJECTS, .kind = kind_at(KIND_EXPECTATION)->name,
                                 .limit = STORE_LIMIT_MAX };
}

static int note_one(void *ctx, const struct store_object *row)
{
    (void)row;
    *(bool *)ctx = true;
    return 0;
}

int expectations_exist(struct store_tx *tx, bool *ret_exist)
{
    AUTO(buf_deinit) struct buf next;
    struct store_query query = query_of();

    buf_init_heap(&next, 4096);
    query.limit = 1;
    *ret_exist = false;
    return store_list(tx, &query, note_one, ret_exist, &next);
}

static int keep(void *ctx, const struct store_object *row)
{
    struct expectations *all = ctx;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct expectation *e = &all->items[all->count];
    struct json_error error;
    int r;

    if (all->count == EXPECTATIONS_MAX) {
        all->is_truncated = true;
        return 0;
    }
    r = json_parse(row->doc, &doc, &error);
    if (r)
        return r;
    *e = (struct expectation){ .id = row->id, .user = doc_id(doc, "user"), .group = doc_id(doc, "group"),
                               .is_allow = doc_is(doc, "access", "allow") };
    (void)span_copy(span_str(row->name), e->name, sizeof(e->name));
    if (!addr_parse(doc_text(doc, "source"), &e->source))
        e->source = addr_v4(127, 0, 0, 1);
    all->count += target_parse(doc_text(doc, "host"), (uint16_t)doc_int(doc, "port"), &e->target);
    return 0;
}

static int by_group(const void *a, const void *b)
{
    return strcmp(((const struct expectation *)a)->group.text, ((const struct expectation *)b)->group.text);
}

static void ask(struct expectations *all, struct expectation *e, const struct policy *p, size_t side,
                const struct ulid *user)
{
    struct policy_question q = { .user = *user, .source = e->source, .target = e->target, .now_ms = all->now_ms };
    struct policy_decision d;

    if (e->is_broken[side])
        return;
    if (all->decisions == EXPECT_DECISIONS_MAX) {
        all->is_truncated = true;
        return;
    }
    all->decisions++;
    policy_decide(p, &q, &d);
    e->is_broken[side] = (d.reason == REASON_NONE) != e->is_allow;
    if (!e->is_broken[side] || side == 0)
        return;
    e->reason = d.reason;
    if (d.user)
        (void)span_copy(span_str(d.user->name), e->broken_by, sizeof(e->broken_by));
}

static void ask_group(struct expectations *all, const struct policy *p, size_t side, const struct record *user,
                      const struct ulid *group)
{
    size_t low = 0, high = all->count;
    struct ulid id;

    memcpy(id.text, user->id, sizeof(id.text));
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(all->items[middle].group.text, group->text) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < all->count && strcmp(all->items[low].group.text, group->text) == 0; low++)
        ask(all, &all->items[low], p, side, &id);
}

static void ask_all(struct expectations *all, const struct policy *p, size_t side)
{
    bool has_groups = all->count && all->items[all->count - 1].group.text[0];
    struct policy_cursor cursor = { 0 };
    const struct record *r;

    all->decisions = 0;
    for (size_t i = 0; i < all->count && !all->items[i].group.text[0]; i++)
        ask(all, &all->items[i], p, side, &all->items[i].user);
    while (has_groups && (r = policy_next(p, RECORD_USER, &cursor))) {
        const struct user_record *user = RECORD_AS(r, USER, user_record);

        for (size_t i = 0; user->is_active && i < user->group_count; i++)
            ask_group(all, p, side, r, &user->groups[i]);
    }
}

static void tell(const struct expectations *all, expectation_fn fn, void *ctx)
{
    for (size_t i = 0; i < all->count; i++) {
        const struct expectation *e = &all->items[i];

        if (!e->is_broken[0] && e->is_broken[1])
            fn(ctx, &(struct expectation_seen){ &e->id, e->name, e->target.name, e->broken_by, e->target.port,
                                                e->is_allow, e->reason });
    }
}

int expectations_broken(struct store_tx *tx, const struct policy *before, const struct policy *after, int64_t now_ms,
                        expectation_fn fn, void *ctx, bool *ret_is_truncated)
{
    AUTO(freep) struct expectation *items = calloc(EXPECTATIONS_MAX + 1, sizeof(*items));
    struct expectations all = { .items = items, .now_ms = now_ms };
    struct store_query query = query_of();
    int r;

    if (!items)
        return -ENOMEM;
    r = store_list_all(tx, &query, keep, &all);
    if (r || !all.count)
        return r;
    qsort(items, all.count, sizeof(*items), by_group);
    ask_all(&all, before, 0);
    ask_all(&all, after, 1);
    tell(&all, fn, ctx);
    *ret_is_truncated |= all.is_truncated;
    return 0;
}
