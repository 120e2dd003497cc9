#include "controlplane/routes/guard.h"
#include "controlplane/domain/closure.h"
#include "controlplane/routes/admins.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/expect.h"
#include "controlplane/routes/zone.h"
#include "lib/crypto/cert.h"
#include "lib/policy/acl.h"
#include <errno.h>
#include <string.h>

static int too_wide(struct call *c, const char *what)
{
    return call_refuse(c, REASON_WIDER_THAN_OWN, "%s", what);
}

/* ---- whose is it ---- */
static struct span owner_of(const struct kind *kind, const struct store_object *o,
                            const struct json_value *doc)
{
    if (!kind->owner)
        return SPAN_NONE;
    return !strcmp(kind->owner, "id") ? ulid_span(&o->id) : doc_text(doc, kind->owner);
}

int guard_sees(struct call *c, const struct store_object *object)
{
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct json_error error;
    int r;

    if (call_sees_all(c))
        return 0;
    r = json_parse(object->doc, &doc, &error);
    if (r)
        return r;
    return call_is_own(c, owner_of(c->kind, object, doc)) ? 0 : call_not_found(c);
}

/* ---- rank ---- */
int guard_user(struct call *c, const struct ulid *user)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct json_error error;
    int r;

    if (call_is_own(c, ulid_span(user)))
        return 0;
    r = store_object_get(c->tx, NULL, user, &object);
    if (!r)
        r = json_parse(object->doc, &doc, &error);
    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    if (role_covers(c->req->principal.roles, role_bit(doc_text(doc, "role"))))
        return 0;
    return too_wide(c, "The user has a wider role than you.");
}

static bool is_principal(const struct kind *kind)
{
    return kind->id == KIND_USER || kind->id == KIND_SERVICE_ACCOUNT;
}

/* Whatever stands for a user: the user itself, its credentials, tokens, sessions, locks. */
static int guard_rank(struct call *c, const struct kind *kind, const struct ulid *id,
                      const struct json_value *doc)
{
    struct ulid user = is_principal(kind) ? *id : doc_id(doc, "user");

    if (kind->id == KIND_GRANT || !user.text[0])
        return 0;
    return guard_user(c, &user);
}

static int guard_role(struct call *c, const struct json_value *before,
                      const struct json_value *after)
{
    unsigned actor = c->req->principal.roles;
    unsigned was = before ? role_bit(doc_text(before, "role")) : ROLE_BIT_USER;
    unsigned is = role_bit(doc_text(after, "role"));

    if (was == is || (role_may_give(actor, is) && role_may_give(actor, was)))
        return 0;
    return too_wide(c, "Only an admin gives or takes roles.");
}

/* What a token may do must be within what the caller may. */
static int guard_scopes(struct call *c, const struct json_value *doc)
{
    for (size_t i = 0; i < doc_count(doc, "scopes"); i++) {
        struct span rest = span_str(c->req->principal.scopes), own;
        bool is_covered = false;

        while (span_cut(&rest, ' ', &own))
            is_covered |= span_eq(own, SPAN("*")) || scope_covers(own, doc_item(doc, "scopes", i));
        if (!is_covered)
            return too_wide(c, "The token would have a scope that yours has not.");
    }
    return 0;
}

static int guard_join_kind(struct call *c, const struct json_value *doc)
{
    if (!doc_is(doc, "kind", "relay") || (c->req->principal.roles & ROLE_BIT_ADMIN))
        return 0;
    return too_wide(c, "Only an admin lets relays join.");
}

/* ---- never without an admin ---- */
static bool is_active_admin(const struct json_value *doc)
{
    return doc_is(doc, "role", "admin") && doc_is(doc, "status", "active");
}

static int guard_last_admin(struct call *c, const struct ulid *user)
{
    struct store_query query = {
        .source = STORE_OBJECTS, .kind = "user", .limit = 1, .filter_count = 3
    };
    uint64_t others;
    int r;

    query.filters[0] = (struct store_filter){ .field = "role", .text = SPAN("admin") };
    query.filters[1] = (struct store_filter){ .field = "status", .text = SPAN("active") };
    query.filters[2] =
        (struct store_filter){ .field = "id", .op = STORE_NE, .text = ulid_span(user) };
    r = store_count(c->tx, &query, &others);
    if (r || others)
        return r;
    return call_refuse(c, REASON_LAST_ADMIN, "%s", reason_what(REASON_LAST_ADMIN));
}

/* ---- what fields must say together ---- */
static int contradicts(struct call *c, const char *pointer, const char *message)
{
    return call_refuse_at(c, REASON_CONFLICT, pointer, message);
}

