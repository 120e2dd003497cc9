#include "controlplane/store/list_internal.h"

#include <string.h>

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
    [STORE_OPERATIONS] = { "id, 'operation', '', 1, at, at, '', '', doc", "records", false, true,
                           "id", "id", "at" },
    [STORE_OPERATION_ITEMS] = { "id, 'operation-item', '', 1, at, at, '', '', doc", "records", false, true,
                                "id", "id", "at" },
    [STORE_STREAMS] = { "id, 'stream', '', 1, at, at, '', '', doc", "records", false, true,
                        "id", "id", "at" },
    [STORE_DIAGNOSTICS] = { "id, 'diagnostic', '', 1, at, at, '', '', doc", "records", false, true,
                            "id", "id", "at" },
};

static const struct column {
    const char *field, *name;
    bool is_number;
} object_columns[] = {
    { "version", "version", true },        { "updated_at", "updated_at", true },
    { "created_by", "created_by", false }, { "managed_by", "managed_by", false },
};

void composer_init(struct composer *c, const struct dialect *dialect)
{
    c->dialect = dialect;
    buf_init_fixed(&c->sql, c->sql_text, sizeof(c->sql_text));
    c->value_count = c->path_count = c->prefix_count = 0;
    c->condition = 0;
}

int composer_error(const struct composer *c)
{
    if (c->condition)
        return c->condition;
    return buf_error(&c->sql) ? STORE_E_BAD_FILTER : 0;
}

