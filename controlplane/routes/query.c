#include "controlplane/routes/query.h"
#include "controlplane/domain/when.h"
#include "controlplane/routes/view.h"
#include <stdio.h>
#include <string.h>

#define LIMIT_DEFAULT 100

static int bad(struct call *c, const char *name, const char *message)
{
    char pointer[96];

    snprintf(pointer, sizeof(pointer), "?%s", name);
    return call_refuse_at(c, REASON_INVALID, pointer, message);
}

int asked_limit(struct call *c, size_t *ret_limit)
{
    struct span text;
    uint64_t value = LIMIT_DEFAULT;

    if (request_query(c->req, "limit", &text) &&
        (!span_to_u64(text, STORE_LIMIT_MAX, &value) || !value || text.p[0] == '0'))
        return bad(c, "limit", "must be a whole number from 1 to 500");
    *ret_limit = (size_t)value;
    return 0;
}

static int read_sort(struct call *c, struct store_query *query)
{
    static const char *const fields[] = { "id", "name", "created_at", "updated_at" };
    struct span text;

    if (!request_query(c->req, "sort", &text))
        return 0;
    query->is_descending = span_starts(text, SPAN("-"));
    if (query->is_descending)
        text = span_skip(text, 1);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (span_eq(text, span_str(fields[i])))
            query->sort = fields[i];
    }
    return query->sort ? 0
                       : bad(c, "sort",
                             "must be id, name, created_at or updated_at, with - for descending");
}

static bool is_cursor(struct span text)
{
    for (size_t i = 0; i < text.n; i++) {
        char ch = text.p[i];

        if (!((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9')
              || ch == '-' || ch == '_'))
            return false;
    }
    return text.n >= 1 && text.n <= 1024;
}

static int read_text(struct call *c, struct store_query *query)
{
    static const struct check_limits limits = { 1, 100, NULL };
    unsigned char scratch[512];
    const char *message;
    struct buf out;

    if (!request_query(c->req, "q", &query->text))
        return 0;
    buf_init_fixed(&out, scratch, sizeof(scratch));
    if (check_text(LEAF_TEXT, &limits, query->text, &out, &message) != CHECK_OK)
        return bad(c, "q", "must be 1 to 100 characters of text");
    return 0;
}

static int add(struct call *c, struct store_query *query, struct store_filter filter)
{
    if (query->filter_count == STORE_FILTERS_MAX)
        return bad(c, filter.field, "is one filter too many");
    query->filters[query->filter_count++] = filter;
    return 0;
}

static int read_moment(struct call *c, const char *name, enum store_op op,
                       struct store_query *query)
{
    struct check_limits none = { 0 };
    unsigned char scratch[64];
    const char *message;
    struct span text;
    struct buf out;
    int64_t ms;

    if (!request_query(c->req, name, &text))
        return 0;
    buf_init_fixed(&out, scratch, sizeof(scratch));
    if (check_text(LEAF_TIME, &none, text, &out, &message) != CHECK_OK || !when_parse(text, &ms))
        return bad(c, name, "must be a time like 2031-01-31T18:00:00Z");
    return add(
        c, query,
        (struct store_filter){ .field = "created_at", .op = op, .type = STORE_INT, .number = ms });
}

/* What every list takes. */
static int read_common(struct call *c, struct asked *asked)
{
    struct store_query *query = &asked->query;
    int r = asked_limit(c, &query->limit);

    if (!r)
        r = call_flag(c, "count", &asked->has_count);
    if (!r)
        r = view_fields(c, &asked->fields);
    if (!r)
        r = read_text(c, query);
    if (!r && request_query(c->req, "cursor", &query->after) && !is_cursor(query->after))
        r = bad(c, "cursor", "must be what next_cursor gave");
    if (!r)
        r = read_moment(c, "created_after", STORE_GE, query);
    return r ? r : read_moment(c, "created_before", STORE_LT, query);
}

/* A reference that leads nowhere matches nothing, as an id would. */
static int add_ref(struct call *c, const struct asked_filter *f, enum store_op op, struct span text,
                   struct asked *asked)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    size_t i = asked->query.filter_count;
    struct check_limits none = { 0 };
    unsigned char scratch[64];
    const char *message;
    struct buf out;
    int r;

    buf_init_fixed(&out, scratch, sizeof(scratch));
    if (check_text(LEAF_REF, &none, text, &out, &message) != CHECK_OK)
        return bad(c, f->name, message);
    r = call_find_ref(c, f->ref, text, &object);
    if (r && r != STORE_E_NOT_FOUND)
        return r;
    if (object && i < STORE_FILTERS_MAX) {
        asked->refs[i] = object->id;
        text = ulid_span(&asked->refs[i]);
    }
    return add(c, &asked->query,
               (struct store_filter){ .field = f->field, .op = op, .text = text });
}

