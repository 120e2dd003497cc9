#include "controlplane/store/store_internal.h"
#include "lib/base/encode.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/*
 * Lists are composed from the fragments of this file; whatever a caller brings (field
 * paths, values, cursors) is bound as a parameter and never becomes SQL text.
 */
#define SQL_MAX 8192
#define VALUES_MAX 64
#define PATH_MAX_BYTES 160

struct value {
    enum { VALUE_TEXT, VALUE_INT, VALUE_REAL } type;
    struct span text;
    int64_t number;
    double real;
};

struct cursor {                 /* where the page before ended */
    struct value key;
    struct ulid id;
};

struct composer {
    char sql_text[SQL_MAX];
    struct buf sql;
    struct value values[VALUES_MAX];
    size_t value_count;
    char paths[STORE_FILTERS_MAX + 2][PATH_MAX_BYTES];
    size_t path_count;
    char prefixes[STORE_FILTERS_MAX + 1][2 * STORE_NAME_MAX + 8];
    size_t prefix_count;
    struct cursor cursor;       /* values point into it */
    int condition;              /* STORE_E_…, sticks */
};

static const struct source {
    const char *columns;        /* in the order of struct store_object */
    const char *from;
    bool has_kind, is_record;
    const char *id, *name, *time;       /* what stands for these fields */
} sources[] = {
    [STORE_OBJECTS] = { "id, kind, name, version, created_at, updated_at, created_by, managed_by, doc",
                        "objects", true, false, "id", "name", "created_at" },
    [STORE_AUDIT] = { "id, 'audit-event', '', 1, at, at, '', '', doc", "audit_events", false, false,
                      "id", "writer", "at" },
    [STORE_DECISIONS] = { "id, 'route-decision', '', 1, at, at, '', '', doc", "records", false, true,
                          "id", "id", "at" },
    [STORE_STREAMS] = { "id, 'stream', '', 1, at, at, '', '', doc", "records", false, true,
                        "id", "id", "at" },
};

static const struct {
    const char *field, *column;
} object_columns[] = {
    { "version", "version" },       { "updated_at", "updated_at" },
    { "created_by", "created_by" }, { "managed_by", "managed_by" },
};

static void composer_init(struct composer *c)
{
    buf_init_fixed(&c->sql, c->sql_text, sizeof(c->sql_text));
    c->value_count = c->path_count = c->prefix_count = 0;
    c->condition = 0;
}

/* Writes "?n" for a value that is bound later. */
static void put_value(struct composer *c, struct value value)
{
    if (c->value_count == VALUES_MAX) {
        c->condition = STORE_E_BAD_FILTER;
        return;
    }
    c->values[c->value_count++] = value;
    buf_printf(&c->sql, "?%zu", c->value_count);
}

static void put_text(struct composer *c, struct span text)
{
    put_value(c, (struct value){ .type = VALUE_TEXT, .text = text });
}

static void put_int(struct composer *c, int64_t number)
{
    put_value(c, (struct value){ .type = VALUE_INT, .number = number });
}

static bool is_path_byte(char ch)
{
    return ch >= ' ' && ch != '"' && ch != '\\' && ch != 0x7f;
}

/* "labels.env" is $."labels"."env"; of labels, all behind the first dot is one key. */
static bool path_write(const char *field, char *dst, size_t size)
{
    struct span rest = span_str(field), part;
    struct buf path;

    buf_init_fixed(&path, dst, size - 1);
    buf_put_str(&path, "$");
    if (!rest.n)
        return false;
    while (rest.p) {
        if (path.len > 1 && span_starts(span_str(field), SPAN("labels."))) {
            part = rest;
            rest = SPAN_NONE;
        } else if (!span_cut(&rest, '.', &part)) {
            break;
        }
        for (size_t i = 0; i < part.n; i++)
            if (!is_path_byte(part.p[i]))
                return false;
        if (!part.n)
            return false;
        buf_printf(&path, ".\"" SPAN_FMT "\"", SPAN_ARG(part));
    }
    if (buf_error(&path))
        return false;
    dst[path.len] = '\0';
    return true;
}

