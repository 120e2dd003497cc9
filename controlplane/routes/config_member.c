#include "controlplane/routes/config.h"

#include "controlplane/routes/body.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/guard.h"
#include "lib/base/map.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The members of a group become those of the document: what is missing is added, what is not named
 * goes, what has other fields is changed. */
#define MEMBERS_MAX 100000
#define PAGE 500

struct present {
    struct map_node node;
    struct ulid id;
    char name[STORE_NAME_MAX + 1];
    bool is_named;
    size_t doc_len;
    char doc[];
};

struct membership {
    struct call *whole;
    const struct kind *kind;
    const struct store_object *group;
    struct config_changes *changes;
    struct map present;
    struct ulid last;
    size_t page;
    const char *pointer;        /* "/groups/3" */
};

/* ---- who is there ---- */
static int keep_present(void *ctx, const struct store_member *m)
{
    struct membership *ms = ctx;
    struct present *p = calloc(1, sizeof(*p) + m->doc.n);
    int r;

    if (!p)
        return -ENOMEM;
    p->id = m->member;
    p->doc_len = m->doc.n;
    memcpy(p->doc, m->doc.p, m->doc.n);
    (void)span_copy(span_str(m->member_name), p->name, sizeof(p->name));
    r = map_insert(&ms->present, &p->node, ulid_span(&p->id));
    if (r)
        free(p);
    ms->last = m->member;
    ms->page++;
    return r;
}

static int read_present(struct membership *ms)
{
    const struct ulid *after = NULL;
    struct ulid last;
    int r;

    do {
        ms->page = 0;
        r = store_members_of(ms->whole->tx, ms->kind->relation, &ms->group->id, after, PAGE, keep_present, ms);
        last = ms->last;
        after = &last;
    } while (!r && ms->page == PAGE);
    return r;
}

static void forget_present(struct membership *ms)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;

    while ((node = map_next(&ms->present, &cursor))) {
        map_remove(&ms->present, node);
        free(container_of(node, struct present, node));
    }
    map_deinit(&ms->present);
}

/* ---- one member of the document ---- */
static int refuse(struct membership *ms, size_t i, enum reason reason, const char *message)
{
    char at[128];

    snprintf(at, sizeof(at), "%s/members/%zu", ms->pointer, i);
    return call_refuse_at(ms->whole, reason, at, message);
}

/* "alice", or {"name": "staff", "kind": "group", …}. */
static bool read_name(const struct json_value *item, struct span *ret_name, struct span *ret_kind)
{
    *ret_kind = SPAN_NONE;
    if (json_as_str(item, ret_name))
        return ret_name->n > 0;
    if (json_kind_of(item) != JSON_IS_OBJECT)
        return false;
    *ret_name = doc_text(item, "name");
    *ret_kind = doc_text(item, "kind");
    return ret_name->n > 0;
}

/* By form: what the schema does not allow is invalid, what is not there a conflict. */
static const char *check_form(const struct membership *ms, struct span name, struct span kind_name)
{
    struct check_limits none = { 0 };
    unsigned char scratch[64];
    const char *message = NULL;
    bool is_kind = !kind_name.n;
    struct buf out;

    buf_init_fixed(&out, scratch, sizeof(scratch));
    for (size_t i = 0; i < ms->kind->member_kind_count; i++)
        is_kind |= span_eq(kind_name, span_str(kind_at(ms->kind->member_kinds[i])->name));
    if (!is_kind)
        return "has a kind that cannot be a member here";
    return check_text(LEAF_REF, &none, name, &out, &message) == CHECK_OK ? NULL : message;
}

static int find_member(struct membership *ms, struct span name, struct span kind_name,
                       struct store_object **ret_member)
{
    int r = STORE_E_NOT_FOUND;

    for (size_t i = 0; r == STORE_E_NOT_FOUND && i < ms->kind->member_kind_count; i++) {
        const struct kind *kind = kind_at(ms->kind->member_kinds[i]);

        if (!kind_name.n || span_eq(kind_name, span_str(kind->name)))
            r = call_find(ms->whole, kind->id, name, ret_member);
    }
    return r;
}