static bool is_plain(struct span text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", text.p[i])
            || !text.p[i])
            return false;
    }
    return text.n >= 1 && text.n <= 64;
}

static int read_filter(struct call *c, const struct asked_filter *f, const char *suffix,
                       enum store_op op, struct asked *asked)
{
    char name[80];
    struct span text;

    snprintf(name, sizeof(name), "%s%s", f->name, suffix);
    if (!request_query(c->req, name, &text))
        return 0;
    if (f->ref != KIND_COUNT)
        return add_ref(c, f, op, text, asked);
    if (f->words ? !text.n || !check_word(text, f->words) : !is_plain(text))
        return bad(c, name, "is not a value that this can have");
    return add(c, &asked->query,
               (struct store_filter){ .field = f->field, .op = op, .text = text });
}

int asked_plain(struct call *c, const char *name, struct span *ret_text)
{
    if (!request_query(c->req, name, ret_text) || is_plain(*ret_text))
        return 0;
    return bad(c, name, "is not a value that this can have");
}

static int read_name(struct call *c, struct asked *asked)
{
    struct check_limits none = { 0 };
    unsigned char scratch[64];
    const char *message;
    struct span text;
    struct buf out;

    if (!request_query(c->req, "name", &text))
        return 0;
    buf_init_fixed(&out, scratch, sizeof(scratch));
    if (check_text(LEAF_NAME, &none, text, &out, &message) != CHECK_OK)
        return bad(c, "name", message);
    return add(c, &asked->query, (struct store_filter){ .field = "name", .text = text });
}

int asked_read(struct call *c, struct asked *ret_asked)
{
    const struct field *f;
    int r;

    *ret_asked = (struct asked){ .query = { .source = STORE_OBJECTS, .kind = c->kind->name } };
    r = read_common(c, ret_asked);
    if (!r)
        r = read_sort(c, &ret_asked->query);
    if (!r)
        r = read_name(c, ret_asked);
    for (size_t i = 0; !r && (f = kind_field_at(c->kind, i)); i++) {
        struct asked_filter filter = { f->name, f->name, f->leaf == LEAF_REF ? f->ref : KIND_COUNT,
                                       f->limits.words };

        if (!(f->flags & FIELD_FILTER))
            continue;
        r = read_filter(c, &filter, "", STORE_EQ, ret_asked);
        if (!r)
            r = read_filter(c, &filter, ".ne", STORE_NE, ret_asked);
    }
    return r;
}

int asked_read_records(struct call *c, enum store_source source, const struct asked_filter *filters,
                       size_t count, struct asked *ret_asked)
{
    int r;

    *ret_asked = (struct asked){ .query = { .source = source, .is_descending = true } };
    r = read_common(c, ret_asked);
    for (size_t i = 0; !r && i < count; i++)
        r = read_filter(c, &filters[i], "", STORE_EQ, ret_asked);
    return r;
}

int asked_own(struct call *c, const char *field, struct asked *asked)
{
    if (call_sees_all(c))
        return 0;
    if (!field)
        return call_not_found(c);
    return add(c, &asked->query,
               (struct store_filter){ .field = field, .text = span_str(c->req->principal.id) });
}
