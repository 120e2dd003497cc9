#include "cli/fields.h"

#include "controlplane/domain/when.h"
#include "lib/crypto/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BODY_MAX ((size_t)1 << 20)
#define CANONICAL_MAX 4096

struct writing {
    const struct ask *ask;
    const struct json_value *before;
    int64_t now_s;
    struct json_writer w;
};

static bool complain(const struct field *field, const char *value, const char *what)
{
    char name[72];

    snprintf(name, sizeof(name), "%s", field->name);
    for (char *p = name; *p; p++)
        *p = *p == '_' ? '-' : *p;
    command_complain("--%s: \"%s\" %s", name, value, what);
    return false;
}

/* ---- single values ---- */
static bool put_int(struct writing *w, const struct field *field, const char *value)
{
    uint64_t number;

    if (!span_to_u64(span_str(value), INT64_MAX, &number))
        return complain(field, value, "is no whole number");
    json_put_int(&w->w, field->name, (int64_t)number);
    return true;
}

static bool put_bool(struct writing *w, const struct field *field, const char *value)
{
    bool is_true = strcmp(value, "true") == 0;

    if (!is_true && strcmp(value, "false") != 0)
        return complain(field, value, "is neither true nor false");
    json_put_bool(&w->w, field->name, is_true);
    return true;
}

static bool put_one(struct writing *w, const struct field *field, const char *value)
{
    char mem[WHEN_TEXT_MAX];

    if (field->leaf == LEAF_INT)
        return put_int(w, field, value);
    if (field->leaf == LEAF_BOOL)
        return put_bool(w, field, value);
    if (field->leaf == LEAF_TIME)
        value = ask_time(value, w->now_s, mem, sizeof(mem));
    json_put_text(&w->w, field->name, value);
    return true;
}

/* ---- lists: what is given, split at commas where no item can have one ---- */
static bool next_item(const struct field *field, struct span *rest, struct span *ret_item)
{
    bool is_whole = field->leaf == LEAF_ACL_RULE || field->leaf == LEAF_TEXT;

    if (!is_whole)
        return rest->n && span_cut(rest, ',', ret_item);
    *ret_item = *rest;
    *rest = SPAN_NONE;
    return ret_item->n != 0;
}

/* As the control plane keeps it ("10.0.0.5" is "10.0.0.5/32" there); as it is when it is no good. */
static struct span canonical(const struct field *field, struct span item, struct buf *mem)
{
    const char *message;

    buf_clear(mem);
    if (field->leaf == LEAF_REF || check_text(field->leaf, &field->limits, item, mem, &message) != CHECK_OK ||
        buf_error(mem))
        return item;
    return buf_span(mem);
}

static bool is_given_item(const struct ask *ask, const struct field *field, enum flag_id id,
                          struct span item)
{
    for (size_t i = 0; i < ask->given_count; i++) {
        const struct given *g = &ask->given[i];
        struct span rest = span_str(g->value), one;
        unsigned char mem[CANONICAL_MAX];
        struct buf text;

        buf_init_fixed(&text, mem, sizeof(mem));
        if (g->flag->field != field || g->flag->id != id)
            continue;
        while (next_item(field, &rest, &one)) {
            if (span_eq(canonical(field, span_trim(one), &text), item))
                return true;
        }
    }
    return false;
}

static bool has_item(const struct json_value *list, struct span item)
{
    struct span one;

    for (size_t i = 0; list && i < json_count(list); i++) {
        if (json_as_str(json_at(list, i), &one) && span_eq(one, item))
            return true;
    }
    return false;
}

/* What is to be removed must be there: otherwise it was mistyped. */
static bool are_removed_there(struct writing *w, const struct field *field)
{
    const struct json_value *list = w->before ? json_get(w->before, field->name) : NULL;
    unsigned char mem[CANONICAL_MAX];
    struct buf text;

    buf_init_fixed(&text, mem, sizeof(mem));
    for (size_t i = 0; i < w->ask->given_count; i++) {
        const struct given *g = &w->ask->given[i];
        struct span rest = span_str(g->value), one;

        if (g->flag->field != field || g->flag->id != FLAG_FIELD_REMOVE)
            continue;
        while (next_item(field, &rest, &one)) {
            if (has_item(list, canonical(field, span_trim(one), &text)))
                continue;
            command_complain("--%s: " SPAN_FMT " is not there", g->flag->name, SPAN_ARG(one));
            return false;
        }
    }
    return true;
}

