#include "controlplane/domain/closure.h"
#include "controlplane/domain/when.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/sign_in.h"
#include "lib/log/log.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Whose log-in it is: by the provider and its subject, and by nothing else. */
#define VALUES_MAX 1000         /* of the claim that mappings look at */
#define NAME_LEN_MAX 63

struct who {
    struct call *c;
    const struct provider *p;
    const struct json_value *claims, *values;   /* values: NULL: the claim is not there */
    struct span subject;
    char name[NAME_LEN_MAX + 1];        /* a new user's: later events name him by it, too */
    struct change change;
};

static int refuse(struct who *w, const char *why)
{
    return call_refuse(w->c, REASON_IDENTITY_PROVIDER_REFUSED, "%s", why);
}

/* "groups", or "realm_access.roles" where the token nests them. */
static const struct json_value *claim_at(const struct json_value *claims, struct span path)
{
    const struct json_value *at = claims;
    char name[65];
    struct span part;

    if (span_copy(path, name, sizeof(name)) && json_get(claims, name))
        return json_get(claims, name);
    while (at && span_cut(&path, '.', &part))
        at = span_copy(part, name, sizeof(name)) ? json_get(at, name) : NULL;
    return at;
}

/* ---- mappings ---- */
static bool has_value(const struct who *w, struct span wanted)
{
    struct span text;

    if (!w->values)
        return false;
    if (json_as_str(w->values, &text))
        return span_eq(text, wanted);
    for (size_t i = 0; json_kind_of(w->values) == JSON_IS_ARRAY && i < json_count(w->values) && i < VALUES_MAX; i++) {
        if (json_as_str(json_at(w->values, i), &text) && span_eq(text, wanted))
            return true;
    }
    return false;
}

/* The widest that a mapping gives; NULL: no mapping of the provider is about roles. */
static const char *role_of(const struct who *w)
{
    const struct json_value *mappings = json_get(w->p->doc, "mappings");
    unsigned given = ROLE_BIT_USER;
    bool is_mapped = false;

    for (size_t i = 0; mappings && i < json_count(mappings); i++) {
        const struct json_value *m = json_at(mappings, i);
        struct span role = doc_text(m, "role");

        is_mapped |= role.n > 0;
        if (role.n && has_value(w, doc_text(m, "value")))
            given |= role_bit(role);
    }
    return is_mapped ? role_name(given) : NULL;
}

static int add_group(void *ctx, const struct store_member *member)
{
    return closure_add(ctx, &member->group);
}

/* Whether any mapping that holds leads into the group. */
static bool is_given(const struct who *w, const struct json_value *mappings, struct span group)
{
    for (size_t i = 0; i < json_count(mappings); i++) {
        const struct json_value *m = json_at(mappings, i);

        if (span_eq(doc_text(m, "group"), group) && has_value(w, doc_text(m, "value")))
            return true;
    }
    return false;
}

static int sync_group(struct who *w, const struct json_value *mappings, struct span name,
                      const struct closure *present, const struct ulid *user)
{
    AUTO(store_object_freep) struct store_object *group = NULL;
    const struct kind *kind = kind_at(KIND_GROUP);
    bool is_in, is_wanted = is_given(w, mappings, name), is_new;
    int r = store_object_find(w->c->tx, kind->name, name, &group);

    if (r == STORE_E_NOT_FOUND)
        LOG(WARNING, "oidc.no-such-group", S("provider", w->p->object->name), SP("group", name));
    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    is_in = closure_has(present, &group->id);
    if (is_in == is_wanted)
        return 0;
    if (is_wanted)
        return change_member_put(&w->change, kind, &group->id, user, SPAN("{}"), &is_new);
    r = change_member_delete(&w->change, kind, &group->id, user);
    return r == STORE_E_NOT_FOUND ? 0 : r;
}

/* The groups that mappings name are the provider's; the others are nobody's business here. */
static int sync_groups(struct who *w, const struct ulid *user)
{
    const struct json_value *mappings = json_get(w->p->doc, "mappings");
    AUTO(closure_deinit) struct closure present = { 0 };
    int r = mappings ? store_groups_of(w->c->tx, "group", user, NULL, CLOSURE_IDS_MAX, add_group, &present) : 0;

    for (size_t i = 0; !r && mappings && i < json_count(mappings); i++) {
        struct span name = doc_text(json_at(mappings, i), "group");

        if (name.n)
            r = sync_group(w, mappings, name, &present, user);
        if (!r && name.n) {                     /* the next mapping may name it again */
            closure_deinit(&present);
            present = (struct closure){ 0 };
            r = store_groups_of(w->c->tx, "group", user, NULL, CLOSURE_IDS_MAX, add_group, &present);
        }
    }
    return r;
}

/* ---- the user ---- */
static int take_row(void *ctx, const struct store_object *row)
{
    *(struct ulid *)ctx = row->id;
    return 0;
}

static int find_user(struct who *w, struct store_object **ret_user)
{
    struct store_query query = { .source = STORE_OBJECTS, .kind = kind_at(KIND_USER)->name, .limit = 1,
                                 .filter_count = 2 };
    AUTO(buf_deinit) struct buf next;
    struct ulid id = { .text = "" };
    int r;

    buf_init_heap(&next, 4096);
    query.filters[0] = (struct store_filter){ .field = "identity_provider", .op = STORE_REFERS,
                                              .text = ulid_span(&w->p->object->id) };
    query.filters[1] = (struct store_filter){ .field = "subject", .text = w->subject };
    r = store_list(w->c->tx, &query, take_row, &id, &next);
    if (r)
        return r;
    return id.text[0] ? store_object_get(w->c->tx, query.kind, &id, ret_user) : STORE_E_NOT_FOUND;
}