/* The membership's own fields: all but the member's name and kind. */
static void print_fields(const struct json_value *item, struct buf *out)
{
    struct json_writer w;

    json_begin(&w, out);
    json_open_object(&w, NULL);
    for (size_t i = 0; json_kind_of(item) == JSON_IS_OBJECT && i < json_count(item); i++) {
        struct span key;
        const struct json_value *value = json_member(item, i, &key);
        char name[64];

        if (span_copy(key, name, sizeof(name)) && strcmp(name, "name") != 0 && strcmp(name, "kind") != 0)
            json_put_value(&w, name, value);
    }
    json_close_object(&w);
}

static int put(struct membership *ms, struct config_step *step, const struct store_object *member,
               struct present *present)
{
    AUTO(body_deinit) struct body body = { 0 };
    struct change change = call_change(&step->call);
    bool is_new;
    int r = body_member(&step->call, &body);

    if (r || (present && span_eq(span_of(present->doc, present->doc_len), buf_span(&body.text))))
        return r;
    r = guard_member(&step->call, ms->group, member);
    if (!r)
        r = change_member_put(&change, ms->kind, &ms->group->id, &member->id, buf_span(&body.text), &is_new);
    if (!r)
        config_changes_member(ms->changes, present ? "change" : "add", ms->kind, span_str(ms->group->name),
                              span_str(member->name));
    return r;
}

static int apply_member(struct membership *ms, const struct json_value *item, size_t i)
{
    AUTO(store_object_freep) struct store_object *member = NULL;
    AUTO(config_step_deinit) struct config_step step = { 0 };
    AUTO(buf_deinit) struct buf fields;
    struct span name, kind;
    struct map_node *node;
    const char *wrong;
    char at[128];
    int r;

    buf_init_heap(&fields, 64u << 10);
    if (!read_name(item, &name, &kind))
        return refuse(ms, i, REASON_INVALID, "must be a name, or an object with a name");
    wrong = check_form(ms, name, kind);
    if (wrong)
        return refuse(ms, i, REASON_INVALID, wrong);
    r = find_member(ms, name, kind, &member);
    if (r)
        return r == STORE_E_NOT_FOUND ? refuse(ms, i, REASON_CONFLICT, "there is no such object") : r;
    node = map_find(&ms->present, ulid_span(&member->id));
    print_fields(item, &fields);
    r = config_step_init(&step, ms->whole, ms->kind, "members.put", buf_span(&fields));
    if (!r)
        r = put(ms, &step, member, node ? container_of(node, struct present, node) : NULL);
    if (!r && node)
        container_of(node, struct present, node)->is_named = true;
    snprintf(at, sizeof(at), "%.80s/members/%zu", ms->pointer, i);
    return config_step_end(&step, r, at, span_str(ms->group->name));
}

/* ---- who is not named goes ---- */
static int remove_member(struct membership *ms, const struct present *p)
{
    AUTO(config_step_deinit) struct config_step step = { 0 };
    struct change change;
    int r = config_step_init(&step, ms->whole, ms->kind, "members.delete", SPAN_NONE);

    if (r)
        return r;
    change = call_change(&step.call);
    r = change_member_delete(&change, ms->kind, &ms->group->id, &p->id);
    if (!r)
        config_changes_member(ms->changes, "remove", ms->kind, span_str(ms->group->name), span_str(p->name));
    return config_step_end(&step, r, ms->pointer, span_str(ms->group->name));
}

static int remove_others(struct membership *ms)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;
    int r = 0;

    while (!r && (node = map_next(&ms->present, &cursor))) {
        const struct present *p = container_of(node, struct present, node);

        if (!p->is_named)
            r = remove_member(ms, p);
    }
    return r;
}

int config_members_apply(struct call *whole, const struct kind *kind, const struct store_object *group,
                         const struct json_value *members, const char *pointer,
                         struct config_changes *changes)
{
    struct membership ms = { .whole = whole, .kind = kind, .group = group, .changes = changes,
                             .pointer = pointer };
    char at[128];
    int r;

    snprintf(at, sizeof(at), "%s/members", pointer);
    if (json_kind_of(members) != JSON_IS_ARRAY || json_count(members) > MEMBERS_MAX)
        return call_refuse_at(whole, REASON_INVALID, at, "must be an array of at most 100000");
    map_init(&ms.present, 2 * MEMBERS_MAX);
    r = read_present(&ms);
    for (size_t i = 0; !r && i < json_count(members); i++)
        r = apply_member(&ms, json_at(members, i), i);
    if (!r)
        r = remove_others(&ms);
    forget_present(&ms);
    return r;
}