static void put_given_items(struct writing *w, const struct field *field, enum flag_id id)
{
    for (size_t i = 0; i < w->ask->given_count; i++) {
        const struct given *g = &w->ask->given[i];
        struct span rest = span_str(g->value), one;

        if (g->flag->field != field || g->flag->id != id)
            continue;
        while (next_item(field, &rest, &one))
            json_put_str(&w->w, NULL, span_trim(one));
    }
}

static void put_kept_items(struct writing *w, const struct field *field)
{
    const struct json_value *list = w->before ? json_get(w->before, field->name) : NULL;

    for (size_t i = 0; list && i < json_count(list); i++) {
        struct span item;

        if (json_as_str(json_at(list, i), &item) &&
            !is_given_item(w->ask, field, FLAG_FIELD_REMOVE, item) &&
            !is_given_item(w->ask, field, FLAG_FIELD_ADD, item))
            json_put_str(&w->w, NULL, item);
    }
}

static bool has_flag(const struct ask *ask, const struct field *field, enum flag_id id)
{
    for (size_t i = 0; i < ask->given_count; i++) {
        if (ask->given[i].flag->field == field && ask->given[i].flag->id == id)
            return true;
    }
    return false;
}

static bool put_list(struct writing *w, const struct field *field)
{
    if (!are_removed_there(w, field))
        return false;
    json_open_array(&w->w, field->name);
    if (has_flag(w->ask, field, FLAG_FIELD))
        put_given_items(w, field, FLAG_FIELD);
    else
        put_kept_items(w, field);
    put_given_items(w, field, FLAG_FIELD_ADD);
    json_close_array(&w->w);
    return true;
}

/* ---- labels ---- */
static bool put_pair(struct writing *w, const struct field *field, const struct given *g)
{
    struct span rest = span_str(g->value), key;
    char name[64];

    if (!span_copy(span_first(rest, span_find(rest, '=')), name, sizeof(name)))
        return complain(field, g->value, "has too long a key");
    if (g->flag->id == FLAG_FIELD_REMOVE) {
        json_put_null(&w->w, name);
        return true;
    }
    if (span_find(rest, '=') == rest.n)
        return complain(field, g->value, "is not KEY=VALUE");
    span_cut(&rest, '=', &key);
    json_put_str(&w->w, name, rest);
    return true;
}

static bool put_map(struct writing *w, const struct field *field)
{
    bool ok = true;

    json_open_object(&w->w, field->name);
    for (size_t i = 0; ok && i < w->ask->given_count; i++) {
        if (w->ask->given[i].flag->field == field)
            ok = put_pair(w, field, &w->ask->given[i]);
    }
    json_close_object(&w->w);
    return ok;
}

/* ---- windows: "mon,tue 08:00-18:00 Europe/Berlin" ---- */
static bool put_window(struct writing *w, const struct field *field, const char *value)
{
    struct span rest = span_str(value), days, day, from, to, zone;

    if (value[0] == '{') {
        json_put_raw(&w->w, NULL, rest);
        return true;
    }
    if (!span_cut(&rest, ' ', &days) || !span_cut(&rest, '-', &from) || !span_cut(&rest, ' ', &to) || !rest.n)
        return complain(field, value, "is not like: mon,tue 08:00-18:00 Europe/Berlin");
    zone = span_trim(rest);
    json_open_object(&w->w, NULL);
    json_open_array(&w->w, "days");
    while (span_cut(&days, ',', &day))
        json_put_str(&w->w, NULL, day);
    json_close_array(&w->w);
    json_put_str(&w->w, "from", span_trim(from));
    json_put_str(&w->w, "to", span_trim(to));
    json_put_str(&w->w, "zone", zone);
    json_close_object(&w->w);
    return true;
}

static bool put_rows(struct writing *w, const struct field *field)
{
    bool ok = true;

    json_open_array(&w->w, field->name);
    for (size_t i = 0; ok && i < w->ask->given_count; i++) {
        const struct given *g = &w->ask->given[i];

        if (g->flag->field == field && g->value[0])
            ok = put_window(w, field, g->value);
    }
    json_close_array(&w->w);
    return ok;
}

/* ---- all of them ---- */
static bool put_field(struct writing *w, const struct given *g)
{
    const struct field *field = g->flag->field;

    switch (field->shape) {
    case SHAPE_ONE:
        return put_one(w, field, g->value);
    case SHAPE_LIST:
        return put_list(w, field);
    case SHAPE_MAP:
        return put_map(w, field);
    case SHAPE_ROWS:
        return put_rows(w, field);
    }
    return false;
}

static bool is_first_of_field(const struct ask *ask, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (ask->given[i].flag->field == ask->given[at].flag->field)
            return false;
    }
    return true;
}

