#include "lib/config/option_internal.h"
#include "lib/base/utf8.h"
#include <errno.h>
#include <string.h>

struct unit {
    const char *name;
    int64_t factor;
};

/* Largest first: the printer takes the first that divides. */
static const struct unit time_units[] = {
    { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 }, { "", 1 },
};
static const struct unit size_units[] = {
    { "G", 1 << 30 },   { "M", 1 << 20 },   { "K", 1 << 10 }, { "", 1 },
    { "GiB", 1 << 30 }, { "MiB", 1 << 20 }, { "KiB", 1 << 10 },
};
static const struct unit no_units[] = { { "", 1 } };

struct unit_list {
    const struct unit *units;
    size_t count;
};

static struct unit_list units_of(enum option_type type)
{
    if (type == OPTION_MSEC)
        return (struct unit_list){ time_units, ARRAY_LEN(time_units) };
    if (type == OPTION_SIZE)
        return (struct unit_list){ size_units, ARRAY_LEN(size_units) };
    return (struct unit_list){ no_units, ARRAY_LEN(no_units) };
}

bool option_is_text(enum option_type type)
{
    return type == OPTION_STR || type == OPTION_PATH || type == OPTION_LIST;
}

size_t option_value_size(enum option_type type)
{
    if (option_is_text(type))
        return sizeof(char *);
    return type == OPTION_BOOL ? sizeof(bool) : sizeof(int64_t);
}

static void *field_of(const struct option_row *row, void *config)
{
    return (char *)config + row->offset;
}

static const void *field_of_const(const struct option_row *row, const void *config)
{
    return (const char *)config + row->offset;
}

/* [-]digits[unit] */
static bool number_parse(struct span text, enum option_type type, int64_t *ret_value)
{
    struct unit_list list = units_of(type);
    bool is_negative = text.n && text.p[0] == '-';
    struct span digits = span_skip(text, is_negative), unit;
    uint64_t value;
    size_t n = 0;

    while (n < digits.n && digits.p[n] >= '0' && digits.p[n] <= '9')
        n++;
    unit = span_skip(digits, n);
    for (size_t i = 0; i < list.count; i++) {
        if (!span_eq(unit, span_str(list.units[i].name)))
            continue;
        if (!span_to_u64(span_first(digits, n), (uint64_t)(INT64_MAX / list.units[i].factor),
                         &value))
            return false;
        *ret_value = (int64_t)value * list.units[i].factor * (is_negative ? -1 : 1);
        return true;
    }
    return false;
}

static void number_print(int64_t value, enum option_type type, struct buf *out)
{
    struct unit_list list = units_of(type);
    size_t i = 0;

    while (value % list.units[i].factor || (value == 0 && *list.units[i].name))
        i++;
    buf_printf(out, "%lld%s", (long long)(value / list.units[i].factor), list.units[i].name);
}

static int refuse_number(const struct option_row *row, const char *where, struct buf *reterr)
{
    static const char *const examples[] = {
        [OPTION_INT] = "a whole number", [OPTION_MSEC] = "a time like 500ms, 30s, 5m, 2h",
        [OPTION_SIZE] = "a size like 4096, 64K, 16M", [OPTION_BOOL] = "",
    };

    buf_printf(reterr, "%s: must be %s", where, examples[row->type]);
    if (row->min || row->max) {
        buf_put_str(reterr, " from ");
        number_print(row->min, row->type, reterr);
        buf_put_str(reterr, " to ");
        number_print(row->max, row->type, reterr);
    }
    return -EINVAL;
}

static int parse_number(const struct option_row *row, struct span text, const char *where,
                        void *field, struct buf *reterr)
{
    bool has_range = row->min || row->max;
    int64_t value;

    if (!number_parse(text, row->type, &value) || value < row->min
        || (has_range && value > row->max))
        return refuse_number(row, where, reterr);
    *(int64_t *)field = value;
    return 0;
}

static int parse_text(struct span text, const char *where, void *field, struct buf *reterr)
{
    char *copy;

    if (text.n > OPTION_VALUE_MAX || (text.n && memchr(text.p, 0, text.n))) {
        buf_printf(reterr, "%s: is too long or holds a NUL", where);
        return -EINVAL;
    }
    copy = span_dup(text);
    if (!copy)
        return -ENOMEM;
    free(*(char **)field);
    *(char **)field = copy;
    return 0;
}