static const char *column_of(const struct source *source, const char *field)
{
    if (strcmp(field, "id") == 0)
        return source->id;
    if (strcmp(field, "name") == 0)
        return source->name;
    if (strcmp(field, "created_at") == 0 || strcmp(field, "at") == 0)
        return source->time;
    for (size_t i = 0; source->has_kind && i < ARRAY_LEN(object_columns); i++)
        if (strcmp(field, object_columns[i].field) == 0)
            return object_columns[i].column;
    return NULL;
}

static struct span next_path(struct composer *c, const char *field)
{
    char *path;

    if (c->path_count == ARRAY_LEN(c->paths) ||
        !path_write(field, c->paths[c->path_count], PATH_MAX_BYTES)) {
        c->condition = STORE_E_BAD_FILTER;
        return SPAN("$");
    }
    path = c->paths[c->path_count++];
    return span_str(path);
}

/* The field as an SQL expression. */
static void put_field(struct composer *c, const struct source *source, const char *field)
{
    const char *column = column_of(source, field);

    if (column) {
        buf_put_str(&c->sql, column);
        return;
    }
    buf_put_str(&c->sql, "json_extract(doc, ");
    put_text(c, next_path(c, field));
    buf_put_str(&c->sql, ")");
}

static void put_filter_value(struct composer *c, const struct store_filter *f)
{
    if (f->type == STORE_TEXT)
        put_text(c, f->text);
    else
        put_int(c, f->number);
}

static void put_has(struct composer *c, const struct source *source, const struct store_filter *f)
{
    (void)source;
    buf_put_str(&c->sql, "EXISTS (SELECT 1 FROM json_each(doc, ");
    put_text(c, next_path(c, f->field));
    buf_put_str(&c->sql, ") e WHERE e.value = ");
    put_filter_value(c, f);
    buf_put_str(&c->sql, ")");
}

/* Text for LIKE ... ESCAPE '\': its wildcards stand for themselves. */
static struct span like_pattern(struct composer *c, struct span text, bool is_anywhere)
{
    char *dst = c->prefixes[c->prefix_count];
    struct buf pattern;

    if (c->prefix_count == ARRAY_LEN(c->prefixes) || text.n > STORE_NAME_MAX) {
        c->condition = STORE_E_BAD_FILTER;
        return SPAN("");
    }
    c->prefix_count++;
    buf_init_fixed(&pattern, dst, sizeof(c->prefixes[0]));
    if (is_anywhere)
        buf_put_u8(&pattern, '%');
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '%' || text.p[i] == '_' || text.p[i] == '\\')
            buf_put_u8(&pattern, '\\');
        buf_put_u8(&pattern, (uint8_t)text.p[i]);
    }
    buf_put_u8(&pattern, '%');
    return buf_span(&pattern);
}

static void put_prefix(struct composer *c, const struct source *source, const struct store_filter *f)
{
    put_field(c, source, f->field);
    buf_put_str(&c->sql, " LIKE ");
    put_text(c, like_pattern(c, f->text, false));
    buf_put_str(&c->sql, " ESCAPE '\\'");
}

static void put_refers(struct composer *c, const struct source *source, const struct store_filter *f)
{
    (void)source;
    buf_put_str(&c->sql, "id IN (SELECT from_id FROM refs WHERE to_id = ");
    put_text(c, f->text);
    buf_put_str(&c->sql, " AND field = ");
    put_text(c, span_str(f->field));
    buf_put_str(&c->sql, ")");
}

static void put_member_of(struct composer *c, const struct source *source,
                          const struct store_filter *f)
{
    (void)source;
    buf_put_str(&c->sql, "id IN (SELECT member_id FROM members WHERE relation = ");
    put_text(c, span_str(f->field));
    buf_put_str(&c->sql, " AND group_id = ");
    put_text(c, f->text);
    buf_put_str(&c->sql, ")");
}

