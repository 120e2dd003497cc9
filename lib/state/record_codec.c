#include "lib/state/record_codec.h"
#include "lib/state/record_table_internal.h"
#include "lib/state/state_internal.h"
#include <errno.h>
#include <string.h>

/* Writing. */

static const void *place(const struct record *r, const struct record_field *f)
{
    return (const char *)r + f->offset;
}

static size_t list_count(const struct record *r, const struct record_field *f)
{
    size_t n;

    memcpy(&n, (const char *)r + f->count_offset, sizeof(n));
    return n;
}

static void write_list(const struct record *r, const struct record_field *f, struct json_writer *w)
{
    const char *items = *(const char *const *)place(r, f);
    size_t n = list_count(r, f);

    if (n == 0 && !f->is_required)
        return;
    json_open_array(w, f->key);
    for (size_t i = 0; i < n; i++)
        f->element->write(items + i * f->element->size, w);
    json_close_array(w);
}

static void write_text(const struct record_field *f, const char *text, struct json_writer *w)
{
    if (text && (text[0] || f->is_required))
        json_put_text(w, f->key, text);
}

static void write_int(const struct record_field *f, const int64_t *value, struct json_writer *w)
{
    if (*value || f->is_required)
        json_put_int(w, f->key, *value);
}

static void write_cidr(const struct record_field *f, const struct cidr *c, struct json_writer *w)
{
    char text[ADDR_TEXT_MAX];

    if (c->bits)
        json_put_text(w, f->key, cidr_format(c, text));
}

static void write_host(const struct record_field *f, const struct host_pattern *p,
                       struct json_writer *w)
{
    char text[320];

    json_put_text(w, f->key, host_pattern_format(p, text, sizeof(text)));
}

static void write_field(const struct record *r, const struct record_field *f,
                        struct json_writer *w)
{
    const void *at = place(r, f);

    switch (f->type) {
    case FIELD_NAME:
    case FIELD_TEXT:
    case FIELD_HEX:
        write_text(f, at, w);
        break;
    case FIELD_ID:
        write_text(f, ((const struct ulid *)at)->text, w);
        break;
    case FIELD_INT:
        write_int(f, at, w);
        break;
    case FIELD_BOOL:
        if (*(const bool *)at || f->is_required)
            json_put_bool(w, f->key, *(const bool *)at);
        break;
    case FIELD_ENUM:
        json_put_text(w, f->key, f->names[*(const unsigned *)at]);
        break;
    case FIELD_HOST:
        write_host(f, at, w);
        break;
    case FIELD_CIDR:
        write_cidr(f, at, w);
        break;
    case FIELD_HEAP_TEXT:
        write_text(f, *(const char *const *)at, w);
        break;
    case FIELD_LIST:
        write_list(r, f, w);
        break;
    }
}

int record_encode(const struct record *r, struct buf *out)
{
    const struct record_table *table = record_table(r->kind);
    struct json_writer w;

    json_begin(&w, out);
    json_open_object(&w, NULL);
    for (size_t i = 0; i < table->count; i++)
        write_field(r, &table->fields[i], &w);
    json_close_object(&w);
    return buf_error(out);
}

/* Reading: each function answers 0, -EINVAL (`*what` says what it must be) or -ENOMEM. */

static bool only_has(struct span text, const char *allowed)
{
    for (size_t i = 0; i < text.n; i++) {
        if (!text.p[i] || !strchr(allowed, text.p[i]))
            return false;
    }
    return true;
}

static int read_text(const struct record_field *f, struct span text, char *at)
{
    static const char name_characters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    static const char hex_characters[] = "0123456789abcdef";

    if (text.n < (size_t)f->min || text.n > (size_t)f->max || !span_copy(text, at, f->size))
        return -EINVAL;
    if (f->type == FIELD_NAME)
        return only_has(text, name_characters) ? 0 : -EINVAL;
    if (f->type == FIELD_HEX)
        return only_has(text, hex_characters) ? 0 : -EINVAL;
    return 0;
}

