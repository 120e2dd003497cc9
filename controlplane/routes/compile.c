#include "controlplane/routes/compile.h"
#include "controlplane/domain/closure.h"
#include "controlplane/routes/compile_internal.h"
#include "controlplane/routes/rehash.h"
#include "controlplane/routes/second.h"
#include "lib/policy/chosen.h"
#include "lib/policy/pac.h"
#include "lib/state/record_codec.h"
#include <errno.h>

typedef int (*fill_fn)(struct compile *c, struct record *record);

static const struct {
    enum record_kind record;
    fill_fn fill;               /* NULL: relays need no record of it */
} compilers[KIND_COUNT] = {
    [KIND_USER] = { RECORD_USER, compile_user },
    [KIND_SERVICE_ACCOUNT] = { RECORD_USER, compile_user },     /* to a relay both are users */
    [KIND_GROUP] = { RECORD_GROUP, compile_group },
    [KIND_CREDENTIAL] = { RECORD_CREDENTIAL, compile_credential },
    [KIND_AGENT] = { RECORD_AGENT, compile_agent },
    [KIND_AGENT_GROUP] = { RECORD_AGENTGROUP, compile_agent_group },
    [KIND_PROFILE] = { RECORD_PROFILE, compile_profile },
    [KIND_GRANT] = { RECORD_GRANT, compile_grant },
    [KIND_OVERRIDE] = { RECORD_OVERRIDE, compile_override },
    [KIND_LOCK] = { RECORD_LOCK, compile_lock },
    [KIND_QUOTA] = { RECORD_QUOTA, compile_quota },
    [KIND_RELAY] = { RECORD_RELAY, compile_relay },
    [KIND_PAC_LINK] = { RECORD_SETTING, compile_pac_link },
};

/* Its record's id: a setting has a name. */
static struct span record_key(enum kind_id kind, const struct ulid *id, char name[PAC_SETTING_MAX])
{
    return compilers[kind].record == RECORD_SETTING ? span_str(pac_setting(id, name)) : ulid_span(id);
}

static int put_record(struct store_tx *tx, const struct record *record)
{
    AUTO(buf_deinit) struct buf json;
    int r;

    buf_init_heap(&json, RECORD_LINE_MAX);
    r = record_encode(record, &json);
    if (r)
        return r;
    return store_state_put(tx, record_kind_name(record->kind), record_id(record), buf_span(&json));
}

/* ---- chosen passwords at the doors: a setting says that one may be asked about, and which one ---- */
static int put_door_setting(struct store_tx *tx, const struct ulid *user, const struct store_secret *password)
{
    AUTO(record_unrefp) struct record *record = NULL;
    struct setting_record *setting;
    char name[CHOSEN_SETTING_MAX];

    if (!password)
        return store_state_put(tx, record_kind_name(RECORD_SETTING), span_str(chosen_setting(user, name)), SPAN_NONE);
    record = record_new(RECORD_SETTING, span_str(chosen_setting(user, name)));
    if (!record)
        return -ENOMEM;
    setting = container_of(record, struct setting_record, record);
    rehash_which(password, setting->value);
    return put_record(tx, record);
}

int compile_takes_password(struct store_tx *tx, const struct ulid *user, const struct json_value *doc, bool *ret_takes)
{
    struct store_query query = { .source = STORE_OBJECTS, .kind = kind_at(KIND_CREDENTIAL)->name,
                                 .limit = 1, .filter_count = 1 };
    struct second second;
    uint64_t credentials = 0;
    int r;

    *ret_takes = false;
    if (!doc_bool(doc, "door_password") || doc_bool(doc, "totp_required"))
        return 0;
    query.filters[0] = (struct store_filter){ .field = "user", .op = STORE_REFERS, .text = ulid_span(user) };
    r = store_count(tx, &query, &credentials);
    if (!r)
        r = second_get(tx, user, &second);
    if (!r)
        *ret_takes = !credentials && !second.is_active;
    return r;
}

static int put_door_password(struct store_tx *tx, const struct store_object *user, const struct json_value *doc)
{
    struct store_secret secret = { 0 };
    bool takes;
    int r = compile_takes_password(tx, &user->id, doc, &takes);

    if (!r && takes)
        r = store_secret_get(tx, &user->id, "password", &secret);
    if (r && r != STORE_E_NOT_FOUND)
        return r;
    return put_door_setting(tx, &user->id, takes && secret.set_ms ? &secret : NULL);
}

static int compile_present(struct store_tx *tx, enum kind_id kind,
                           const struct store_object *object)
{
    AUTO(json_value_freep) struct json_value *doc = NULL;
    AUTO(record_unrefp) struct record *record = NULL;
    char name[PAC_SETTING_MAX];
    struct json_error error;
    int r;

    r = json_parse(object->doc, &doc, &error);
    if (r)
        return r;
    record = record_new(compilers[kind].record, record_key(kind, &object->id, name));
    if (!record)
        return -ENOMEM;
    r = compilers[kind].fill(&(struct compile){ tx, object, doc }, record);
    if (!r)
        r = put_record(tx, record);
    return !r && kind == KIND_USER ? put_door_password(tx, object, doc) : r;
}

