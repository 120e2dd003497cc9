#include "controlplane/store/store_internal.h"

#include <errno.h>
#include <string.h>

int object_of_row(struct stmt *row, struct store_object **ret_object)
{
    struct span doc = column_span(row, 8);
    struct store_object *o = calloc(1, sizeof(*o) + doc.n + 1);
    char *text;

    if (!o)
        return -ENOMEM;
    o->id = column_ulid(row, 0);
    column_copy(row, 1, o->kind, sizeof(o->kind));
    column_copy(row, 2, o->name, sizeof(o->name));
    o->version = column_int(row, 3);
    o->created_ms = column_int(row, 4);
    o->updated_ms = column_int(row, 5);
    column_copy(row, 6, o->created_by, sizeof(o->created_by));
    column_copy(row, 7, o->managed_by, sizeof(o->managed_by));
    text = (char *)(o + 1);
    memcpy(text, doc.p, doc.n);
    o->doc = span_of(text, doc.n);
    *ret_object = o;
    return 0;
}

void store_object_free(struct store_object *object)
{
    free(object);
}

int store_object_insert(struct store_tx *tx, const struct store_new_object *object)
{
    if (object->doc.n > STORE_DOC_MAX || object->name.n > STORE_NAME_MAX)
        return -EINVAL;
    return db_done(tx, db_bind(tx, Q_object_insert, "utsitts", &object->id, object->kind,
                               object->name, (int64_t)store_now_ms(tx->store),
                               object->created_by ? object->created_by : "",
                               object->managed_by ? object->managed_by : "", object->doc), NULL);
}

/* 0 when it exists with that version (0: any). */
static int check_version(struct store_tx *tx, const char *kind, const struct ulid *id,
                         int64_t version, int64_t *ret_version)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_object_version, "ut", id, kind);
    int r;

    r = db_step(tx, row);
    if (r != DB_ROW)
        return r ? r : STORE_E_NOT_FOUND;
    *ret_version = column_int(row, 0);
    return version && version != *ret_version ? STORE_E_STALE : 0;
}

int store_object_update(struct store_tx *tx, const char *kind, const struct ulid *id,
                        int64_t version, struct span name, struct span doc, int64_t *ret_version)
{
    int64_t present;
    int r;

    if (doc.n > STORE_DOC_MAX || name.n > STORE_NAME_MAX)
        return -EINVAL;
    r = check_version(tx, kind, id, version, &present);
    if (!r)
        r = db_done(tx, db_bind(tx, Q_object_update, "utiss", id, kind,
                                (int64_t)store_now_ms(tx->store), name, doc), NULL);
    if (!r)
        *ret_version = present + 1;
    return r;
}

int store_object_delete(struct store_tx *tx, const char *kind, const struct ulid *id,
                        int64_t version)
{
    int64_t present;
    int r;

    r = check_version(tx, kind, id, version, &present);
    if (!r)
        r = db_done(tx, db_bind(tx, Q_object_delete, "u", id), NULL);
    return r == STORE_E_NO_REF ? STORE_E_IN_USE : r;
}

static int take_object(struct store_tx *tx, struct stmt *row, struct store_object **ret_object)
{
    int r = db_step(tx, row);

    if (r == DB_ROW)
        r = object_of_row(row, ret_object);
    else if (!r)
        r = STORE_E_NOT_FOUND;
    stmt_resetp(&row);
    return r;
}

int store_object_get(struct store_tx *tx, const char *kind, const struct ulid *id,
                     struct store_object **ret_object)
{
    return take_object(tx, db_bind(tx, Q_object_get, "ut", id, kind ? kind : ""), ret_object);
}

int store_object_manage(struct store_tx *tx, const char *kind, const struct ulid *id,
                        const char *managed_by)
{
    return db_done(tx, db_bind(tx, Q_object_manage, "utt", id, kind, managed_by), NULL);
}

int store_object_find(struct store_tx *tx, const char *kind, struct span name,
                      struct store_object **ret_object)
{
    return take_object(tx, db_bind(tx, Q_object_find, "ts", kind, name), ret_object);
}

int store_row_get(struct store_tx *tx, enum store_source source, const struct ulid *id,
                  struct store_object **ret_row)
{
    static const char *const kinds[] = {
        [STORE_DECISIONS] = "route-decision", [STORE_STREAMS] = "stream",
        [STORE_OPERATIONS] = "operation", [STORE_OPERATION_ITEMS] = "operation-item",
        [STORE_DIAGNOSTICS] = "diagnostic",
    };