/* A name without '/' is a systemd credential where there are any. */
static int read_secret(const char *path, struct buf *out, struct buf *reterr)
{
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    char full[4096];
    struct buf name;

    if (!credentials || strchr(path, '/'))
        return option_slurp(path, out, reterr);
    buf_init_fixed(&name, full, sizeof(full));
    buf_printf(&name, "%s/%s", credentials, path);
    return option_slurp(buf_text(&name), out, reterr);
}

static int parse_secret(const struct option_text *from, void *field, struct buf *reterr)
{
    struct buf secret;
    int r;

    buf_init_heap(&secret, OPTION_VALUE_MAX);
    buf_printf(reterr, "%s: ", from->where);
    r = read_secret(from->text, &secret, reterr);
    if (!r) {
        buf_clear(reterr);
        r = parse_text(buf_span(&secret), from->where, field, reterr);
    }
    if (secret.data)
        explicit_bzero(secret.data, secret.room);
    buf_deinit(&secret);
    return r;
}

int option_value_parse(const struct option_row *row, const struct option_text *from, void *config,
                       struct buf *reterr)
{
    struct option_claim claim = { from->source, span_str(row->name), span_str(from->text),
                                  from->where };
    void *field = field_of(row, config);

    if (from->is_path)
        return parse_secret(from, field, reterr);
    if (option_is_text(row->type))
        return parse_text(claim.text, from->where, field, reterr);
    if (row->type == OPTION_BOOL)
        return option_bool(&claim, field, reterr);
    return parse_number(row, claim.text, from->where, field, reterr);
}

bool option_has_userinfo(const struct option_row *row, struct span text)
{
    return (row->flags & OPTION_URL) && span_find(text, '@') < text.n;
}

/* The last '@' ends user and password; a scheme before them says nothing that is secret. */
static void url_print(struct span text, struct buf *out)
{
    size_t at = text.n, scheme = span_find(text, '/') + 2;

    while (text.p[at - 1] != '@')
        at--;
    buf_put_str(out, "\"");
    if (scheme < at && span_eq(span_first(span_skip(text, scheme - 3), 3), SPAN("://")))
        buf_put_span(out, span_first(text, scheme));
    buf_put_str(out, "(set)@");
    buf_put_span(out, span_skip(text, at));
    buf_put_str(out, "\"");
}

static void list_print(const char *list, struct buf *out)
{
    struct span rest = span_str(list), item;
    const char *sep = "";

    buf_put_str(out, "[");
    for (; option_list_next(&rest, &item); sep = ", ") {
        buf_put_str(out, sep);
        utf8_put_quoted(out, item);
    }
    buf_put_str(out, "]");
}

void option_value_print(const struct option_row *row, const void *config, struct buf *out)
{
    const void *field = field_of_const(row, config);
    const char *text = option_is_text(row->type) ? *(char *const *)field : NULL;

    if (row->flags & OPTION_SECRET)
        buf_put_str(out, text && *text ? "(set)" : "(not set)");
    else if (text && option_has_userinfo(row, span_str(text)))
        url_print(span_str(text), out);
    else if (row->type == OPTION_LIST)
        list_print(text, out);
    else if (option_is_text(row->type))
        utf8_put_quoted(out, span_str(text));
    else if (row->type == OPTION_BOOL)
        buf_put_str(out, *(const bool *)field ? "true" : "false");
    else
        number_print(*(const int64_t *)field, row->type, out);
}

bool option_value_eq(const struct option_row *row, const void *a, const void *b)
{
    const void *x = field_of_const(row, a), *y = field_of_const(row, b);

    if (option_is_text(row->type))
        return span_eq_secret(span_str(*(char *const *)x), span_str(*(char *const *)y));
    if (row->type == OPTION_BOOL)
        return *(const bool *)x == *(const bool *)y;
    return *(const int64_t *)x == *(const int64_t *)y;
}

void option_value_swap(const struct option_row *row, void *a, void *b)
{
    unsigned char kept[sizeof(int64_t)];
    size_t n = option_value_size(row->type);

    memcpy(kept, field_of(row, a), n);
    memcpy(field_of(row, a), field_of(row, b), n);
    memcpy(field_of(row, b), kept, n);
}