static bool is_no_zone(int r)
{
    return r == -ENOENT || r == -EBADMSG || r == -ENOTDIR;
}

static int guard_windows(struct call *c, const struct json_value *doc)
{
    const struct json_value *windows = json_get(doc, "windows");
    AUTO(freep) struct zone_offset *offsets = NULL;
    struct span zone;
    size_t count;
    int r;

    if (!windows || !json_count(windows))
        return 0;
    zone = doc_text(json_at(windows, 0), "zone");
    for (size_t i = 1; i < json_count(windows); i++) {
        if (!span_eq(doc_text(json_at(windows, i), "zone"), zone))
            return contradicts(c, "/windows", "all windows of a grant must be of one time zone");
    }
    r = zone_offsets(zone, 0, 1, &offsets, &count);
    return is_no_zone(r) ? contradicts(c, "/windows/0/zone", "this time zone is not known here") : r;
}

static int guard_grant(struct call *c, const struct json_value *doc)
{
    int64_t start_ms = doc_time(doc, "starts_at"), end_ms = doc_time(doc, "ends_at");

    if (start_ms && end_ms && end_ms <= start_ms)
        return contradicts(c, "/ends_at", "must be after starts_at");
    return guard_windows(c, doc);
}

static int guard_quota(struct call *c, const struct json_value *doc)
{
    AUTO(freep) struct zone_offset *offsets = NULL;
    size_t count;
    int r;

    if (doc_int(doc, "streams_burst") && !doc_int(doc, "streams_per_second"))
        return contradicts(c, "/streams_burst", "needs streams_per_second");
    if (doc_is(doc, "zone", "UTC"))
        return 0;
    r = zone_offsets(doc_text(doc, "zone"), 0, 1, &offsets, &count);
    return is_no_zone(r) ? contradicts(c, "/zone", "this time zone is not known here") : r;
}

/* Whoever binds a user says which log-in is let in as him, with whatever role its claims give. */
static int guard_who_binds(struct call *c, const struct json_value *before, const struct json_value *after)
{
    if ((c->req->principal.roles & ROLE_BIT_ADMIN) ||
        (span_eq(doc_text(before, "identity_provider"), doc_text(after, "identity_provider")) &&
         span_eq(doc_text(before, "subject"), doc_text(after, "subject"))))
        return 0;
    return too_wide(c, "Only an admin binds users to log-ins of a provider.");
}

/* Who is known by a provider's subject is known by no other's.  `before` NULL: he is new. */
static int guard_binding(struct call *c, const struct ulid *id, const struct json_value *before,
                         const struct json_value *doc)
{
    struct store_query query = { .source = STORE_OBJECTS, .kind = "user", .limit = 1, .filter_count = 3 };
    struct span provider = doc_text(doc, "identity_provider"), subject = doc_text(doc, "subject");
    uint64_t others;
    int r = guard_who_binds(c, before, doc);

    if (r)
        return r;
    if (!provider.n != !subject.n)
        return contradicts(c, provider.n ? "/subject" : "/identity_provider",
                           "identity_provider and subject go together");
    if (!provider.n)
        return 0;
    query.filters[0] = (struct store_filter){ .field = "identity_provider", .op = STORE_REFERS, .text = provider };
    query.filters[1] = (struct store_filter){ .field = "subject", .text = subject };
    query.filters[2] = (struct store_filter){ .field = "id", .op = STORE_NE, .text = ulid_span(id) };
    r = store_count(c->tx, &query, &others);
    return r || !others ? r : contradicts(c, "/subject", "another user has this subject");
}

static int guard_provider(struct call *c, const struct json_value *doc)
{
    AUTO(chain_freep) struct chain *chain = NULL;
    struct span ca = doc_text(doc, "ca");
    int r = ca.n ? chain_parse_pem(ca, &chain) : 0;

    return r == -EINVAL ? contradicts(c, "/ca", "these are not one to four certificates") : r;
}

/* A record that says otherwise would be withheld from relays. */
#define RESOLVED_MAX 64

static int guard_profile(struct call *c, const struct json_value *doc)
{
    size_t networks = 0;

    for (size_t i = 0; doc_bool(doc, "match_resolved") && i < doc_count(doc, "hosts"); i++) {
        struct host_pattern pattern;

        if (host_pattern_parse(doc_item(doc, "hosts", i), &pattern))
            continue;
        networks += pattern.kind == HOST_CIDR;
        host_pattern_deinit(&pattern);
    }
    if (!doc_bool(doc, "match_resolved") || (networks && networks <= RESOLVED_MAX))
        return 0;
    return call_refuse_at(c, REASON_CONFLICT, "/match_resolved", "needs 1 to 64 networks among the hosts");
}

