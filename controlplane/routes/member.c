#include "controlplane/routes/answer.h"
#include "controlplane/routes/guard.h"
#include "controlplane/routes/handlers.h"
#include <stdio.h>

static int find_member_object(struct call *c, struct span ref, struct store_object **ret_object)
{
    int r = STORE_E_NOT_FOUND;

    for (size_t i = 0; r == STORE_E_NOT_FOUND && i < c->kind->member_kind_count; i++)
        r = call_find(c, c->kind->member_kinds[i], ref, ret_object);
    return r == STORE_E_NOT_FOUND ? call_not_found(c) : r;
}

/* The membership's own fields, the member's name, and its kind where there are several. */
static int put_member(struct call *c, const struct store_member *m, struct json_writer *w)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct json_error error;
    int r = json_parse(m->doc, &doc, &error);

    if (!r && c->kind->member_kind_count > 1)
        r = store_object_get(c->tx, NULL, &m->member, &object);
    if (r)
        return r;
    json_open_object(w, NULL);
    json_put_text(w, "id", m->member.text);
    json_put_text(w, "name", m->member_name);
    if (object)
        json_put_text(w, "kind", object->kind);
    for (size_t i = 0; i < c->kind->member_field_count; i++) {
        const char *name = c->kind->member_fields[i].name;
        const struct json_value *value = json_get(doc, name);

        if (value)
            json_put_value(w, name, value);
    }
    view_time(w, "added_at", m->added_ms);
    json_close_object(w);
    return 0;
}

/* ---- list ---- */
struct listing {
    struct call *c;
    struct json_writer *w;
    size_t limit, count;
    struct ulid last;
};

static int put_listed(void *ctx, const struct store_member *m)
{
    struct listing *l = ctx;

    if (l->count++ == l->limit) /* one more than was asked for: there is a next page */
        return 0;
    l->last = m->member;
    return put_member(l->c, m, l->w);
}

static int read_after(struct call *c, struct ulid *after, const struct ulid **ret_after)
{
    struct span cursor;

    *ret_after = NULL;
    if (!request_query(c->req, "cursor", &cursor))
        return 0;
    for (size_t i = 0; i < cursor.n; i++) {
        char ch = cursor.p[i];

        if (!((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9')
              || ch == '-' || ch == '_'))
            return call_refuse_at(c, REASON_INVALID, "?cursor", "must be what next_cursor gave");
    }
    if (!cursor.n || cursor.n > 1024)
        return call_refuse_at(c, REASON_INVALID, "?cursor", "must be what next_cursor gave");
    if (!ulid_parse(cursor, after))
        return STORE_E_BAD_CURSOR;
    *ret_after = after;
    return 0;
}

static int list_members(struct call *c)
{
    AUTO(store_object_freep) struct store_object *group = NULL;
    struct json_writer w;
    struct listing l = { .c = c, .w = &w };
    const struct ulid *after;
    struct ulid cursor;
    int r = asked_limit(c, &l.limit);

    if (!r)
        r = read_after(c, &cursor, &after);
    if (!r)
        r = call_path_object(c, 0, &group);
    if (r)
        return r;
    json_begin(&w, &c->res->body);
    json_open_object(&w, NULL);
    json_open_array(&w, "items");
    r = store_members_of(c->tx, c->kind->relation, &group->id, after, l.limit + 1, put_listed, &l);
    json_close_array(&w);
    if (l.count > l.limit)
        json_put_text(&w, "next_cursor", l.last.text);
    json_close_object(&w);
    c->res->status = 200;
    return r ? r : buf_error(&c->res->body);
}

/* ---- one ---- */
struct finding {
    struct call *c;
    struct ulid member;
    bool is_found;
};

static int put_found(void *ctx, const struct store_member *m)
{
    struct finding *f = ctx;
    struct json_writer w;

    if (!span_eq(ulid_span(&m->member), ulid_span(&f->member)))
        return 0;
    f->is_found = true;
    json_begin(&w, &f->c->res->body);
    return put_member(f->c, m, &w);
}

/* The id before `member` in the order of ids, so that a walk of one finds it. */
static const struct ulid *just_before(const struct ulid *member, struct ulid *ret_before)
{
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    size_t at = ULID_LEN;

    *ret_before = *member;
    while (at-- > 0) {
        const char *digit = digits;

        while (*digit != ret_before->text[at])
            digit++;
        if (digit != digits) {
            ret_before->text[at] = digit[-1];
            return ret_before;
        }
        ret_before->text[at] = 'Z';
    }
    return NULL;
}

static int show_member(struct call *c, const struct ulid *group, const struct ulid *member)
{
    struct finding f = { .c = c, .member = *member };
    struct ulid before;
    int r;

    r = store_members_of(c->tx, c->kind->relation, group, just_before(member, &before), 1,
                         put_found, &f);
    if (r)
        return r;
    return f.is_found ? buf_error(&c->res->body) : call_not_found(c);
}

static int find_both(struct call *c, struct store_object **group, struct store_object **member)
{
    int r = call_path_object(c, 0, group);

    return r ? r : find_member_object(c, c->req->params[1], member);
}

static int get_member(struct call *c)
{
    AUTO(store_object_freep) struct store_object *group = NULL, *member = NULL;
    int r = find_both(c, &group, &member);

    if (!r)
        r = show_member(c, &group->id, &member->id);
    c->res->status = 200;
    return r;
}

static int put_membership(struct call *c)
{
    AUTO(store_object_freep) struct store_object *group = NULL, *member = NULL;
    AUTO(body_deinit) struct body body = { 0 };
    struct change change = call_change(c);
    bool is_new = false;
    int r = body_member(c, &body);

    if (!r)
        r = find_both(c, &group, &member);
    if (!r)
        r = guard_member(c, group, member);
    if (!r)
        r = change_member_put(&change, c->kind, &group->id, &member->id, buf_span(&body.text),
                              &is_new);
    if (!r)
        r = show_member(c, &group->id, &member->id);
    if (r)
        return r;
    c->res->status = is_new ? 201 : 200;
    return answer_commit(c);
}

static int delete_membership(struct call *c)
{
    AUTO(store_object_freep) struct store_object *group = NULL, *member = NULL;
    struct change change = call_change(c);
    int r = find_both(c, &group, &member);

    if (!r)
        r = change_member_delete(&change, c->kind, &group->id, &member->id);
    if (r)
        return r;
    c->res->status = 204;
    return answer_commit(c);
}

void on_member_list(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, list_members);
}

void on_member_get(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, get_member);
}

void on_member_put(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_WRITE, put_membership);
}

void on_member_delete(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_WRITE, delete_membership);
}