static int read_heap_text(const struct record_field *f, struct span text, char **at)
{
    if (text.n < (size_t)f->min || text.n > (size_t)f->max || memchr(text.p, '\0', text.n))
        return -EINVAL;
    *at = span_dup(text);
    return *at ? 0 : -ENOMEM;
}

static int read_enum(const struct record_field *f, struct span text, unsigned *at)
{
    for (unsigned i = 0; i < (unsigned)f->max; i++) {
        if (span_eq(text, span_str(f->names[i]))) {
            *at = i;
            return 0;
        }
    }
    return -EINVAL;
}

static int read_string(const struct record_field *f, const struct json_value *v, void *at)
{
    struct span text;

    if (!json_as_str(v, &text))
        return -EINVAL;
    if (f->type == FIELD_ID)
        return ulid_parse(text, at) ? 0 : -EINVAL;
    if (f->type == FIELD_ENUM)
        return read_enum(f, text, at);
    if (f->type == FIELD_CIDR)
        return cidr_parse(text, at) ? 0 : -EINVAL;
    if (f->type == FIELD_HOST)
        return host_pattern_parse(text, at);
    if (f->type == FIELD_HEAP_TEXT)
        return read_heap_text(f, text, at);
    return read_text(f, text, at);
}

static int read_int(const struct record_field *f, const struct json_value *v, int64_t *at)
{
    return json_as_int(v, at) && *at >= f->min && *at <= f->max ? 0 : -EINVAL;
}

static int read_bool(const struct json_value *object, const struct record_field *f, bool *at)
{
    return json_get_bool(object, f->key, at) ? 0 : -EINVAL;
}

/* The count grows with what was parsed, so that a refused record is freed whole. */
static int read_list(struct record *r, const struct record_field *f, const struct json_value *v,
                     size_t *ret_bad)
{
    size_t n = json_count(v), *count = (size_t *)(void *)((char *)r + f->count_offset);
    char *items;

    *ret_bad = SIZE_MAX;
    if (json_kind_of(v) != JSON_IS_ARRAY || n < (size_t)f->min || n > (size_t)f->max)
        return -EINVAL;
    if (n == 0)
        return 0;
    items = calloc(n, f->element->size);
    if (!items)
        return -ENOMEM;
    memcpy((char *)r + f->offset, &items, sizeof(items));
    for (size_t i = 0; i < n; i++) {
        int result = f->element->parse(json_at(v, i), items + i * f->element->size);

        *ret_bad = i;
        if (result)
            return result;
        *count = i + 1;
    }
    return 0;
}

static const char *wanted(const struct record_field *f)
{
    static const char *const texts[] = {
        [FIELD_NAME] = "1 to 63 of a-z, 0-9, '-'", [FIELD_TEXT] = "text within its limit",
        [FIELD_HEX] = "64 lower-case hex digits", [FIELD_ID] = "a ULID",
        [FIELD_INT] = "an integer within its range", [FIELD_BOOL] = "true or false",
        [FIELD_ENUM] = "one of its names", [FIELD_HOST] = "a host or *.suffix",
        [FIELD_CIDR] = "a network", [FIELD_HEAP_TEXT] = "text within its limit",
        [FIELD_LIST] = "a list within its limit",
    };

    return texts[f->type];
}

