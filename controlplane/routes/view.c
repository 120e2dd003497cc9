#include "controlplane/routes/view.h"
#include "controlplane/routes/second.h"
#include "controlplane/domain/when.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/used.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FIELDS_MAX 32

void view_init(struct view *v, struct call *c, struct span fields)
{
    *v = (struct view){ .c = c, .fields = fields };
}

void view_deinit(struct view *v)
{
    live_deinit(&v->live);
}

static bool is_wanted(const struct view *v, struct span name)
{
    struct span rest = v->fields, one;

    if (!v->fields.n || span_eq(name, SPAN("id")))
        return true;
    while (span_cut(&rest, ',', &one)) {
        if (span_eq(one, name))
            return true;
    }
    return false;
}

bool view_wants(const struct view *v, const char *name)
{
    return is_wanted(v, span_str(name));
}

int view_fields(struct call *c, struct span *ret_fields)
{
    static const char set[] = "abcdefghijklmnopqrstuvwxyz_";
    struct span rest, one;
    size_t count = 0;

    *ret_fields = SPAN_NONE;
    if (!request_query(c->req, "fields", &rest))
        return 0;
    *ret_fields = rest;
    while (span_cut(&rest, ',', &one)) {
        bool is_good = one.n >= 1 && one.n <= 40 && ++count <= FIELDS_MAX;

        for (size_t i = 0; is_good && i < one.n; i++)
            is_good = one.p[i] && strchr(set, one.p[i]);
        if (!is_good)
            return call_refuse_at(c, REASON_INVALID, "?fields",
                                  "must be names of members, separated by commas");
    }
    return 0;
}

int view_names(struct call *c, struct view *v)
{
    return call_flag(c, "names", &v->has_names);
}

void view_time(struct json_writer *w, const char *key, int64_t ms)
{
    char text[WHEN_TEXT_MAX];

    if (ms)
        json_put_text(w, key, when_format(ms, text));
    else
        json_put_null(w, key);
}

/* ---- what is worked out, by kind ---- */
static int need_live(struct view *v)
{
    int r = v->has_live ? 0 : live_read(v->c->tx, &v->live);

    v->has_live = v->has_live || !r;
    return r;
}

static int find_secret(struct view *v, const struct store_object *o, const char *purpose,
                       struct store_secret *secret)
{
    int r = store_secret_get(v->c->tx, &o->id, purpose, secret);

    if (r == STORE_E_NOT_FOUND)
        *secret = (struct store_secret){ 0 };
    return r == STORE_E_NOT_FOUND ? 0 : r;
}

static int put_second(struct view *v, const struct store_object *o, struct json_writer *w)
{
    struct second second;
    int r = second_get(v->c->tx, &o->id, &second);

    if (!r && view_wants(v, "totp_set_at"))
        view_time(w, "totp_set_at", second.set_ms);
    if (!r && second.is_active && view_wants(v, "recovery_codes_left"))
        json_put_int(w, "recovery_codes_left", second.recovery_left);
    return r;
}

static int put_user(struct view *v, const struct store_object *o, struct json_writer *w)
{
    struct store_secret secret;
    int r = find_secret(v, o, "password", &secret);

    if (!r && view_wants(v, "password_set_at"))
        view_time(w, "password_set_at", secret.set_ms);
    return r ? r : put_second(v, o, w);
}

static int put_identity_provider(struct view *v, const struct store_object *o, struct json_writer *w)
{
    struct store_secret secret;
    int r = find_secret(v, o, "client_secret", &secret);

    if (!r && view_wants(v, "client_secret_set_at"))
        view_time(w, "client_secret_set_at", secret.set_ms);
    if (!r && secret.set_ms && view_wants(v, "client_secret_fingerprint"))
        json_put_text(w, "client_secret_fingerprint", secret.fingerprint);
    return r;
}

static int put_fingerprint(struct view *v, const struct store_object *o, struct json_writer *w)
{
    struct store_secret secret;
    int r = find_secret(v, o, v->c->kind->purpose, &secret);

    if (r || !secret.set_ms)
        return r;
    if (view_wants(v, "fingerprint") && secret.fingerprint[0])
        json_put_text(w, "fingerprint", secret.fingerprint);
    if (view_wants(v, "set_at"))
        view_time(w, "set_at", secret.set_ms);
    return 0;
}

static int put_used(struct view *v, const struct store_object *o, struct json_writer *w)
{
    struct store_secret used;
    int r = find_secret(v, o, USES_PURPOSE, &used);

    if (r)
        return r;
    if (view_wants(v, "last_used_at"))
        view_time(w, "last_used_at", used.set_ms);
    if (used.set_ms && view_wants(v, "last_used_from"))
        json_put_str(w, "last_used_from", span_of(used.value, used.value_len));
    return put_fingerprint(v, o, w);
}

