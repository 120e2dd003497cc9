#include "controlplane/routes/change.h"
#include "controlplane/domain/closure.h"
#include "controlplane/routes/compile.h"
#include "controlplane/routes/session.h"
#include "controlplane/routes/tell.h"
#include "lib/json/json.h"
#include <errno.h>
#include <string.h>

/* Every write ends here: the audit event, and what listeners are told. */
static int audit(const struct change *c, const char *what, const struct kind *kind, const struct ulid *id,
                 struct span name, struct span before, struct span after)
{
    struct store_audit event = c->event;
    int r;

    event.object_kind = kind->name;
    event.object_id = ulid_span(id);
    event.object_name = name;
    event.before = before;
    event.after = after;
    if (!event.outcome)
        event.outcome = "ok";
    r = store_audit_append(c->tx, &event, NULL);
    return r ? r : tell_change(c->tx, what, kind, id, name, after.n ? after : before);
}

/* Every reference field is set, so that one that was taken away goes too. */
static int set_refs(struct store_tx *tx, const struct change_object *o)
{
    const struct field *field;
    int r = 0;

    for (size_t i = 0; !r && (field = kind_field_at(o->kind, i)); i++) {
        const struct change_ref *found = NULL;

        if (field->leaf != LEAF_REF)
            continue;
        for (size_t k = 0; k < o->ref_count; k++) {
            if (!strcmp(o->refs[k].field, field->name))
                found = &o->refs[k];
        }
        r = store_refs_set(tx, &o->id, field->name, found ? &found->to : NULL, found ? 1 : 0);
    }
    return r;
}

static int put_secret(struct store_tx *tx, const struct change_object *o)
{
    if (!o->secret.purpose)
        return 0;
    if (!o->secret.value.n) {
        int r = store_secret_delete(tx, &o->id, o->secret.purpose);

        return r == STORE_E_NOT_FOUND ? 0 : r;
    }
    return store_secret_put(tx, &o->id, o->secret.purpose, o->secret.value, o->secret.fingerprint);
}

/* How long the credentials of such a user last depends on his last log-in. */
static bool is_by_provider(struct span doc)
{
    struct span value;

    return doc.n && !json_walk_find(doc, "identity_provider", &value) && value.n;
}

/* A credential ends the use of its user's password at the doors. */
static int compile_owner(struct store_tx *tx, struct span credential)
{
    struct span value;
    struct ulid user;

    if (json_walk_find(credential, "user", &value) || !ulid_parse(json_raw_str(value), &user))
        return 0;
    return compile_door_password(tx, &user);
}

/* The object's own record, and those that are made from it.  `before` may be empty. */
static int compile_changed(struct store_tx *tx, const struct change_object *o, struct span before)
{
    int r = compile_object(tx, o->kind->id, &o->id);

    if (!r && o->kind->id == KIND_USER && (is_by_provider(before) || is_by_provider(o->doc)))
        return compile_credentials_of(tx, &o->id);
    if (!r && o->kind->id == KIND_CREDENTIAL)
        return compile_owner(tx, o->doc);
    return !r && o->kind->id == KIND_AGENT ? compile_selectors(tx, before, o->doc) : r;
}

static struct span name_of(const struct change_object *o, char name[ULID_LEN + 1])
{
    if (o->name.n)
        return o->name;
    for (size_t i = 0; i <= ULID_LEN; i++) {
        char at = o->id.text[i];

        name[i] = at >= 'A' && at <= 'Z' ? (char)(at - 'A' + 'a') : at;
    }
    return span_str(name);
}

int change_insert(struct change *c, const struct change_object *o)
{
    char lower[ULID_LEN + 1];
    struct span name = name_of(o, lower);
    int r;

    r = store_object_insert(c->tx, &(struct store_new_object){
        .id = o->id, .kind = o->kind->name, .name = name, .doc = o->doc,
        .created_by = o->created_by, .managed_by = o->managed_by,
    });
    if (!r)
        r = set_refs(c->tx, o);
    if (!r)
        r = put_secret(c->tx, o);
    if (!r)
        r = compile_changed(c->tx, o, SPAN_NONE);
    return r ? r : audit(c, "created", o->kind, &o->id, name, SPAN_NONE, o->doc);
}

/* ---- log-in sessions end with what they were begun by ---- */
static struct span member_of(struct span doc, const char *key)
{
    struct span value;

    return json_walk_find(doc, key, &value) ? SPAN_NONE : value;
}

static bool is_changed(struct span before, struct span after, const char *key)
{
    return !span_eq(member_of(before, key), member_of(after, key));
}

/* Whoever changes his own password goes on in the session that he does it in. */
static int end_sessions_of_user(struct change *c, const struct change_object *o, struct span before)
{
    bool is_other = is_changed(before, o->doc, "status") || is_changed(before, o->doc, "identity_provider") ||
                    is_changed(before, o->doc, "subject");
    bool is_own = c->event.actor_id.n && span_eq(c->event.actor_id, ulid_span(&o->id));

    if (!is_other && !o->secret.purpose)
        return 0;
    return sessions_end(c, &o->id, is_own && !is_other ? c->event.token_id : SPAN_NONE);
}