/* Absent counts as different: NULL <> 'x' would be neither. */
static const struct {
    const char *text;
    bool has_value;
    void (*put)(struct composer *c, const struct source *source, const struct store_filter *f);
} operators[] = {
    [STORE_EQ] = { " = ", true, NULL },
    [STORE_NE] = { " IS NOT ", true, NULL },
    [STORE_LT] = { " < ", true, NULL },
    [STORE_LE] = { " <= ", true, NULL },
    [STORE_GT] = { " > ", true, NULL },
    [STORE_GE] = { " >= ", true, NULL },
    [STORE_HAS] = { NULL, true, put_has },
    [STORE_PREFIX] = { NULL, true, put_prefix },
    [STORE_NULL] = { " IS NULL", false, NULL },
    [STORE_SET] = { " IS NOT NULL", false, NULL },
    [STORE_REFERS] = { NULL, true, put_refers },
    [STORE_MEMBER_OF] = { NULL, true, put_member_of },
};

static void put_filter(struct composer *c, const struct source *source, const struct store_filter *f)
{
    buf_put_str(&c->sql, " AND ");
    if (operators[f->op].put) {
        operators[f->op].put(c, source, f);
        return;
    }
    put_field(c, source, f->field);
    buf_put_str(&c->sql, operators[f->op].text);
    if (operators[f->op].has_value)
        put_filter_value(c, f);
}

static void put_search(struct composer *c, const struct source *source, struct span text)
{
    struct span pattern = like_pattern(c, text, true);

    buf_printf(&c->sql, " AND (%s LIKE ", source->name);
    put_text(c, pattern);
    buf_put_str(&c->sql, " ESCAPE '\\' OR doc LIKE ");
    put_text(c, pattern);
    buf_put_str(&c->sql, " ESCAPE '\\')");
}

static void put_where(struct composer *c, const struct store_query *q)
{
    const struct source *source = &sources[q->source];

    buf_printf(&c->sql, " FROM %s WHERE 1", source->from);
    if (source->has_kind) {
        buf_put_str(&c->sql, " AND kind = ");
        put_text(c, span_str(q->kind));
    }
    if (source->is_record) {
        buf_put_str(&c->sql, " AND source = ");
        put_int(c, q->source);
    }
    for (size_t i = 0; i < q->filter_count && i < STORE_FILTERS_MAX; i++)
        put_filter(c, source, &q->filters[i]);
    if (q->text.n)
        put_search(c, source, q->text);
}

/* ---- cursors: bound to their sorting ---- */

static const char *sort_of(const struct store_query *q)
{
    return q->sort ? q->sort : "id";
}

static void cursor_head(const struct store_query *q, struct buf *out)
{
    buf_printf(out, "1%c%s%c", q->is_descending ? '-' : '+', sort_of(q), '\n');
}

static bool cursor_read(const struct store_query *q, struct buf *mem, struct cursor *ret_cursor)
{
    char head_text[PATH_MAX_BYTES + 8];
    struct buf head;
    struct span rest, id;

    buf_init_fixed(&head, head_text, sizeof(head_text));
    cursor_head(q, &head);
    if (!base64url_decode(q->after, mem))
        return false;
    rest = span_of(buf_text(mem), mem->len);    /* with a NUL behind it: strtoll and strtod stop there */
    if (!span_starts(rest, buf_span(&head)))
        return false;
    rest = span_skip(rest, head.len);
    if (!span_cut(&rest, '\n', &id) || !rest.n || !ulid_parse(id, &ret_cursor->id))
        return false;
    ret_cursor->key = (struct value){ .type = VALUE_TEXT, .text = span_skip(rest, 1) };
    if (rest.p[0] == 't')
        return true;
    if (rest.p[0] != 'i' && rest.p[0] != 'r')
        return false;
    ret_cursor->key.type = rest.p[0] == 'i' ? VALUE_INT : VALUE_REAL;
    ret_cursor->key.number = strtoll(rest.p + 1, NULL, 10);
    ret_cursor->key.real = strtod(rest.p + 1, NULL);
    return true;
}

