#include "controlplane/store/list_internal.h"
#include "lib/base/encode.h"

#include <string.h>

/* ---- cursors: bound to their sorting ---- */

static void cursor_head(const struct store_query *q, struct buf *out)
{
    buf_printf(out, "1%c%s%c", q->is_descending ? '-' : '+', sort_of(q), '\n');
}

static const char key_letters[VALUE_TYPES] = {
    [VALUE_TEXT] = 't', [VALUE_INT] = 'i', [VALUE_REAL] = 'r', [VALUE_JSON] = 'j',
};

static bool key_type(char letter, enum value_type *ret_type)
{
    for (enum value_type type = 0; type < VALUE_TYPES; type++) {
        if (!letter || key_letters[type] != letter)
            continue;
        *ret_type = type;
        return true;
    }
    return false;
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
    if (!key_type(rest.p[0], &ret_cursor->key.type))
        return false;
    ret_cursor->key.text = span_skip(rest, 1);
    ret_cursor->key.number = strtoll(rest.p + 1, NULL, 10);
    ret_cursor->key.real = strtod(rest.p + 1, NULL);
    return true;
}

/* Of the row that the page ends with. */
static void cursor_write(const struct store_query *q, struct stmt *row, struct buf *out)
{
    AUTO(buf_deinit) struct buf plain;
    struct value key = row->db->driver->column(row, OBJECT_COLUMNS);

    if (is_by_id(q))                    /* the id stands there already */
        key = (struct value){ .type = VALUE_TEXT, .text = SPAN("") };
    buf_init_heap(&plain, 4096);
    cursor_head(q, &plain);
    buf_put_span(&plain, column_span(row, 0));
    buf_put_u8(&plain, '\n');
    buf_put_u8(&plain, (uint8_t)key_letters[key.type]);
    value_print(&key, &plain);
    if (buf_error(&plain))
        out->error = buf_error(&plain);
    base64url_encode(buf_span(&plain), out);
}

static int prepare(struct store_tx *tx, struct composer *c, bool is_guarded, struct stmt **ret_stmt)
{
    const struct driver *driver = tx->conn->db->driver;
    int r = composer_error(c);

    if (!r)
        r = driver->prepare(tx->conn->db, NULL, buf_span(&c->sql), is_guarded, ret_stmt);
    for (size_t i = 0; !r && i < c->value_count; i++)
        driver->bind(*ret_stmt, (int)i + 1, &c->values[i]);
    return r;
}

static struct composer *composer_new(struct store_tx *tx)
{
    struct composer *c = malloc(sizeof(*c));

    if (c)
        composer_init(c, tx->conn->db->driver->dialect);
    return c;
}

static int compose_list(struct composer *c, const struct store_query *q, struct buf *cursor_mem)
{
    compose_columns(c, q);
    compose_where(c, q);
    if (q->after.n) {
        if (!cursor_read(q, cursor_mem, &c->cursor))
            return STORE_E_BAD_CURSOR;
        compose_after(c, q);
    }
    compose_order(c, q);
    return 0;
}

static int give_row(struct stmt *row, store_row_fn fn, void *ctx)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    int r;

    r = object_of_row(row, &object);
    return r ? r : fn(ctx, object);
}

int store_list(struct store_tx *tx, const struct store_query *query, store_row_fn fn, void *ctx,
               struct buf *ret_next)
{
    AUTO(freep) struct composer *c = composer_new(tx);
    AUTO(stmt_freep) struct stmt *row = NULL;
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
        r = prepare(tx, c, query->after.n > 0, &row);
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
    if (r == -EINVAL && query->after.n)         /* a key that cannot be compared with the field */
        return STORE_E_BAD_CURSOR;
    return r == DB_ROW ? buf_error(ret_next) : r;
}

int store_count(struct store_tx *tx, const struct store_query *query, uint64_t *ret_count)
{
    AUTO(freep) struct composer *c = composer_new(tx);
    AUTO(stmt_freep) struct stmt *row = NULL;
    int r;

    if (!c)
        return -ENOMEM;
    compose_count(c, query);
    r = prepare(tx, c, false, &row);
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
    AUTO(freep) struct composer *c = composer_new(tx);
    AUTO(stmt_freep) struct stmt *row = NULL;
    int r;

    if (!c)
        return -ENOMEM;
    compose_facet(c, query, field, limit);
    r = prepare(tx, c, false, &row);
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