/* Of an address what stands before the @; what no name may have becomes a hyphen. */
static bool name_of(struct who *w)
{
    const struct json_value *claim = claim_at(w->claims, doc_text(w->p->doc, "name_claim"));
    struct span text, local;
    size_t n = 0;

    if (!claim || !json_as_str(claim, &text) || !span_cut(&text, '@', &local) || local.n > NAME_LEN_MAX)
        return false;
    for (; n < local.n; n++) {
        char at = local.p[n];
        bool is_upper = at >= 'A' && at <= 'Z', is_plain = (at >= 'a' && at <= 'z') || (at >= '0' && at <= '9');

        w->name[n] = is_upper ? (char)(at - 'A' + 'a') : is_plain ? at : '-';
    }
    w->name[n] = '\0';
    return n > 0;
}

static void put_doc(struct who *w, bool is_new, struct buf *out)
{
    const char *role = role_of(w);
    char now[WHEN_TEXT_MAX];
    struct json_writer j;

    json_begin(&j, out);
    json_open_object(&j, NULL);
    if (is_new)
        json_put_text(&j, "status", "active");
    if (role || is_new)
        json_put_text(&j, "role", role ? role : "user");
    if (is_new) {
        json_put_str(&j, "identity_provider", ulid_span(&w->p->object->id));
        json_put_str(&j, "subject", w->subject);
    }
    json_put_text(&j, "last_login_at", when_format((int64_t)store_now_ms(w->c->api->options.store), now));
    json_close_object(&j);
}

static void name_actor(struct who *w, const struct ulid *id, struct span name)
{
    w->change.event.actor_kind = "user";
    w->change.event.actor_id = ulid_span(id);
    w->change.event.actor_name = name;
}

static bool is_taken(struct who *w, struct span name)
{
    AUTO(store_object_freep) struct store_object *user = NULL;
    AUTO(store_object_freep) struct store_object *account = NULL;

    return store_object_find(w->c->tx, "user", name, &user) != STORE_E_NOT_FOUND ||
           store_object_find(w->c->tx, "service-account", name, &account) != STORE_E_NOT_FOUND;
}

/* Nobody becomes somebody who is there already by having his name elsewhere. */
static int make_user(struct who *w, struct ulid *ret_id)
{
    AUTO(buf_deinit) struct buf doc;
    struct change_ref ref = { "identity_provider", w->p->object->id };
    int r;

    buf_init_heap(&doc, 8192);
    if (!doc_bool(w->p->doc, "create_users"))
        return refuse(w, "Nobody here is bound to this log-in; an administrator may bind a user to it.");
    if (!name_of(w))
        return refuse(w, "The provider tells no name that could be one here.");
    if (is_taken(w, span_str(w->name)))
        return call_refuse(w->c, REASON_IDENTITY_PROVIDER_REFUSED,
                           "The name %s is taken here; an administrator may bind that user to this log-in.", w->name);
    *ret_id = store_new_id(w->c->api->options.store);
    put_doc(w, true, &doc);
    name_actor(w, ret_id, span_str(w->name));
    r = buf_error(&doc);
    return r ? r : change_insert(&w->change, &(struct change_object){
        .kind = kind_at(KIND_USER), .id = *ret_id, .name = span_str(w->name), .doc = buf_span(&doc),
        .refs = &ref, .ref_count = 1, .created_by = w->p->object->name });
}

static int merge(const struct json_value *before, struct span patch_text, struct buf *out)
{
    AUTO(json_value_freep) struct json_value *patch = NULL, *merged = NULL;
    struct json_error error;
    int r = json_parse(patch_text, &patch, &error);

    if (!r)
        r = json_merge(before, patch, &merged);
    if (r)
        return r;
    json_print(merged, out);
    return buf_error(out);
}

static int renew_user(struct who *w, const struct store_object *user)
{
    AUTO(json_value_freep) struct json_value *before = NULL;
    AUTO(buf_deinit) struct buf patch, doc;
    struct change_ref ref = { "identity_provider", w->p->object->id };
    struct json_error error;
    int64_t version;
    int r;

    buf_init_heap(&patch, 8192);
    buf_init_heap(&doc, STORE_DOC_MAX);
    r = json_parse(user->doc, &before, &error);
    if (r)
        return r;
    if (!doc_is(before, "status", "active"))
        return call_refuse(w->c, REASON_USER_DISABLED, "%s", reason_what(REASON_USER_DISABLED));
    put_doc(w, false, &patch);
    name_actor(w, &user->id, span_str(user->name));
    r = merge(before, buf_span(&patch), &doc);
    return r ? r : change_update(&w->change, &(struct change_object){
        .kind = kind_at(KIND_USER), .id = user->id, .doc = buf_span(&doc), .refs = &ref, .ref_count = 1 },
                                 user->version, &version);
}

int sign_in_user(struct call *c, const struct provider *p, const struct json_value *claims,
                 struct store_object **ret_user)
{
    AUTO(store_object_freep) struct store_object *user = NULL;
    struct who w = { .c = c, .p = p, .claims = claims, .change = call_change(c) };
    struct ulid id;
    int r;

    w.values = claim_at(claims, doc_text(p->doc, "groups_claim"));
    if (!json_get_str(claims, "sub", &w.subject))
        return refuse(&w, "The provider names no subject.");
    r = find_user(&w, &user);
    if (!r)
        id = user->id;
    if (!r || r == STORE_E_NOT_FOUND)
        r = r ? make_user(&w, &id) : renew_user(&w, user);
    if (!r)
        r = sync_groups(&w, &id);
    return r ? r : store_object_get(c->tx, kind_at(KIND_USER)->name, &id, ret_user);
}