static void put_after(struct composer *c, const struct store_query *q)
{
    const struct source *source = &sources[q->source];

    buf_put_str(&c->sql, " AND (coalesce(");
    put_field(c, source, sort_of(q));
    buf_printf(&c->sql, ", ''), %s) %c (", source->id, q->is_descending ? '<' : '>');
    put_value(c, c->cursor.key);
    buf_put_str(&c->sql, ", ");
    put_text(c, ulid_span(&c->cursor.id));
    buf_put_str(&c->sql, ")");
}

/* By id alone the row value would only hide the index from the planner. */
static void put_after_id(struct composer *c, const struct store_query *q)
{
    buf_printf(&c->sql, " AND %s %c ", sources[q->source].id, q->is_descending ? '<' : '>');
    put_text(c, ulid_span(&c->cursor.id));
}

static void put_order(struct composer *c, const struct store_query *q)
{
    const char *direction = q->is_descending ? " DESC" : "";

    buf_put_str(&c->sql, " ORDER BY ");
    if (strcmp(sort_of(q), "id") != 0) {
        buf_put_str(&c->sql, "coalesce(");
        put_field(c, &sources[q->source], sort_of(q));
        buf_printf(&c->sql, ", '')%s, ", direction);
    }
    buf_printf(&c->sql, "%s%s LIMIT ", sources[q->source].id, direction);
    put_int(c, (int64_t)q->limit + 1);          /* one more tells whether there is a next page */
}

static int bind_value(sqlite3_stmt *stmt, int i, const struct value *v)
{
    switch (v->type) {
    case VALUE_INT:
        return sqlite3_bind_int64(stmt, i, v->number);
    case VALUE_REAL:
        return sqlite3_bind_double(stmt, i, v->real);
    case VALUE_TEXT:
        break;
    }
    return sqlite3_bind_text64(stmt, i, v->text.n ? v->text.p : "", v->text.n, SQLITE_TRANSIENT,
                               SQLITE_UTF8);
}

static void stmt_finalizep(sqlite3_stmt **stmt)
{
    sqlite3_finalize(*stmt);
}

static int prepare(struct store_tx *tx, struct composer *c, sqlite3_stmt **ret_stmt)
{
    AUTO(stmt_finalizep) sqlite3_stmt *stmt = NULL;
    int code;

    if (c->condition)
        return c->condition;
    if (buf_error(&c->sql))
        return STORE_E_BAD_FILTER;
    code = sqlite3_prepare_v2(tx->conn->db, c->sql_text, (int)c->sql.len, &stmt, NULL);
    if (code != SQLITE_OK)
        return db_error(tx->conn->db, code, "list");
    for (size_t i = 0; i < c->value_count; i++) {
        code = bind_value(stmt, (int)i + 1, &c->values[i]);
        if (code != SQLITE_OK)
            return db_error(tx->conn->db, code, "list");
    }
    *ret_stmt = TAKE(stmt);
    return 0;
}

static int compose_list(struct composer *c, const struct store_query *q, struct buf *cursor_mem)
{
    composer_init(c);
    buf_printf(&c->sql, "SELECT %s, coalesce(", sources[q->source].columns);
    put_field(c, &sources[q->source], sort_of(q));
    buf_put_str(&c->sql, ", '')");
    put_where(c, q);
    if (q->after.n) {
        if (!cursor_read(q, cursor_mem, &c->cursor))
            return STORE_E_BAD_CURSOR;
        if (strcmp(sort_of(q), "id") == 0)
            put_after_id(c, q);
        else
            put_after(c, q);
    }
    put_order(c, q);
    return 0;
}

/* Of the row that the page ends with. */
static void cursor_write(const struct store_query *q, sqlite3_stmt *row, struct buf *out)
{
    AUTO(buf_deinit) struct buf plain;
    int type = sqlite3_column_type(row, OBJECT_COLUMNS);

    buf_init_heap(&plain, 4096);
    cursor_head(q, &plain);
    buf_put_span(&plain, column_span(row, 0));
    buf_put_u8(&plain, '\n');
    if (strcmp(sort_of(q), "id") == 0)
        buf_put_u8(&plain, 't');        /* the id stands there already */
    else
        buf_put_u8(&plain, type == SQLITE_INTEGER ? 'i' : type == SQLITE_FLOAT ? 'r' : 't');
    if (strcmp(sort_of(q), "id") != 0)
        buf_put_span(&plain, column_span(row, OBJECT_COLUMNS));
    if (buf_error(&plain))
        out->error = buf_error(&plain);
    base64url_encode(buf_span(&plain), out);
}

