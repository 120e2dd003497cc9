#include "controlplane/routes/admins.h"
#include "controlplane/domain/closure.h"
#include "controlplane/domain/when.h"
#include "controlplane/routes/doc.h"

static int collect(void *ctx, const struct store_object *row)
{
    return closure_add(ctx, &row->id);
}

static int active_admins(struct call *c, struct closure *ret_ids)
{
    struct store_query query = { .source = STORE_OBJECTS, .kind = "user", .limit = STORE_LIMIT_MAX,
                                 .filter_count = 2 };

    query.filters[0] = (struct store_filter){ .field = "role", .text = SPAN("admin") };
    query.filters[1] = (struct store_filter){ .field = "status", .text = SPAN("active") };
    return store_list_all(c->tx, &query, collect, ret_ids);
}

static int add_group(void *ctx, const struct store_member *member)
{
    return closure_add(ctx, &member->group);
}

static int next_up(void *ctx, const struct ulid *id, struct closure *groups)
{
    return store_groups_of(ctx, "group", id, NULL, CLOSURE_IDS_MAX, add_group, groups);
}

/* Whether a lock that is kept names this user or group, now. */
static int find_lock(struct call *c, const char *field, const struct ulid *id, bool *ret_is_locked)
{
    struct store_query query = { .source = STORE_OBJECTS, .kind = "lock", .limit = 1, .filter_count = 2 };
    char now[WHEN_TEXT_MAX];
    uint64_t forever = 0, yet = 0;
    int r;

    when_format((int64_t)store_now_ms(c->api->options.store), now);
    query.filters[0] = (struct store_filter){ .field = field, .text = ulid_span(id) };
    query.filters[1] = (struct store_filter){ .field = "ends_at", .op = STORE_NULL };
    r = store_count(c->tx, &query, &forever);
    query.filters[1] = (struct store_filter){ .field = "ends_at", .op = STORE_GT, .text = span_str(now) };
    if (!r)
        r = store_count(c->tx, &query, &yet);
    *ret_is_locked |= forever || yet;
    return r;
}

/* With the new lock, and those that are there. */
static int is_locked(struct call *c, const struct json_value *lock, const struct ulid *admin, bool *ret_is_locked)
{
    AUTO(closure_deinit) struct closure groups = { 0 };
    struct ulid user = doc_id(lock, "user"), group = doc_id(lock, "group");
    int r = closure_walk(admin, next_up, c->tx, &groups);

    *ret_is_locked = span_eq(ulid_span(admin), ulid_span(&user)) || closure_has(&groups, &group);
    if (!r && !*ret_is_locked)
        r = find_lock(c, "user", admin, ret_is_locked);
    for (size_t i = 0; !r && !*ret_is_locked && i < groups.count; i++)
        r = find_lock(c, "group", &groups.ids[i], ret_is_locked);
    return r;
}

int admins_check_lock(struct call *c, const struct json_value *lock)
{
    AUTO(closure_deinit) struct closure admins = { 0 };
    bool is_left = false;
    int r = 0;

    if (!json_get(lock, "user") && !json_get(lock, "group"))
        return 0;
    r = active_admins(c, &admins);
    for (size_t i = 0; !r && !is_left && i < admins.count; i++) {
        bool locked = false;

        r = is_locked(c, lock, &admins.ids[i], &locked);
        is_left = !locked;
    }
    if (r || is_left || !admins.count)
        return r;
    return call_refuse(c, REASON_LAST_ADMIN, "%s", reason_what(REASON_LAST_ADMIN));
}