static void put_unset(struct writing *w, const char *value)
{
    char name[72];

    if (!span_copy(span_str(value), name, sizeof(name)))
        return;
    for (char *p = name; *p; p++)
        *p = *p == '-' ? '_' : *p;
    json_put_null(&w->w, name);
}

/* The one that a client sends and never sees again. */
static const char *secret_field_of(const struct ask *ask)
{
    const struct kind *kind = resource_kind(ask->resource);
    const struct field *field;

    for (size_t i = 0; kind && (field = kind_field_at(kind, i)); i++) {
        if (field->flags & FIELD_SECRET)
            return field->name;
    }
    return "password";
}

static bool write_flags(struct writing *w, const char *password, struct buf *out)
{
    const struct ask *ask = w->ask;
    const char *name = ask_value(ask, FLAG_NAME), *named_by = ask->resource->named_by;
    bool ok = true;

    json_begin(&w->w, out);
    json_open_object(&w->w, NULL);
    if (ask->verb == VERB_CREATE && ask->word_count)
        json_put_text(&w->w, named_by ? named_by : "name", ask->words[0]);
    if (name)
        json_put_text(&w->w, "name", name);
    for (size_t i = 0; ok && i < ask->given_count; i++) {
        const struct given *g = &ask->given[i];

        if (g->flag->field && g->flag->id <= FLAG_FIELD_REMOVE && is_first_of_field(ask, i))
            ok = put_field(w, g);
        else if (g->flag->id == FLAG_UNSET)
            put_unset(w, g->value);
    }
    if (password)
        json_put_text(&w->w, secret_field_of(ask), password);
    json_close_object(&w->w);
    if (ok && buf_error(out))
        command_complain("the fields are more than 1 MiB");
    return ok && !buf_error(out);
}

/* ---- --body ---- */
static int read_file(const char *path, struct buf *text)
{
    char piece[16384];
    size_t n;

    if (strcmp(path, "-") != 0)
        return file_read(path, BODY_MAX, text);
    while ((n = fread(piece, 1, sizeof(piece), stdin)) > 0)
        buf_put(text, piece, n);
    return ferror(stdin) ? -EIO : buf_error(text);
}

static bool read_body(const char *path, struct json_value **ret_value)
{
    AUTO(buf_deinit) struct buf text;
    struct json_error error = { 0 };
    int r;

    buf_init_heap(&text, BODY_MAX);
    r = read_file(path, &text);
    if (r) {
        command_complain("--body %s: %s", path, strerror(-r));
        return false;
    }
    r = json_parse(buf_span(&text), ret_value, &error);
    if (!r && json_kind_of(*ret_value) == JSON_IS_OBJECT)
        return true;
    command_complain("--body %s: %s", path, r ? error.message : "must be an object");
    return false;
}

static bool merge_into(const struct json_value *base, struct buf *flags, struct buf *out)
{
    AUTO(json_value_freep) struct json_value *over = NULL, *merged = NULL;
    struct json_error error = { 0 };
    bool ok = json_parse(buf_span(flags), &over, &error) == 0 && json_merge(base, over, &merged) == 0;

    if (ok)
        json_print(merged, out);
    else
        command_complain("the fields cannot be put together: %s", error.message);
    return ok && !buf_error(out);
}

static bool takes_away(const struct ask *ask)
{
    for (size_t i = 0; i < ask->given_count; i++) {
        if (ask->given[i].flag->id == FLAG_UNSET || ask->given[i].flag->id == FLAG_FIELD_REMOVE)
            return true;
    }
    return false;
}

bool fields_write(const struct ask *ask, const struct json_value *before, const char *password,
                  int64_t now_s, struct buf *out)
{
    AUTO(json_value_freep) struct json_value *base = NULL;
    struct writing w = { .ask = ask, .before = before, .now_s = now_s };
    const char *file = ask_value(ask, FLAG_BODY);
    AUTO(buf_deinit) struct buf flags = { 0 };

    buf_init_heap(&flags, BODY_MAX);
    if (file && takes_away(ask)) {
        command_complain("--body says null itself for what is to go: leave --unset and --remove-… away");
        return false;
    }
    if (file && !read_body(file, &base))
        return false;
    return base ? write_flags(&w, password, &flags) && merge_into(base, &flags, out)
                : write_flags(&w, password, out);
}

bool fields_need_before(const struct ask *ask)
{
    for (size_t i = 0; i < ask->given_count; i++) {
        const struct flag *flag = ask->given[i].flag;

        if (flag->field && flag->field->shape == SHAPE_LIST && flag->id != FLAG_FIELD)
            return true;
    }
    return false;
}