static int put_join_token(struct view *v, const struct store_object *o, struct json_writer *w)
{
    uint64_t uses = 0;
    int r = store_join_uses(v->c->tx, &o->id, &uses);

    if (r > 0)
        r = 0;
    if (!r && view_wants(v, "used"))
        json_put_int(w, "used", (int64_t)uses);
    return r ? r : put_fingerprint(v, o, w);
}

static void put_presence(struct view *v, struct json_writer *w, bool is_connected, int64_t seen_ms,
                         const char *version)
{
    if (view_wants(v, "connected"))
        json_put_bool(w, "connected", is_connected);
    if (view_wants(v, "last_seen_at"))
        view_time(w, "last_seen_at", seen_ms);
    if (view_wants(v, "version"))
        json_put_text(w, "version", version && version[0] ? version : NULL);
}

static bool is_held(const struct live_agent *a, const struct store_object *o)
{
    return a->is_connected && span_eq(ulid_span(&a->agent), ulid_span(&o->id));
}

/* Over all relays, as they told last. */
static void put_load(const struct view *v, const struct store_object *o, struct json_writer *w)
{
    int64_t links = 0, streams = 0;

    for (size_t i = 0; i < v->live.agent_count; i++) {
        const struct live_agent *a = &v->live.agents[i];

        links += is_held(a, o) ? a->links : 0;
        streams += is_held(a, o) ? a->streams : 0;
    }
    if (view_wants(v, "links"))
        json_put_int(w, "links", links);
    if (view_wants(v, "streams"))
        json_put_int(w, "streams", streams);
}

static void put_proof(const struct view *v, const struct store_object *o, bool is_connected, struct json_writer *w)
{
    int64_t since_ms = live_agent_unproved_since(&v->live, &o->id);

    if (view_wants(v, "proved"))
        json_put_bool(w, "proved", is_connected && !since_ms);
    if (view_wants(v, "unproved_since"))
        view_time(w, "unproved_since", since_ms);
}

static int put_agent(struct view *v, const struct store_object *o, struct json_writer *w)
{
    int r = need_live(v);
    const struct live_agent *agent = r ? NULL : live_agent_find(&v->live, &o->id);

    if (r)
        return r;
    put_presence(v, w, agent && agent->is_connected, agent ? agent->at_ms - agent->proved_ms : 0,
                 NULL);
    put_load(v, o, w);
    put_proof(v, o, agent && agent->is_connected, w);
    if (!view_wants(v, "relays"))
        return 0;
    json_open_array(w, "relays");
    for (size_t i = 0; i < v->live.agent_count; i++) {
        const struct live_agent *a = &v->live.agents[i];

        if (!is_held(a, o))
            continue;
        json_open_object(w, NULL);
        json_put_text(w, "id", a->relay.text);
        json_close_object(w);
    }
    json_close_array(w);
    return 0;
}

static int put_relay(struct view *v, const struct store_object *o, struct json_writer *w)
{
    int r = need_live(v);
    const struct live_relay *relay = r ? NULL : live_relay_find(&v->live, &o->id);

    if (r)
        return r;
    put_presence(v, w, relay && relay->is_connected, relay ? relay->at_ms : 0,
                 relay ? relay->version : NULL);
    if (relay && view_wants(v, "applied_revision"))
        json_put_int(w, "applied_revision", (int64_t)relay->revision);
    if (relay && view_wants(v, "agents"))
        json_put_int(w, "agents", relay->agents);
    if (relay && view_wants(v, "streams"))
        json_put_int(w, "streams", relay->streams);
    return 0;
}

static int put_quota(struct view *v, const struct store_object *o, struct json_writer *w)
{
    struct used used;
    int r = view_wants(v, "usage") ? need_live(v) : 0;

    if (!r && view_wants(v, "usage"))
        r = used_read(v->c->tx, &v->live, &o->id, &used);
    if (r || !view_wants(v, "usage"))
        return r;
    json_open_object(w, "usage");
    json_put_int(w, "streams", used.streams);
    json_put_int(w, "bytes_today", used.bytes);
    view_time(w, "day_ends_at", used.day_end_ms);
    json_open_array(w, "saturated");
    for (unsigned i = 0; i < USED_LIMITS; i++) {
        if (used.saturated & 1u << i)
            json_put_text(w, NULL, used_limits[i]);
    }
    json_close_array(w);
    view_time(w, "told_at", used.told_ms);
    json_close_object(w);
    return 0;
}

typedef int (*put_fn)(struct view *v, const struct store_object *o, struct json_writer *w);

static const put_fn more[KIND_COUNT] = {
    [KIND_IDENTITY_PROVIDER] = put_identity_provider,
    [KIND_USER] = put_user,
    [KIND_CREDENTIAL] = put_fingerprint,
    [KIND_API_TOKEN] = put_used,
    [KIND_PAC_LINK] = put_used,
    [KIND_SESSION] = put_fingerprint,
    [KIND_JOIN_TOKEN] = put_join_token,
    [KIND_AGENT] = put_agent,
    [KIND_RELAY] = put_relay,
    [KIND_QUOTA] = put_quota,
};