static int end_sessions(struct change *c, const struct change_object *o, struct span before)
{
    if (o->kind->id == KIND_USER)
        return end_sessions_of_user(c, o, before);
    if (o->kind->id == KIND_IDENTITY_PROVIDER && is_changed(before, o->doc, "status"))
        return sessions_end_of_provider(c, &o->id);
    return 0;
}

int change_update(struct change *c, const struct change_object *o, int64_t version,
                  int64_t *ret_version)
{
    AUTO(store_object_freep) struct store_object *before = NULL;
    struct span name;
    int r;

    r = store_object_get(c->tx, o->kind->name, &o->id, &before);
    if (r)
        return r;
    name = span_str(before->name);
    r = store_object_update(c->tx, o->kind->name, &o->id, version, name, o->doc, ret_version);
    if (!r)
        r = set_refs(c->tx, o);
    if (!r)
        r = put_secret(c->tx, o);
    if (!r)
        r = compile_changed(c->tx, o, before->doc);
    if (!r)
        r = audit(c, "changed", o->kind, &o->id, name, before->doc, o->doc);
    return r ? r : end_sessions(c, o, before->doc);
}

/* ---- deletion: what depended on the object is found before it goes ---- */
static int add_member(void *ctx, const struct store_member *member)
{
    return closure_add(ctx, &member->member);
}

static int add_group(void *ctx, const struct store_member *member)
{
    return closure_add(ctx, &member->group);
}

static int find_dependents(struct store_tx *tx, const struct kind *kind, const struct ulid *id,
                           struct closure *dependents)
{
    if (kind->id == KIND_GROUP)
        return store_members_of(tx, "group", id, NULL, CLOSURE_IDS_MAX, add_member, dependents);
    if (kind->id == KIND_AGENT)
        return store_groups_of(tx, "agent-group", id, NULL, CLOSURE_IDS_MAX, add_group, dependents);
    return 0;
}

static int compile_dependents(struct store_tx *tx, const struct kind *kind,
                              struct span before, const struct closure *dependents)
{
    int r = kind->id == KIND_AGENT ? compile_selectors(tx, before, SPAN_NONE) : 0;

    for (size_t i = 0; !r && i < dependents->count; i++)
        r = kind->id == KIND_GROUP ? compile_users_below(tx, &dependents->ids[i]) :
                                     compile_object(tx, KIND_AGENT_GROUP, &dependents->ids[i]);
    return r;
}

int change_delete(struct change *c, const struct kind *kind, const struct ulid *id, int64_t version)
{
    AUTO(store_object_freep) struct store_object *before = NULL;
    AUTO(closure_deinit) struct closure dependents = { 0 };
    int r;

    r = store_object_get(c->tx, kind->name, id, &before);
    if (r)
        return r;
    r = find_dependents(c->tx, kind, id, &dependents);
    if (!r)
        r = store_object_delete(c->tx, kind->name, id, version);
    if (!r)
        r = compile_object(c->tx, kind->id, id);
    if (!r && kind->id == KIND_CREDENTIAL)
        r = compile_owner(c->tx, before->doc);
    if (!r)
        r = compile_dependents(c->tx, kind, before->doc, &dependents);
    return r ? r : audit(c, "deleted", kind, id, span_str(before->name), before->doc, SPAN_NONE);
}

/* ---- members ---- */
static int member_changed(struct change *c, const struct kind *kind, const struct ulid *group,
                          const struct ulid *member)
{
    if (kind->id == KIND_GROUP)
        return compile_users_below(c->tx, member);
    return compile_object(c->tx, kind->id, group);
}

static int member_audit(struct change *c, const struct kind *kind, const struct ulid *group,
                        const struct ulid *member, struct span doc, bool is_gone)
{
    AUTO(buf_deinit) struct buf text;
    struct span event;

    buf_init_heap(&text, STORE_DOC_MAX);
    buf_printf(&text, "{\"member\":\"%s\",\"membership\":" SPAN_FMT "}", member->text,
               SPAN_ARG(doc));
    if (buf_error(&text))
        return buf_error(&text);
    event = buf_span(&text);
    return audit(c, "members", kind, group, SPAN_NONE, is_gone ? event : SPAN_NONE,
                 is_gone ? SPAN_NONE : event);
}

int change_member_put(struct change *c, const struct kind *kind, const struct ulid *group,
                      const struct ulid *member, struct span doc, bool *ret_is_new)
{
    int r = store_member_put(c->tx, kind->relation, group, member, doc, ret_is_new);

    if (!r)
        r = member_changed(c, kind, group, member);
    return r ? r : member_audit(c, kind, group, member, doc, false);
}

int change_member_delete(struct change *c, const struct kind *kind, const struct ulid *group,
                         const struct ulid *member)
{
    int r = store_member_delete(c->tx, kind->relation, group, member);

    if (!r)
        r = member_changed(c, kind, group, member);
    return r ? r : member_audit(c, kind, group, member, SPAN("{}"), true);
}