static int guard_expectation(struct call *c, const struct json_value *before, const struct json_value *after)
{
    struct store_query query = { .source = STORE_OBJECTS, .kind = c->kind->name, .limit = 1 };
    struct target target;
    uint64_t count = 0;
    int r;

    if (!target_parse(doc_text(after, "host"), (uint16_t)doc_int(after, "port"), &target))
        return call_refuse_at(c, REASON_CONFLICT, "/host", "must be one name, or one address");
    r = before ? 0 : store_count(c->tx, &query, &count);
    if (r || count < EXPECTATIONS_MAX)
        return r;
    return call_refuse(c, REASON_CONFLICT, "There are %d expectations already, which is the most.", EXPECTATIONS_MAX);
}

static int guard_fields(struct call *c, const struct json_value *before,
                        const struct json_value *after)
{
    int r;

    switch (c->kind->id) {
    case KIND_IDENTITY_PROVIDER:
        return guard_provider(c, after);
    case KIND_USER:
    case KIND_SERVICE_ACCOUNT:
        return guard_role(c, before, after);
    case KIND_JOIN_TOKEN:
        return guard_join_kind(c, after);
    case KIND_API_TOKEN:
        r = before ? guard_scopes(c, before) : 0;
        return r ? r : guard_scopes(c, after);
    case KIND_GRANT:
        return guard_grant(c, after);
    case KIND_PROFILE:
        return guard_profile(c, after);
    case KIND_EXPECTATION:
        return guard_expectation(c, before, after);
    case KIND_LOCK:
        return admins_check_lock(c, after);
    case KIND_QUOTA:
        return guard_quota(c, after);
    case KIND_GROUP:
    case KIND_CREDENTIAL:
    case KIND_PAC_LINK:
    case KIND_AGENT:
    case KIND_AGENT_GROUP:
    case KIND_OVERRIDE:
    case KIND_SESSION:
    case KIND_RELAY:
    case KIND_COUNT:
        break;
    }
    return 0;
}

/* Credentials and tokens without a user are the caller's own. */
static int default_owner(struct call *c, struct body *body)
{
    AUTO(json_value_freep) struct json_value *patch = NULL;
    struct json_value *merged = NULL;
    const struct principal *p = &c->req->principal;
    struct json_error error;
    char text[64];
    struct buf b;
    int r;

    if (json_get(body->doc, "user"))
        return 0;
    buf_init_fixed(&b, text, sizeof(text));
    buf_printf(&b, "{\"user\":\"%s\"}", p->id);
    r = json_parse(buf_span(&b), &patch, &error);
    if (!r)
        r = json_merge(body->doc, patch, &merged);
    if (r)
        return r;
    json_value_free(body->doc);
    body->doc = merged;
    body->refs[body->ref_count] = (struct change_ref){ .field = "user" };
    if (!ulid_parse(span_str(p->id), &body->refs[body->ref_count++].to))
        return call_refuse_at(c, REASON_CONFLICT, "/user",
                              "is required of callers who are no user");
    buf_clear(&body->text);
    json_print(body->doc, &body->text);
    return buf_error(&body->text);
}

/* At the doors and in explanations they go by one name, whichever they are. */
static int guard_name(struct call *c, struct span name)
{
    AUTO(store_object_freep) struct store_object *other = NULL;
    int r = call_find(c, c->kind->id == KIND_USER ? KIND_SERVICE_ACCOUNT : KIND_USER, name, &other);

    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    return call_refuse_at(c, REASON_CONFLICT, "/name",
                          "is taken: users and service accounts share their names");
}

/* A hash is of another system, which made it of a password that nobody here has seen. */
static int guard_password(struct call *c, const struct body *body)
{
    struct span hash;

    if (c->kind->id != KIND_USER || !json_get(body->input, "password_hash"))
        return 0;
    if (json_get(body->input, "password"))
        return contradicts(c, "/password_hash", "a password and a hash of one exclude each other");
    if (json_get_str(body->input, "password_hash", &hash) && !password_is_bcrypt(hash))
        return call_refuse_at(c, REASON_INVALID, "/password_hash", "must be a bcrypt hash of cost 4 to 14");
    return 0;
}

int guard_create(struct call *c, struct body *body)
{
    int r = is_principal(c->kind) ? guard_name(c, body->name) : 0;

    if (!r)
        r = guard_password(c, body);
    if (r)
        return r;
    if (c->kind->id == KIND_CREDENTIAL || c->kind->id == KIND_API_TOKEN || c->kind->id == KIND_PAC_LINK)
        r = default_owner(c, body);
    if (!r && !call_sees_all(c) && !call_is_own(c, doc_text(body->doc, "user")))
        return call_refuse(c, REASON_FORBIDDEN, "You may make this for yourself only.");
    if (!r)
        r = guard_rank(c, c->kind, &(struct ulid){ 0 }, body->doc);
    if (!r && c->kind->id == KIND_USER)
        r = guard_binding(c, &(struct ulid){ 0 }, NULL, body->doc);
    return r ? r : guard_fields(c, NULL, body->doc);
}

