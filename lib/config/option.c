#include "lib/config/option_internal.h"
#include <errno.h>
#include <string.h>

#define KNOWN_MAX 256           /* rows that a suggestion looks at */

extern char **environ;

static void origins_freep(struct option_origins **o)
{
    option_origins_free(*o);
}

void option_origins_free(struct option_origins *o)
{
    if (!o)
        return;
    for (size_t i = 0; i < o->table->count; i++) {
        if (o->items[i].text)
            explicit_bzero(o->items[i].text, strlen(o->items[i].text));
        free(o->items[i].text);
        free(o->items[i].where);
    }
    free(o->config_path);
    free(o);
}

void option_free(const struct option_table *table, void *config)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct option_row *row = &table->rows[i];
        char **text = (char **)(void *)((char *)config + row->offset);

        if (!option_is_text(row->type) || !*text)
            continue;
        if (row->flags & (OPTION_SECRET | OPTION_URL))
            explicit_bzero(*text, strlen(*text));
        free(TAKE(*text));
    }
}

bool option_list_next(struct span *rest, struct span *ret_item)
{
    return rest->n && span_cut(rest, '\n', ret_item);
}

const struct option_row *option_find(const struct option_table *table, struct span name,
                                     bool *ret_is_path)
{
    struct span stem = span_ends(name, SPAN("_file")) ? span_first(name, name.n - 5) : SPAN_NONE;

    for (size_t i = 0; i < table->count; i++) {
        const struct option_row *row = &table->rows[i];
        struct span known = span_str(row->name);

        *ret_is_path = (row->flags & OPTION_SECRET) && stem.n && span_eq(known, stem);
        if (*ret_is_path || span_eq(known, name))
            return row;
    }
    return NULL;
}

int option_refuse_unknown(const struct option_table *table, struct span name, const char *where,
                          struct buf *reterr)
{
    const char *known[KNOWN_MAX], *nearest;
    size_t count = table->count < KNOWN_MAX ? table->count : KNOWN_MAX;

    for (size_t i = 0; i < count; i++)
        known[i] = table->rows[i].name;
    nearest = option_nearest(name, known, count);
    buf_printf(reterr, "%s: no option is called " SPAN_FMT, where,
               SPAN_ARG(span_first(name, OPTION_NAME_MAX)));
    if (nearest)
        buf_printf(reterr, "; did you mean %s?", nearest);
    return -EINVAL;
}

int option_bool(const struct option_claim *claim, bool *ret_value, struct buf *reterr)
{
    bool is_true = span_eq(claim->text, SPAN("true"));

    if (!is_true && !span_eq(claim->text, SPAN("false"))) {
        buf_printf(reterr, "%s: must be true or false", claim->where);
        return -EINVAL;
    }
    *ret_value = is_true;
    return 0;
}

static int put_text(struct option_text *item, const struct option_claim *claim, bool is_path,
                    bool is_list)
{
    AUTO(freep) char *text = span_dup(claim->text);
    AUTO(freep) char *where = span_dup(span_str(claim->where));

    if (!text || !where)
        return -ENOMEM;
    for (char *c = text; is_list && claim->source != OPTION_FROM_FILE && *c; c++)
        *c = *c == ',' ? '\n' : *c;
    free(item->text);
    free(item->where);
    item->text = TAKE(text);
    item->where = TAKE(where);
    item->source = claim->source;
    item->is_path = is_path;
    return 0;
}

static int refuse_claim(const struct option_claim *claim, const char *why, struct buf *reterr)
{
    buf_printf(reterr, "%s: " SPAN_FMT " %s", claim->where, SPAN_ARG(claim->name), why);
    return -EINVAL;
}