/* Writes the number of a value that is bound later. */
static void put_value(struct composer *c, struct value value)
{
    const struct around *around = &c->dialect->values[value.type];

    if (c->value_count == DB_VALUES_MAX) {
        c->condition = STORE_E_BAD_FILTER;
        return;
    }
    c->values[c->value_count++] = value;
    buf_printf(&c->sql, "%s%zu%s", around->before, c->value_count, around->behind);
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

/* Of "labels.env", all behind the first dot is one key. */
static bool next_step(const char *field, struct span *rest, size_t steps, struct span *ret_step)
{
    if (steps == 1 && rest->p && span_starts(span_str(field), SPAN("labels."))) {
        *ret_step = *rest;
        *rest = SPAN_NONE;
        return true;
    }
    return rest->p && span_cut(rest, '.', ret_step);
}

/* "a.b" is $."a"."b" to SQLite and {"a","b"} to PostgreSQL. */
static bool path_write(const struct dialect *dialect, const char *field, char *dst, size_t size)
{
    struct span rest = span_str(field), step;
    struct buf path;
    size_t steps = 0;

    buf_init_fixed(&path, dst, size - 1);
    buf_put_str(&path, dialect->path.before);
    for (; next_step(field, &rest, steps, &step); steps++) {
        for (size_t i = 0; i < step.n; i++)
            if (!is_path_byte(step.p[i]))
                return false;
        if (!step.n)
            return false;
        buf_printf(&path, "%s\"" SPAN_FMT "\"", steps ? dialect->path_step : "", SPAN_ARG(step));
    }
    buf_put_str(&path, dialect->path.behind);
    if (!steps || buf_error(&path))
        return false;
    dst[path.len] = '\0';
    return true;
}

static bool column_of(const struct source *source, const char *field, struct column *ret_column)
{
    const struct column always[] = {
        { "id", source->id, false }, { "name", source->name, false },
        { "created_at", source->time, true }, { "at", source->time, true },
    };

    for (size_t i = 0; i < ARRAY_LEN(always); i++) {
        *ret_column = always[i];
        if (strcmp(field, always[i].field) == 0)
            return true;
    }
    for (size_t i = 0; source->has_kind && i < ARRAY_LEN(object_columns); i++) {
        *ret_column = object_columns[i];
        if (strcmp(field, object_columns[i].field) == 0)
            return true;
    }
    return false;
}

static struct span next_path(struct composer *c, const char *field)
{
    char *path;

    if (c->path_count == ARRAY_LEN(c->paths) ||
        !path_write(c->dialect, field, c->paths[c->path_count], PATH_MAX_BYTES)) {
        c->condition = STORE_E_BAD_FILTER;
        return SPAN("");
    }
    path = c->paths[c->path_count++];
    return span_str(path);
}

static void put_path(struct composer *c, const char *field)
{
    put_value(c, (struct value){ .type = VALUE_PATH, .text = next_path(c, field) });
}

/* What a column may be compared with. */
static void put_column(struct composer *c, const struct column *column, enum field_use use)
{
    bool is_wrong = use == FIELD_BOOL || use == (column->is_number ? FIELD_TEXT : FIELD_INT);

    buf_printf(&c->sql, use == FIELD_FACET ? "CAST(%s AS text)" : "%s", column->name);
    if (is_wrong)
        c->condition = STORE_E_BAD_FILTER;
}

/* The field as an SQL expression. */
static void put_field(struct composer *c, const struct source *source, const char *field,
                      enum field_use use)
{
    const struct around *around = &c->dialect->fields[use];
    struct column column;

    if (column_of(source, field, &column)) {
        put_column(c, &column, use);
        return;
    }
    buf_put_str(&c->sql, around->before);
    put_path(c, field);
    buf_put_str(&c->sql, around->behind);
}

static void put_filter_value(struct composer *c, const struct store_filter *f)
{
    if (f->type == STORE_TEXT)
        put_text(c, f->text);
    else
        put_value(c, (struct value){ .type = f->type == STORE_BOOL ? VALUE_BOOL : VALUE_INT,
                                     .number = f->number });
}

static void put_has(struct composer *c, const struct source *source, const struct store_filter *f)
{
    const struct around *has = c->dialect->has;

    (void)source;
    buf_put_str(&c->sql, has[0].before);
    put_path(c, f->field);
    buf_put_str(&c->sql, has[0].behind);
    buf_put_str(&c->sql, has[1].before);
    put_filter_value(c, f);
    buf_put_str(&c->sql, has[1].behind);
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
    put_field(c, source, f->field, FIELD_TEXT);
    buf_put_str(&c->sql, c->dialect->like);
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
    [STORE_NE] = { NULL, true, NULL },         /* the dialect's */
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

static enum field_use use_of(const struct store_filter *f)
{
    static const enum field_use uses[] = {
        [STORE_TEXT] = FIELD_TEXT, [STORE_INT] = FIELD_INT, [STORE_BOOL] = FIELD_BOOL,
    };

    return operators[f->op].has_value ? uses[f->type] : FIELD_PLAIN;
}

static void put_filter(struct composer *c, const struct source *source, const struct store_filter *f)
{
    const char *text = f->op == STORE_NE ? c->dialect->is_not : operators[f->op].text;

    buf_put_str(&c->sql, " AND ");
    if (operators[f->op].put) {
        operators[f->op].put(c, source, f);
        return;
    }
    put_field(c, source, f->field, use_of(f));
    buf_put_str(&c->sql, text);
    if (operators[f->op].has_value)
        put_filter_value(c, f);
}

static void put_search(struct composer *c, const struct source *source, struct span text)
{
    struct span pattern = like_pattern(c, text, true);

    buf_printf(&c->sql, " AND (%s%s", source->name, c->dialect->like);
    put_text(c, pattern);
    buf_printf(&c->sql, " ESCAPE '\\' OR %s%s", c->dialect->doc_like, c->dialect->like);
    put_text(c, pattern);
    buf_put_str(&c->sql, " ESCAPE '\\')");
}

void compose_where(struct composer *c, const struct store_query *q)
{
    const struct source *source = &sources[q->source];

    buf_printf(&c->sql, " FROM %s WHERE true", source->from);
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


static void put_sort(struct composer *c, const struct store_query *q)
{
    put_field(c, &sources[q->source], sort_of(q), FIELD_SORT);
}

void compose_columns(struct composer *c, const struct store_query *q)
{
    buf_printf(&c->sql, "SELECT %s, ", sources[q->source].columns);
    put_sort(c, q);
}

/* By id alone the row value would only hide the index from the planner. */
void compose_after(struct composer *c, const struct store_query *q)
{
    const struct source *source = &sources[q->source];
    char sign = q->is_descending ? '<' : '>';

    if (is_by_id(q)) {
        buf_printf(&c->sql, " AND %s %c ", source->id, sign);
        put_text(c, ulid_span(&c->cursor.id));
        return;
    }
    buf_put_str(&c->sql, " AND (");
    put_sort(c, q);
    buf_printf(&c->sql, ", %s) %c (", source->id, sign);
    put_value(c, c->cursor.key);
    buf_put_str(&c->sql, ", ");
    put_text(c, ulid_span(&c->cursor.id));
    buf_put_str(&c->sql, ")");
}

void compose_order(struct composer *c, const struct store_query *q)
{
    const char *direction = q->is_descending ? " DESC" : "";

    buf_put_str(&c->sql, " ORDER BY ");
    if (!is_by_id(q)) {
        put_sort(c, q);
        buf_printf(&c->sql, "%s, ", direction);
    }
    buf_printf(&c->sql, "%s%s LIMIT ", sources[q->source].id, direction);
    put_int(c, (int64_t)q->limit + 1);          /* one more tells whether there is a next page */
}

void compose_count(struct composer *c, const struct store_query *q)
{
    buf_put_str(&c->sql, "SELECT count(*)");
    compose_where(c, q);
}

void compose_facet(struct composer *c, const struct store_query *q, const char *field, size_t limit)
{
    buf_put_str(&c->sql, "SELECT ");
    put_field(c, &sources[q->source], field, FIELD_FACET);
    buf_put_str(&c->sql, ", count(*)");
    compose_where(c, q);
    buf_put_str(&c->sql, " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ");
    put_int(c, (int64_t)limit);
}