/* A user without further rights changes his password and nothing else of himself; whoever logs in by a
 * provider gives himself none, or he would still come in when the provider knows him no more. */
static int guard_own_user(struct call *c, const struct store_object *object, const struct json_value *before,
                          const struct body *body)
{
    size_t passwords = json_get(body->input, "password") ? 1 : 0;
    bool gives_any = passwords || json_get(body->input, "password_hash");

    if (c->kind->id != KIND_USER)
        return 0;
    if (gives_any && doc_text(before, "identity_provider").n && call_is_own(c, ulid_span(&object->id)) &&
        !(c->req->principal.roles & ROLE_BIT_ADMIN))
        return call_refuse(c, REASON_FORBIDDEN, "You log in by an identity provider; an admin may give you a password.");
    if (call_sees_all(c) || json_count(body->input) == passwords)
        return 0;
    return call_refuse(c, REASON_FORBIDDEN, "You may change your password only.");
}

int guard_update(struct call *c, const struct store_object *object, struct body *body)
{
    AUTO(json_value_freep) struct json_value *before = NULL;
    struct json_error error;
    int r = json_parse(object->doc, &before, &error);

    if (!r)
        r = guard_own_user(c, object, before, body);
    if (!r)
        r = guard_password(c, body);
    if (!r)
        r = guard_rank(c, c->kind, &object->id, before);
    if (!r && c->kind->id == KIND_USER && is_active_admin(before) && !is_active_admin(body->doc))
        r = guard_last_admin(c, &object->id);
    if (!r && c->kind->id == KIND_USER)
        r = guard_binding(c, &object->id, before, body->doc);
    return r ? r : guard_fields(c, before, body->doc);
}

int guard_delete(struct call *c, const struct kind *kind, const struct store_object *object)
{
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct json_error error;
    int r = json_parse(object->doc, &doc, &error);

    if (!r)
        r = guard_rank(c, kind, &object->id, doc);
    if (!r && kind->id == KIND_USER && is_active_admin(doc))
        r = guard_last_admin(c, &object->id);
    if (!r && kind->id == KIND_JOIN_TOKEN)
        r = guard_join_kind(c, doc);
    return r;
}

int guard_rotate(struct call *c, const struct store_object *token)
{
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct json_error error;
    int r = json_parse(token->doc, &doc, &error);

    if (!r)
        r = guard_rank(c, c->kind, &token->id, doc);
    return r ? r : guard_scopes(c, doc);
}

/* ---- groups ---- */
static int add_group(void *ctx, const struct store_member *member)
{
    return closure_add(ctx, &member->group);
}

static int add_member(void *ctx, const struct store_member *member)
{
    return closure_add(ctx, &member->member);
}

static int next_up(void *ctx, const struct ulid *id, struct closure *c)
{
    return store_groups_of(ctx, "group", id, NULL, CLOSURE_IDS_MAX, add_group, c);
}

static int next_down(void *ctx, const struct ulid *id, struct closure *c)
{
    return store_members_of(ctx, "group", id, NULL, CLOSURE_IDS_MAX, add_member, c);
}

int guard_member(struct call *c, const struct store_object *group,
                 const struct store_object *member)
{
    AUTO(closure_deinit) struct closure above = { 0 }, below = { 0 };
    int r;

    if (c->kind->id != KIND_GROUP)
        return 0;
    r = closure_walk(&group->id, next_up, c->tx, &above);
    if (!r)
        r = closure_walk(&member->id, next_down, c->tx, &below);
    if (!r && (span_eq(ulid_span(&group->id), ulid_span(&member->id)) || closure_has(&below, &group->id) ||
               closure_has(&above, &member->id)))
        return call_refuse(c, REASON_CONFLICT, "The group would be a member of itself.");
    if (r == CLOSURE_E_DEPTH || (!r && above.depth + below.depth + 1 > CLOSURE_DEPTH_MAX))
        return call_refuse(c, REASON_CONFLICT, "Groups nest at most %d deep.", CLOSURE_DEPTH_MAX);
    if (r == CLOSURE_E_SIZE)
        return call_refuse(c, REASON_CONFLICT, "A group holds at most %d, all told.",
                           CLOSURE_IDS_MAX);
    return r;
}