int option_put(struct option_origins *o, const struct option_claim *claim, struct buf *reterr)
{
    bool is_path, is_from_file = claim->source == OPTION_FROM_FILE;
    const struct option_row *row = option_find(o->table, claim->name, &is_path);
    struct option_text *item = row ? &o->items[row - o->table->rows] : NULL;
    bool is_plain_secret = row && (row->flags & OPTION_SECRET) && !is_path;

    if (span_eq(claim->name, SPAN("allow_env_secrets")))
        return o->allows_env_secrets ? 0 : option_bool(claim, &o->allows_env_secrets, reterr);
    if (!row)
        return option_refuse_unknown(o->table, claim->name, claim->where, reterr);
    if (claim->text.n > OPTION_VALUE_MAX
        || (claim->text.n && memchr(claim->text.p, 0, claim->text.n)))
        return refuse_claim(claim, "is too long or holds a NUL", reterr);
    if (is_plain_secret && (claim->source == OPTION_FROM_FLAG || is_from_file))
        return refuse_claim(claim, "is a secret: put it into a file and give that as …_file",
                            reterr);
    if (claim->source == OPTION_FROM_FLAG && option_has_userinfo(row, claim->text))
        return refuse_claim(claim, "holds a password that others on this machine would see: give it in the "
                            "environment or the file", reterr);
    if (is_from_file && item->is_in_file)
        return refuse_claim(claim, "is there twice", reterr);
    item->is_in_file |= is_from_file;
    if (item->text && item->source < claim->source)
        return 0;
    return put_text(item, claim, is_path, row->type == OPTION_LIST);
}

int option_read_defaults(struct option_origins *o, struct buf *reterr)
{
    int r = 0;

    for (size_t i = 0; i < o->table->count && !r; i++) {
        const struct option_row *row = &o->table->rows[i];
        struct option_claim claim = { OPTION_FROM_DEFAULT, span_str(row->name),
                                      span_str(row->fallback), "default" };

        r = option_put(o, &claim, reterr);
    }
    return r;
}

/* Whether a plain variable may be a secret is known when all sources have been read. */
static int check_secrets(const struct option_origins *o, struct buf *reterr)
{
    for (size_t i = 0; i < o->table->count; i++) {
        const struct option_text *item = &o->items[i];

        if (!(o->table->rows[i].flags & OPTION_SECRET) || item->source != OPTION_FROM_ENV
            || item->is_path || o->allows_env_secrets)
            continue;
        buf_printf(reterr,
                   "%s: is a secret: give %s_FILE, the path of a file that holds it, or set "
                   "allow_env_secrets",
                   item->where, item->where);
        return -EINVAL;
    }
    return 0;
}

static bool reads_nothing(enum option_action action)
{
    return action == OPTION_HELP || action == OPTION_VERSION || action == OPTION_REFERENCE;
}

static int read_sources(struct option_origins *o, struct buf *reterr)
{
    int r = option_read_env(o, environ, reterr);

    if (!r)
        r = option_read_file(o, reterr);
    if (!r)
        r = option_read_shared(o, reterr);
    if (!r)
        r = option_read_defaults(o, reterr);
    return r ? r : check_secrets(o, reterr);
}

static int check_required(const struct option_row *row, const struct option_table *table,
                          const void *config, struct buf *reterr)
{
    const char *suffix = row->flags & OPTION_SECRET ? "_file" : "";
    const char *const *text =
        (const char *const *)(const void *)((const char *)config + row->offset);

    if (!(row->flags & OPTION_REQUIRED) || !option_is_text(row->type) || **text)
        return 0;
    buf_printf(reterr, "%s is required: set %s%s: in the file, or %s", row->name, row->name, suffix,
               table->env_prefix);
    for (const char *c = row->name; *c; c++)
        buf_put_u8(reterr, (uint8_t)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c));
    buf_put_str(reterr, row->flags & OPTION_SECRET ? "_FILE" : "");
    return -EINVAL;
}

static int parse_values(const struct option_origins *o, void *config, struct buf *reterr)
{
    int r = 0;

    for (size_t i = 0; i < o->table->count && !r; i++)
        r = option_value_parse(&o->table->rows[i], &o->items[i], config, reterr);
    for (size_t i = 0; i < o->table->count && !r; i++)
        r = check_required(&o->table->rows[i], o->table, config, reterr);
    if (r)
        option_free(o->table, config);
    return r;
}

int option_load(const struct option_table *table, int argc, char **argv, void *config,
                enum option_action *ret_action, struct option_origins **ret_origins,
                struct buf *reterr)
{
    AUTO(origins_freep) struct option_origins *o =
        calloc(1, sizeof(*o) + table->count * sizeof(o->items[0]));
    int r;

    if (!o)
        return -ENOMEM;
    o->table = table;
    r = option_read_flags(o, argc, argv, reterr);
    if (!r && !reads_nothing(o->action)) {
        r = read_sources(o, reterr);
        if (!r)
            r = parse_values(o, config, reterr);
    }
    if (r)
        return r;

    *ret_action = o->action;
    *ret_origins = TAKE(o);
    return 0;
}
