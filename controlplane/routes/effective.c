/*
 * access/effective: what somebody is granted, who is granted what lies there, and what of it is in
 * force.  By what is declared, not by who is connected now: access/explain decides one case in full.
 */
#include "controlplane/domain/check.h"
#include "controlplane/domain/closure.h"
#include "controlplane/routes/answer.h"
#include "controlplane/routes/compile_internal.h"
#include "controlplane/routes/handlers.h"
#include "lib/policy/acl.h"
#include "lib/policy/window.h"
#include <errno.h>
#include <stdio.h>

#define ITEMS_MAX 1000

struct survey {
    struct call *c;
    struct store_object *user;          /* NULL: everybody */
    struct target target;
    bool has_target;
    int64_t now_ms;
    struct closure ids;                 /* of the user's groups, or of the profiles that mean the target */
    struct closure locked;              /* users, groups and profiles that a lock stands on now */
    enum reason user_why;               /* why nothing of the user's is in force; REASON_NONE */
    struct json_writer w;
    size_t count, left_out;
};

static void survey_deinit(struct survey *s)
{
    store_object_free(s->user);
    closure_deinit(&s->ids);
    closure_deinit(&s->locked);
}

/* ---- the question ---- */
static int read_user(struct survey *s)
{
    struct check_limits none = { 0 };
    unsigned char scratch[64];
    const char *message;
    struct span ref;
    struct buf out;
    int r;

    buf_init_fixed(&out, scratch, sizeof(scratch));
    if (!request_query(s->c->req, "user", &ref))
        return call_sees_all(s->c) ? 0 : call_refuse(s->c, REASON_FORBIDDEN, "You may ask about yourself: name a user.");
    if (check_text(LEAF_REF, &none, ref, &out, &message) != CHECK_OK)
        return call_refuse_at(s->c, REASON_INVALID, "?user", message);
    r = call_find_ref(s->c, KIND_USER, ref, &s->user);
    if (r)
        return r == STORE_E_NOT_FOUND ? call_not_found(s->c) : r;
    return call_sees_all(s->c) || call_is_own(s->c, ulid_span(&s->user->id)) ? 0 : call_not_found(s->c);
}

static int read_target(struct survey *s)
{
    struct check_limits none = { 0 };
    struct span host, port;
    bool has_host = request_query(s->c->req, "host", &host), has_port = request_query(s->c->req, "port", &port);
    unsigned char scratch[512];
    const char *message;
    uint64_t number = 0;
    struct buf out;

    buf_init_fixed(&out, scratch, sizeof(scratch));
    if (has_host && (span_starts(host, SPAN("*")) || span_find(host, '/') < host.n ||
                     check_text(LEAF_HOST_PATTERN, &none, host, &out, &message) != CHECK_OK))
        return call_refuse_at(s->c, REASON_INVALID, "?host", "must be a name in lower case, or an address");
    if (has_port && (!span_to_u64(port, 65535, &number) || port.p[0] == '0'))
        return call_refuse_at(s->c, REASON_INVALID, "?port", "must be a whole number from 1 to 65535");
    if (has_host != has_port || (!has_host && !s->user))
        return call_refuse(s->c, REASON_CONFLICT, "Name a user, or host and port, or all three.");
    s->has_target = has_host;
    if (has_host && !target_parse(host, (uint16_t)number, &s->target))
        return call_refuse_at(s->c, REASON_CONFLICT, "?host", "is no name and no address");
    return 0;
}

/* ---- does a profile mean the target ---- */
enum meant { MEANT_NOT, MEANT_YES, MEANT_IF_RESOLVED };

static bool is_port_meant(const struct json_value *profile, uint16_t port)
{
    for (size_t i = 0; i < doc_count(profile, "ports"); i++) {
        struct port_range range;

        if (port_range_parse(doc_item(profile, "ports", i), &range) && ports_have(&range, 1, port))
            return true;
    }
    return false;
}

static enum meant is_meant(const struct survey *s, const struct json_value *profile)
{
    enum meant meant = MEANT_NOT;

    if (!s->has_target)
        return MEANT_YES;
    if (!is_port_meant(profile, s->target.port))
        return MEANT_NOT;
    for (size_t i = 0; i < doc_count(profile, "hosts"); i++) {
        struct host_pattern pattern;
        bool is_match;

        if (host_pattern_parse(doc_item(profile, "hosts", i), &pattern))
            continue;
        is_match = host_pattern_matches(&pattern, &s->target);
        if (!is_match && pattern.kind == HOST_CIDR && !s->target.is_literal && doc_bool(profile, "match_resolved"))
            meant = MEANT_IF_RESOLVED;
        host_pattern_deinit(&pattern);
        if (is_match)
            return MEANT_YES;
    }
    return meant;
}

static int parse(const struct store_object *object, struct json_value **ret_doc)
{
    struct json_error error;

    return json_parse(object->doc, ret_doc, &error);
}

static int keep_meant(void *ctx, const struct store_object *row)
{
    struct survey *s = ctx;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    int r = parse(row, &doc);

    return !r && is_meant(s, doc) != MEANT_NOT ? closure_add(&s->ids, &row->id) : r;
}