static int give_row(sqlite3_stmt *row, store_row_fn fn, void *ctx)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    int r;

    r = object_of_row(row, &object);
    return r ? r : fn(ctx, object);
}

int store_list(struct store_tx *tx, const struct store_query *query, store_row_fn fn, void *ctx,
               struct buf *ret_next)
{
    AUTO(freep) struct composer *c = malloc(sizeof(*c));
    AUTO(stmt_finalizep) sqlite3_stmt *row = NULL;
    AUTO(buf_deinit) struct buf cursor_mem, next;
    size_t seen = 0;
    int r;

    buf_init_heap(&cursor_mem, 4096);
    buf_init_heap(&next, 8192);
    if (!c)
        return -ENOMEM;
    if (!query->limit || query->limit > STORE_LIMIT_MAX || query->filter_count > STORE_FILTERS_MAX)
        return -EINVAL;
    r = compose_list(c, query, &cursor_mem);
    if (!r)
        r = prepare(tx, c, &row);
    if (r)
        return r;
    while ((r = db_step(tx, row)) == DB_ROW && seen < query->limit) {
        r = give_row(row, fn, ctx);
        if (r)
            return r;
        buf_clear(&next);
        if (++seen == query->limit)
            cursor_write(query, row, &next);
    }
    if (r == DB_ROW)
        buf_put_span(ret_next, buf_span(&next));
    return r == DB_ROW ? buf_error(ret_next) : r;
}

int store_count(struct store_tx *tx, const struct store_query *query, uint64_t *ret_count)
{
    AUTO(freep) struct composer *c = malloc(sizeof(*c));
    AUTO(stmt_finalizep) sqlite3_stmt *row = NULL;
    int r;

    if (!c)
        return -ENOMEM;
    composer_init(c);
    buf_put_str(&c->sql, "SELECT count(*)");
    put_where(c, query);
    r = prepare(tx, c, &row);
    if (!r)
        r = db_step(tx, row);
    if (r != DB_ROW)
        return r;
    *ret_count = (uint64_t)column_int(row, 0);
    return 0;
}

int store_facet(struct store_tx *tx, const struct store_query *query, const char *field,
                size_t limit, store_facet_fn fn, void *ctx)
{
    AUTO(freep) struct composer *c = malloc(sizeof(*c));
    AUTO(stmt_finalizep) sqlite3_stmt *row = NULL;
    int r;

    if (!c)
        return -ENOMEM;
    composer_init(c);
    buf_put_str(&c->sql, "SELECT coalesce(");
    put_field(c, &sources[query->source], field);
    buf_put_str(&c->sql, ", ''), count(*)");
    put_where(c, query);
    buf_put_str(&c->sql, " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ");
    put_int(c, (int64_t)limit);
    r = prepare(tx, c, &row);
    while (!r && (r = db_step(tx, row)) == DB_ROW)
        r = fn(ctx, column_span(row, 0), (uint64_t)column_int(row, 1));
    return r;
}

int store_list_all(struct store_tx *tx, const struct store_query *query, store_row_fn fn, void *ctx)
{
    struct store_query page_query = *query;
    AUTO(buf_deinit) struct buf next;
    int r;

    buf_init_heap(&next, 4096);
    do {
        AUTO(buf_deinit) struct buf page;

        buf_init_heap(&page, 4096);
        page_query.after = buf_span(&next);
        r = store_list(tx, &page_query, fn, ctx, &page);
        buf_clear(&next);
        buf_put_span(&next, buf_span(&page));
    } while (!r && next.len);
    return r;
}