    switch (source) {
    case STORE_OBJECTS:
        return store_object_get(tx, NULL, id, ret_row);
    case STORE_AUDIT:
        return take_object(tx, db_bind(tx, Q_audit_get, "u", id), ret_row);
    case STORE_DECISIONS:
    case STORE_STREAMS:
    case STORE_OPERATIONS:
    case STORE_OPERATION_ITEMS:
    case STORE_DIAGNOSTICS:
        break;
    }
    return take_object(tx, db_bind(tx, Q_record_get, "itu", (int64_t)source, kinds[source], id),
                       ret_row);
}

/* ---- references ---- */

int store_refs_set(struct store_tx *tx, const struct ulid *from, const char *field,
                   const struct ulid *to, size_t count)
{
    int r;

    r = db_done(tx, db_bind(tx, Q_refs_clear, "ut", from, field), NULL);
    for (size_t i = 0; !r && i < count; i++)
        r = db_done(tx, db_bind(tx, Q_refs_add, "utu", from, field, &to[i]), NULL);
    return r;
}

static int give_referrer(struct stmt *row, store_referrer_fn fn, void *ctx)
{
    char kind[STORE_KIND_MAX + 1], name[STORE_NAME_MAX + 1], field[64];
    struct store_referrer referrer = { .id = column_ulid(row, 0), .kind = kind, .name = name,
                                       .field = field };

    column_copy(row, 1, kind, sizeof(kind));
    column_copy(row, 2, name, sizeof(name));
    column_copy(row, 3, field, sizeof(field));
    return fn(ctx, &referrer);
}

int store_referrers(struct store_tx *tx, const struct ulid *to, size_t limit, store_referrer_fn fn,
                    void *ctx)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_referrers, "ui", to, (int64_t)limit);
    int r;

    while ((r = db_step(tx, row)) == DB_ROW) {
        r = give_referrer(row, fn, ctx);
        if (r)
            return r;
    }
    return r;
}

/* ---- members ---- */

static int member_exists(struct store_tx *tx, const char *relation, const struct ulid *group,
                         const struct ulid *member)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(tx, Q_member_exists, "tuu", relation, group, member);

    return db_step(tx, row);
}

int store_member_put(struct store_tx *tx, const char *relation, const struct ulid *group,
                     const struct ulid *member, struct span doc, bool *ret_is_new)
{
    int exists = member_exists(tx, relation, group, member);
    int r;

    if (exists != 0 && exists != DB_ROW)
        return exists;
    r = db_done(tx, db_bind(tx, Q_member_put, "tuusi", relation, group, member, doc,
                            (int64_t)store_now_ms(tx->store)), NULL);
    if (!r)
        *ret_is_new = !exists;
    return r;
}

int store_member_delete(struct store_tx *tx, const char *relation, const struct ulid *group,
                        const struct ulid *member)
{
    int64_t changed;
    int r;

    r = db_done(tx, db_bind(tx, Q_member_delete, "tuu", relation, group, member), &changed);
    return r ? r : changed ? 0 : STORE_E_NOT_FOUND;
}

static int give_member(struct stmt *row, const char *relation, store_member_fn fn, void *ctx)
{
    char group_name[STORE_NAME_MAX + 1], member_name[STORE_NAME_MAX + 1];
    struct store_member m = { .group = column_ulid(row, 0), .member = column_ulid(row, 1),
                              .relation = relation, .group_name = group_name,
                              .member_name = member_name, .doc = column_span(row, 4),
                              .added_ms = column_int(row, 5) };

    column_copy(row, 2, group_name, sizeof(group_name));
    column_copy(row, 3, member_name, sizeof(member_name));
    return fn(ctx, &m);
}

static int each_member(struct store_tx *tx, struct stmt *row, const char *relation,
                       store_member_fn fn, void *ctx)
{
    int r;

    while ((r = db_step(tx, row)) == DB_ROW) {
        r = give_member(row, relation, fn, ctx);
        if (r)
            break;
    }
    stmt_resetp(&row);
    return r;
}

int store_members_of(struct store_tx *tx, const char *relation, const struct ulid *group,
                     const struct ulid *after, size_t limit, store_member_fn fn, void *ctx)
{
    return each_member(tx, db_bind(tx, Q_members_of, "tuti", relation, group,
                                   after ? after->text : "", (int64_t)limit), relation, fn, ctx);
}

int store_groups_of(struct store_tx *tx, const char *relation, const struct ulid *member,
                    const struct ulid *after, size_t limit, store_member_fn fn, void *ctx)
{
    return each_member(tx, db_bind(tx, Q_groups_of, "tuti", relation, member,
                                   after ? after->text : "", (int64_t)limit), relation, fn, ctx);
}