/* ---- one grant ---- */
static int put_named(struct survey *s, const char *key, enum kind_id kind, const struct json_value *grant,
                     const char *field)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    struct ulid id = doc_id(grant, field);
    int r;

    if (!id.text[0])
        return 0;
    r = call_find_ref(s->c, kind, ulid_span(&id), &object);
    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    json_open_object(&s->w, key);
    json_put_text(&s->w, "id", object->id.text);
    json_put_text(&s->w, "name", object->name);
    json_close_object(&s->w);
    return 0;
}

static void put_value(struct survey *s, const struct json_value *doc, const char *key)
{
    if (json_get(doc, key))
        json_put_value(&s->w, key, json_get(doc, key));
}

/* ---- is it in force ---- */
static int add_group(void *ctx, const struct store_member *member)
{
    return closure_add(ctx, &member->group);
}

static int next_up(void *ctx, const struct ulid *id, struct closure *c)
{
    return store_groups_of(ctx, "group", id, NULL, CLOSURE_IDS_MAX, add_group, c);
}

static int add_lock(void *ctx, const struct store_object *row)
{
    static const char *const targets[] = { "user", "group", "destination_profile" };
    struct survey *s = ctx;
    AUTO(json_value_freep) struct json_value *lock = NULL;
    int64_t end_ms;
    int r = parse(row, &lock);

    if (r)
        return r;
    end_ms = doc_time(lock, "ends_at");
    for (size_t i = 0; !r && i < ARRAY_LEN(targets) && (!end_ms || s->now_ms < end_ms); i++) {
        struct ulid id = doc_id(lock, targets[i]);

        r = id.text[0] ? closure_add(&s->locked, &id) : 0;
    }
    return r;
}

static int read_locks(struct survey *s)
{
    struct store_query query = { .source = STORE_OBJECTS, .kind = kind_at(KIND_LOCK)->name, .limit = STORE_LIMIT_MAX };
    int r = store_list_all(s->c->tx, &query, add_lock, s);

    return r == CLOSURE_E_SIZE ? call_refuse(s->c, REASON_CONFLICT, "There are more locks than can be looked at.") : r;
}

/* Of a user or service account, with the groups that he is in. */
static int why_not_he(struct survey *s, const struct ulid *id, enum reason *ret_why)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    AUTO(closure_deinit) struct closure groups = { 0 };
    int r = store_object_get(s->c->tx, NULL, id, &object);

    if (!r)
        r = parse(object, &doc);
    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    if (!doc_is(doc, "status", "active")) {
        *ret_why = REASON_USER_DISABLED;
        return 0;
    }
    r = s->locked.count ? closure_walk(id, next_up, s->c->tx, &groups) : 0;
    for (size_t i = 0; !r && i < groups.count; i++)
        *ret_why = closure_has(&s->locked, &groups.ids[i]) ? REASON_LOCKED : *ret_why;
    if (closure_has(&s->locked, id))
        *ret_why = REASON_LOCKED;
    return r > 0 ? 0 : r;               /* more groups than can be looked at: as relays have it, none */
}

static int why_not_now(struct survey *s, const struct store_object *row, const struct json_value *grant,
                       enum reason *ret_why)
{
    AUTO(record_unrefp) struct record *record = record_new(RECORD_GRANT, ulid_span(&row->id));
    int64_t start_ms = doc_time(grant, "starts_at"), end_ms = doc_time(grant, "ends_at"), again_ms;
    int r;

    if (!record)
        return -ENOMEM;
    r = compile_grant(&(struct compile){ s->c->tx, row, grant }, record);
    if (r)
        return r;
    if (end_ms && end_ms <= s->now_ms)
        *ret_why = REASON_GRANT_EXPIRED;
    else if (start_ms > s->now_ms || !window_holds(container_of(record, struct grant_record, record), s->now_ms, &again_ms))
        *ret_why = REASON_GRANT_NOT_NOW;
    return 0;
}

/* The first reason why the grant allows nothing now; REASON_NONE: it does. */
static int why_not(struct survey *s, const struct store_object *row, const struct json_value *grant, enum reason *ret_why)
{
    static const char *const targets[] = { "group", "destination_profile" };
    struct ulid user = doc_id(grant, "user");
    int r = 0;

    *ret_why = s->user_why;
    if (*ret_why == REASON_NONE && !s->user && user.text[0])
        r = why_not_he(s, &user, ret_why);
    for (size_t i = 0; !r && *ret_why == REASON_NONE && i < ARRAY_LEN(targets); i++) {
        struct ulid id = doc_id(grant, targets[i]);

        if (id.text[0] && closure_has(&s->locked, &id))
            *ret_why = REASON_LOCKED;
    }
    return r || *ret_why != REASON_NONE ? r : why_not_now(s, row, grant, ret_why);
}