int compile_object(struct store_tx *tx, enum kind_id kind, const struct ulid *id)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    char name[PAC_SETTING_MAX];
    int r;

    if (!compilers[kind].fill)
        return 0;
    r = store_object_get(tx, kind_at(kind)->name, id, &object);
    if (r != STORE_E_NOT_FOUND)
        return r ? r : compile_present(tx, kind, object);
    r = store_state_put(tx, record_kind_name(compilers[kind].record), record_key(kind, id, name), SPAN_NONE);
    return !r && kind == KIND_USER ? put_door_setting(tx, id, NULL) : r;
}

int compile_door_password(struct store_tx *tx, const struct ulid *user)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct json_error error;
    int r = store_object_get(tx, kind_at(KIND_USER)->name, user, &object);

    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    r = json_parse(object->doc, &doc, &error);
    return r ? r : put_door_password(tx, object, doc);
}

/* ---- all that depends on something ---- */
static int add_member(void *ctx, const struct store_member *member)
{
    return closure_add(ctx, &member->member);
}

static int next_members(void *ctx, const struct ulid *id, struct closure *c)
{
    return store_members_of(ctx, "group", id, NULL, CLOSURE_IDS_MAX, add_member, c);
}

/* A group has no record that depends on its members. */
static int compile_principal(struct store_tx *tx, const struct ulid *id)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    const struct kind *kind;
    int r;

    r = store_object_get(tx, NULL, id, &object);
    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    kind = kind_by_name(span_str(object->kind));
    if (!kind || compilers[kind->id].record != RECORD_USER || !compilers[kind->id].fill)
        return 0;
    return compile_present(tx, kind->id, object);
}

int compile_users_below(struct store_tx *tx, const struct ulid *member)
{
    AUTO(closure_deinit) struct closure below = { 0 };
    int r;

    r = closure_walk(member, next_members, tx, &below);
    if (!r)
        r = closure_add(&below, member);
    for (size_t i = 0; !r && i < below.count; i++) {
        r = compile_principal(tx, &below.ids[i]);
    }
    return r;
}

static int collect_row(void *ctx, const struct store_object *row)
{
    return closure_add(ctx, &row->id);
}

int compile_credentials_of(struct store_tx *tx, const struct ulid *user)
{
    struct store_query query = { .source = STORE_OBJECTS, .kind = kind_at(KIND_CREDENTIAL)->name,
                                 .limit = STORE_LIMIT_MAX, .filter_count = 1 };
    AUTO(closure_deinit) struct closure ids = { 0 };
    int r;

    query.filters[0] = (struct store_filter){ .field = "user", .op = STORE_REFERS, .text = ulid_span(user) };
    r = store_list_all(tx, &query, collect_row, &ids);
    for (size_t i = 0; !r && i < ids.count; i++)
        r = compile_object(tx, KIND_CREDENTIAL, &ids.ids[i]);
    return r;
}

/* Groups that an agent comes into or leaves as its labels change. */
struct selecting {
    struct json_value *before, *after;
    struct closure *ids;
};

static int collect_group(void *ctx, const struct store_object *row)
{
    const struct selecting *s = ctx;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    const struct json_value *selector;
    struct json_error error;
    int r = json_parse(row->doc, &doc, &error);

    if (r)
        return r;
    selector = json_get(doc, "selector");
    if (compile_selects(selector, json_get(s->before, "labels")) ==
        compile_selects(selector, json_get(s->after, "labels")))
        return 0;
    return closure_add(s->ids, &row->id);
}

/* A page at a time, so that no statement is open while records are written. */
static int compile_selecting(struct store_tx *tx, struct selecting *s)
{
    AUTO(buf_deinit) struct buf next;
    struct store_query query = { .source = STORE_OBJECTS, .kind = "agent-group",
                                 .limit = STORE_LIMIT_MAX, .filter_count = 1 };
    int r = 0;

    buf_init_heap(&next, 4096);
    query.filters[0] = (struct store_filter){ .field = "selector", .op = STORE_SET };
    do {
        AUTO(buf_deinit) struct buf page;
        AUTO(closure_deinit) struct closure ids = { 0 };

        buf_init_heap(&page, 4096);
        query.after = buf_span(&next);
        s->ids = &ids;
        r = store_list(tx, &query, collect_group, s, &page);
        for (size_t i = 0; !r && i < ids.count; i++)
            r = compile_object(tx, KIND_AGENT_GROUP, &ids.ids[i]);
        buf_clear(&next);
        buf_put_span(&next, buf_span(&page));
    } while (!r && next.len);
    return r;
}

int compile_selectors(struct store_tx *tx, struct span before, struct span after)
{
    struct selecting s = { NULL };
    struct json_error error;
    int r = before.n ? json_parse(before, &s.before, &error) : 0;

    if (!r && after.n)
        r = json_parse(after, &s.after, &error);
    if (!r)
        r = compile_selecting(tx, &s);
    json_value_free(s.before);
    json_value_free(s.after);
    return r;
}