static int read_field(struct record *r, const struct record_field *f,
                      const struct json_value *object, struct state_error *reterr)
{
    const struct json_value *v = json_get(object, f->key);
    void *at = (char *)r + f->offset;
    size_t bad = SIZE_MAX;
    int result;

    if (!v)
        return f->is_required ? state_reject(reterr, "field %s: is missing", f->key) : 0;
    if (f->type == FIELD_LIST)
        result = read_list(r, f, v, &bad);
    else if (f->type == FIELD_INT)
        result = read_int(f, v, at);
    else if (f->type == FIELD_BOOL)
        result = read_bool(object, f, at);
    else
        result = read_string(f, v, at);
    if (result == -EINVAL && f->type == FIELD_ENUM && json_kind_of(v) == JSON_IS_STR)
        return state_too_new(reterr, "field %s: must be %s", f->key, wanted(f));
    if (result == -EINVAL && bad != SIZE_MAX)
        return state_reject(reterr, "field %s/%zu: must be %s", f->key, bad, f->element->what);
    if (result == -EINVAL)
        return state_reject(reterr, "field %s: must be %s", f->key, wanted(f));
    return result;
}

static int refuse_unknown(const struct record_table *table, const struct json_value *object,
                          struct state_error *reterr)
{
    for (size_t i = 0; i < json_count(object); i++) {
        bool is_known = false;
        struct span key;

        if (i > table->count || !json_member(object, i, &key))
            break;
        for (size_t j = 0; j < table->count && !is_known; j++)
            is_known = span_eq(key, span_str(table->fields[j].key));
        if (!is_known)
            return state_too_new(reterr, "field " SPAN_FMT ": is not known here",
                                 SPAN_ARG(span_first(key, 64)));
    }
    return 0;
}

static int read_fields(struct record *r, const struct json_value *object,
                       struct state_error *reterr)
{
    const struct record_table *table = record_table(r->kind);
    const char *wrong;
    int result = refuse_unknown(table, object, reterr);

    for (size_t i = 0; i < table->count && result == 0; i++)
        result = read_field(r, &table->fields[i], object, reterr);
    if (result)
        return result;
    wrong = table->check ? table->check(r) : NULL;
    return wrong ? state_reject(reterr, "%s", wrong) : 0;
}

/* Ids are ULIDs; a setting's is its name. */
static bool id_is_valid(enum record_kind kind, struct span id)
{
    struct ulid ulid;

    if (kind != RECORD_SETTING)
        return ulid_parse(id, &ulid);
    return id.n >= 1 && id.n <= RECORD_ID_MAX &&
           only_has(id, "abcdefghijklmnopqrstuvwxyz0123456789_-");
}

int record_decode(enum record_kind kind, struct span id, struct span json,
                  struct record **ret_record, struct state_error *reterr)
{
    AUTO(json_value_freep) struct json_value *object = NULL;
    AUTO(record_unrefp) struct record *r = NULL;
    struct json_error e;
    int result;

    if (!id_is_valid(kind, id))
        return state_reject(reterr, "the id is malformed");
    if (json.n > RECORD_LINE_MAX)
        return state_reject(reterr, "the record is too long");
    result = json_parse(json, &object, &e);
    if (result)
        return state_reject_json(reterr, "the record", result, &e);
    if (json_kind_of(object) != JSON_IS_OBJECT)
        return state_reject(reterr, "the record is not an object");
    r = record_new(kind, id);
    if (!r)
        return -ENOMEM;
    result = read_fields(r, object, reterr);
    if (result)
        return result;
    *ret_record = TAKE(r);
    return 0;
}

int record_put_line(const struct record *r, struct buf *out)
{
    buf_printf(out, "+%s " SPAN_FMT " ", record_kind_name(r->kind), SPAN_ARG(record_id(r)));
    if (record_encode(r, out))
        return buf_error(out);
    buf_put_str(out, "\n");
    return buf_error(out);
}

int record_remove_line(enum record_kind kind, struct span id, struct buf *out)
{
    buf_printf(out, "-%s " SPAN_FMT "\n", record_kind_name(kind), SPAN_ARG(id));
    return buf_error(out);
}

bool record_field_at(enum record_kind kind, size_t i, const char **ret_key, bool *ret_is_required)
{
    const struct record_table *table = record_table(kind);

    if (i >= table->count)
        return false;
    *ret_key = table->fields[i].key;
    *ret_is_required = table->fields[i].is_required;
    return true;
}