static int put_item(struct survey *s, const struct store_object *row, const struct json_value *grant,
                    const struct json_value *profile, enum meant meant)
{
    static const char *const copied[] = { "starts_at", "ends_at", "windows", "source_networks", "max_streams" };
    enum reason why;
    int r = why_not(s, row, grant, &why);

    if (r)
        return r;
    json_open_object(&s->w, NULL);
    json_open_object(&s->w, "grant");
    json_put_text(&s->w, "id", row->id.text);
    json_put_text(&s->w, "name", row->name);
    json_close_object(&s->w);
    r = put_named(s, "user", KIND_USER, grant, "user");
    if (!r)
        r = put_named(s, "group", KIND_GROUP, grant, "group");
    if (!r)
        r = put_named(s, "destination_profile", KIND_PROFILE, grant, "destination_profile");
    if (!r)
        r = put_named(s, "agent_group", KIND_AGENT_GROUP, profile ? profile : grant, "agent_group");
    if (profile) {
        put_value(s, profile, "hosts");
        put_value(s, profile, "ports");
    }
    for (size_t i = 0; i < ARRAY_LEN(copied); i++)
        put_value(s, grant, copied[i]);
    json_put_bool(&s->w, "in_force", why == REASON_NONE);
    if (why != REASON_NONE)
        json_put_text(&s->w, "reason", reason_text(why));
    if (meant == MEANT_IF_RESOLVED)
        json_put_bool(&s->w, "if_resolved", true);
    json_close_object(&s->w);
    return r;
}

static int on_grant(void *ctx, const struct store_object *row)
{
    struct survey *s = ctx;
    AUTO(store_object_freep) struct store_object *object = NULL;
    AUTO(json_value_freep) struct json_value *grant = NULL, *profile = NULL;
    enum meant meant = MEANT_YES;
    struct ulid id;
    int r = parse(row, &grant);

    if (r)
        return r;
    id = doc_id(grant, "destination_profile");
    if (id.text[0]) {
        r = store_object_get(s->c->tx, kind_at(KIND_PROFILE)->name, &id, &object);
        if (!r)
            r = parse(object, &profile);
        if (r)
            return r == STORE_E_NOT_FOUND ? 0 : r;
        meant = is_meant(s, profile);
    }
    if (meant == MEANT_NOT)
        return 0;
    if (s->count == ITEMS_MAX) {
        s->left_out++;
        return 0;
    }
    s->count++;
    return put_item(s, row, grant, profile, meant);
}

/* ---- which grants ---- */
static int grants_where(struct survey *s, const char *field, const struct ulid *id)
{
    struct store_query query = { .source = STORE_OBJECTS, .kind = kind_at(KIND_GRANT)->name,
                                 .limit = STORE_LIMIT_MAX, .filter_count = 1 };

    query.filters[0] = (struct store_filter){ .field = field, .op = id ? STORE_EQ : STORE_SET,
                                              .text = id ? ulid_span(id) : SPAN_NONE };
    return store_list_all(s->c->tx, &query, on_grant, s);
}

static int each_id(struct survey *s, const char *field)
{
    int r = 0;

    for (size_t i = 0; !r && i < s->ids.count; i++)
        r = grants_where(s, field, &s->ids.ids[i]);
    return r;
}

static int of_user(struct survey *s)
{
    int r = closure_walk(&s->user->id, next_up, s->c->tx, &s->ids);

    if (r == CLOSURE_E_DEPTH || r == CLOSURE_E_SIZE)
        return call_refuse(s->c, REASON_CONFLICT, "The user is in more groups than can be looked at.");
    if (!r)
        r = grants_where(s, "user", &s->user->id);
    return r ? r : each_id(s, "group");
}

static int of_target(struct survey *s)
{
    struct store_query query = { .source = STORE_OBJECTS, .kind = kind_at(KIND_PROFILE)->name,
                                 .limit = STORE_LIMIT_MAX };
    int r = store_list_all(s->c->tx, &query, keep_meant, s);

    if (r == CLOSURE_E_SIZE)
        return call_refuse(s->c, REASON_CONFLICT, "More profiles mean it than can be looked at.");
    if (!r)
        r = each_id(s, "destination_profile");
    return r ? r : grants_where(s, "agent_group", NULL);
}

static int survey(struct call *c)
{
    AUTO(survey_deinit) struct survey s = { .c = c };
    int r = read_user(&s);

    if (!r)
        r = read_target(&s);
    if (r)
        return r;
    s.now_ms = (int64_t)store_now_ms(c->api->options.store);
    r = read_locks(&s);
    if (!r && s.user)
        r = why_not_he(&s, &s.user->id, &s.user_why);
    if (r)
        return r;
    json_begin(&s.w, &c->res->body);
    json_open_object(&s.w, NULL);
    json_open_array(&s.w, "items");
    r = s.user ? of_user(&s) : of_target(&s);
    json_close_array(&s.w);
    if (s.left_out)
        json_put_int(&s.w, "left_out", (int64_t)s.left_out);
    json_close_object(&s.w);
    c->res->status = 200;
    return r ? r : buf_error(&c->res->body);
}

void on_effective(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, survey);
}