/* ---- the object ---- */
/* Who may not get objects of that kind is not told their names either. */
static bool may_name(const struct call *c, enum kind_id kind)
{
    char operation[64];
    const struct right *right;

    snprintf(operation, sizeof(operation), "%s.get", kind_at(kind)->plural);
    right = right_find(span_str(operation));
    return right && (right->any & c->req->principal.roles);
}

static int put_name(struct view *v, const struct field *field, const struct json_value *value,
                    struct json_writer *w)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    struct span text;
    struct ulid id;
    char key[80];
    int r;

    if (!field || field->leaf != LEAF_REF || !may_name(v->c, field->ref) ||
        !json_as_str(value, &text) || !ulid_parse(text, &id))
        return 0;
    r = call_find_ref(v->c, field->ref, ulid_span(&id), &object);
    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    snprintf(key, sizeof(key), "%s_name", field->name);
    json_put_text(w, key, object->name);
    return 0;
}

static int put_doc(struct view *v, const struct json_value *doc, struct json_writer *w)
{
    int r = 0;

    for (size_t i = 0; !r && i < json_count(doc); i++) {
        struct span key;
        const struct json_value *value = json_member(doc, i, &key);
        char name[64];

        if (!is_wanted(v, key) || !span_copy(key, name, sizeof(name)))
            continue;
        json_put_value(w, name, value);
        if (v->has_names)
            r = put_name(v, kind_field(v->c->kind, key), value, w);
    }
    return r;
}

static void put_origin(struct view *v, const struct store_object *o, struct json_writer *w)
{
    if (view_wants(v, "created_by"))
        json_put_text(w, "created_by", o->created_by);
    if (view_wants(v, "managed_by"))
        json_put_text(w, "managed_by", o->managed_by[0] ? o->managed_by : NULL);
    if (view_wants(v, "created_at"))
        view_time(w, "created_at", o->created_ms);
    if (view_wants(v, "updated_at"))
        view_time(w, "updated_at", o->updated_ms);
}

int view_object(struct view *v, const struct store_object *o, const char *key, struct span secret,
                struct json_writer *w)
{
    const struct kind *kind = v->c->kind;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct json_error error;
    int r = json_parse(o->doc, &doc, &error);

    if (r)
        return r;
    json_open_object(w, key);
    json_put_text(w, "id", o->id.text);
    if (view_wants(v, "name"))
        json_put_text(w, "name", o->name);
    r = put_doc(v, doc, w);
    if (!r && more[kind->id])
        r = more[kind->id](v, o, w);
    put_origin(v, o, w);
    if (secret.n)
        json_put_str(w, kind->secret, secret);
    json_close_object(w);
    return r;
}

int view_answer(struct call *c, const struct store_object *o, struct span fields,
                struct span secret)
{
    AUTO(view_deinit) struct view v;
    struct json_writer w;
    int r;

    view_init(&v, c, fields);
    r = view_names(c, &v);
    json_begin(&w, &c->res->body);
    if (!r)
        r = view_object(&v, o, NULL, secret, &w);
    return r ? r : buf_error(&c->res->body);
}

/* ---- rows that were reported ---- */
static const struct {
    const char *kept, *shown;           /* NULL: not shown */
    bool is_time;
} renamed[] = {
    { "id", NULL, false },
    { "type", NULL, false },
    { "at_ms", "at", true },
    { "opened_at_ms", "opened_at", true },
    { "closed_at_ms", "closed_at", true },
    { "first_at_ms", "first_at", true },
    { "last_at_ms", "last_at", true },
    { "agentgroup", "agent_group", false },
};

static void put_kept(struct view *v, struct span key, const struct json_value *value,
                     struct json_writer *w)
{
    char name[64];
    int64_t ms;

    for (size_t i = 0; i < ARRAY_LEN(renamed); i++) {
        if (!span_eq(key, span_str(renamed[i].kept)))
            continue;
        if (!renamed[i].shown || !view_wants(v, renamed[i].shown))
            return;
        if (renamed[i].is_time && json_as_int(value, &ms))
            view_time(w, renamed[i].shown, ms);
        else
            json_put_value(w, renamed[i].shown, value);
        return;
    }
    if (is_wanted(v, key) && span_copy(key, name, sizeof(name)))
        json_put_value(w, name, value);
}

int view_record(struct view *v, const struct store_object *row, struct json_writer *w)
{
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct json_error error;
    int r = json_parse(row->doc, &doc, &error);

    if (r)
        return r;
    json_open_object(w, NULL);
    json_put_text(w, "id", row->id.text);
    if (view_wants(v, "at") && !json_get(doc, "at_ms") && !json_get(doc, "at"))
        view_time(w, "at", row->created_ms);
    for (size_t i = 0; i < json_count(doc); i++) {
        struct span key;
        const struct json_value *value = json_member(doc, i, &key);

        put_kept(v, key, value, w);
    }
    json_close_object(w);
    return 0;
}
