#include "cli/flag.h"

#include "lib/config/option.h"

#include <stdio.h>
#include <string.h>

/* Flags that come with verbs, not with fields. */
static const struct {
    unsigned verbs;
    struct flag flag;
} common[] = {
    { VERB_BIT(CREATE), { "name", FLAG_NAME, .metavar = "NAME", .help = "its name" } },
    { VERB_BIT(LIST) | VERB_BIT(MEMBERS),
      { "limit", FLAG_QUERY, .key = "limit", .metavar = "N", .help = "rows of one page, 1 to 500" } },
    { VERB_BIT(LIST) | VERB_BIT(MEMBERS),
      { "all", FLAG_ALL, .is_switch = true, .help = "all pages, not only the first" } },
    { VERB_BIT(LIST) | VERB_BIT(MEMBERS),
      { "cursor", FLAG_QUERY, .key = "cursor", .metavar = "CURSOR", .help = "the page that this leads to" } },
    { VERB_BIT(LIST),
      { "sort", FLAG_QUERY, .key = "sort", .metavar = "FIELD", .words = "id name created_at updated_at -id -name -created_at -updated_at",
        .help = "order; a - in front turns it round" } },
    { VERB_BIT(LIST) | VERB_BIT(EXPORT),
      { "q", FLAG_QUERY, .key = "q", .metavar = "TEXT", .help = "only where this stands somewhere" } },
    { VERB_BIT(LIST) | VERB_BIT(EXPORT),
      { "created-after", FLAG_QUERY, .key = "created_after", .metavar = "TIME", .help = "not older" } },
    { VERB_BIT(LIST) | VERB_BIT(EXPORT),
      { "created-before", FLAG_QUERY, .key = "created_before", .metavar = "TIME", .help = "only older" } },
    { VERB_BIT(LIST), { "count", FLAG_QUERY, .key = "count", .is_switch = true, .help = "say how many there are in all" } },
    { VERB_BIT(LIST) | VERB_BIT(MEMBERS),
      { "columns", FLAG_COLUMNS, .metavar = "A,B", .help = "columns of the table" } },
    { VERB_BIT(CREATE) | VERB_BIT(EDIT),
      { "body", FLAG_BODY, .metavar = "FILE", .help = "fields as JSON out of a file, - for standard input; flags count more" } },
    { VERB_BIT(EDIT),
      { "unset", FLAG_UNSET, .metavar = "FIELD", .may_repeat = true, .help = "take a field away" } },
    { VERB_BIT(EDIT) | VERB_BIT(DELETE),
      { "if-match", FLAG_IF_MATCH, .metavar = "ETAG",
        .help = "only while it is this version; * overwrites whatever is there. Without it: the version read just before" } },
    { VERB_BIT(CUT),
      { "expect", FLAG_EXPECT, .metavar = "N", .help = "how many the filter finds; without it nothing is cut, and it is said" } },
    { VERB_BIT(ROTATE),
      { "overlap", FLAG_OVERLAP, .metavar = "SECONDS", .help = "how long the one before counts beside it; 0: not at all" } },
    { VERB_BIT(DELETE), { "cascade", FLAG_CASCADE, .is_switch = true, .help = "and all that refers to it" } },
    { VERB_BIT(CREATE) | VERB_BIT(EDIT) | VERB_BIT(DELETE) | VERB_BIT(ADD_MEMBER) | VERB_BIT(REMOVE_MEMBER) | VERB_BIT(CUT) | VERB_BIT(ROTATE),
      { "dry-run", FLAG_DRY_RUN, .is_switch = true, .help = "check everything, change nothing" } },
    { VERB_BIT(CREATE) | VERB_BIT(EDIT) | VERB_BIT(DELETE) | VERB_BIT(ADD_MEMBER) | VERB_BIT(REMOVE_MEMBER) | VERB_BIT(CUT) | VERB_BIT(RESET),
      { "wait", FLAG_WAIT, .is_switch = true, .help = "until the connected relays run it, at most 30 s" } },
    { ~0u & ~VERB_BIT(EXPORT),
      { "output", FLAG_OUTPUT, .metavar = "FORM", .words = "table json id etag", .help = "table, json, id or etag" } },
};

/* The same as SESSION_OPTIONS, whose rows the option table reads. */
static const struct flag session[] = {
    { "var", FLAG_SESSION, .metavar = "DIR", .help = "state directory of adit up" },
    { "api", FLAG_SESSION, .metavar = "URL", .help = "https://host:port of the control plane; empty: that of --var" },
    { "ca-file", FLAG_SESSION, .metavar = "FILE", .help = "what its certificate is checked against" },
    { "token-file", FLAG_SESSION, .metavar = "FILE", .help = "file with an API token" },
    { "config", FLAG_SESSION, .metavar = "FILE", .help = "these four as YAML" },
};

static const struct {
    const char *metavar, *help;
} leaves[LEAF_COUNT] = {
    [LEAF_TEXT] = { "TEXT", "" },
    [LEAF_NAME] = { "NAME", "a name" },
    [LEAF_REF] = { "NAME", "name or id" },
    [LEAF_ENUM] = { "WORD", "" },
    [LEAF_TIME] = { "TIME", "2031-01-31T18:00:00Z, or from now: +90m, +8h, +30d" },
    [LEAF_NETWORK] = { "NETWORK", "addresses or prefixes" },
    [LEAF_ADDRESS] = { "ADDRESS", "addresses" },
    [LEAF_HOST] = { "HOST", "a name, or *.suffix" },
    [LEAF_HOST_PATTERN] = { "HOST", "names, *.suffix, addresses, prefixes" },
    [LEAF_PORTS] = { "PORTS", "80, 8000-8100" },
    [LEAF_ACL_RULE] = { "RULE", "host or prefix, with :ports or without; again for each rule" },
    [LEAF_SCOPE] = { "SCOPE", "users:read, groups:*, *:*" },
    [LEAF_URL] = { "URL", "https://…" },
    [LEAF_WORD] = { "WORD", "" },
    [LEAF_PEM] = { "PEM", "certificates" },
    [LEAF_UNIX_PATH] = { "PATH", "unix:/path of a socket" },
    [LEAF_HOUR] = { "HH:MM", "" },
    [LEAF_HOUR_END] = { "HH:MM", "" },
    [LEAF_ZONE] = { "ZONE", "" },
    [LEAF_INT] = { "N", "" },
    [LEAF_BOOL] = { "true|false", "" },
};

static struct flag *add(struct flags *flags, const struct flag *flag)
{
    if (flags->count == FLAGS_MAX)
        return NULL;
    flags->items[flags->count] = *flag;
    return &flags->items[flags->count++];
}

static void set_name(struct flag *flag, const char *prefix, const char *field, const char *suffix)
{
    snprintf(flag->name, sizeof(flag->name), "%s%s%s", prefix, field, suffix);
    for (char *p = flag->name; *p; p++)
        *p = *p == '_' ? '-' : *p;
}

static const char *word_of(enum kind_id kind)
{
    const struct resource *r;

    for (size_t i = 0; (r = resource_at(i)); i++) {
        if (r->kind == kind)
            return r->word;
    }
    return NULL;
}

static void describe(struct flag *flag, const struct field *field)
{
    flag->metavar = leaves[field->leaf].metavar;
    flag->help = leaves[field->leaf].help;
    if (field->leaf == LEAF_ENUM)
        flag->words = field->limits.words;
    if (field->leaf == LEAF_REF)
        flag->refers = word_of(field->ref);
    if (field->shape == SHAPE_MAP) {
        flag->metavar = "KEY=VALUE";
        flag->help = "again for each";
    }
    if (field->shape == SHAPE_ROWS) {
        flag->metavar = "WINDOW";
        flag->help = "'mon,tue 08:00-18:00 Europe/Berlin'; again for each";
    }
    flag->may_repeat = field->shape != SHAPE_ONE;
}

static void add_field(struct flags *flags, const struct field *field, bool is_edit)
{
    struct flag flag = { .id = FLAG_FIELD, .field = field };

    describe(&flag, field);
    set_name(&flag, "", field->name, "");
    add(flags, &flag);
    if (!is_edit || field->shape == SHAPE_ONE || field->shape == SHAPE_ROWS)
        return;
    if (field->shape == SHAPE_LIST) {
        flag.id = FLAG_FIELD_ADD;
        flag.help = "to those that are there";
        set_name(&flag, "add-", field->name, "");
        add(flags, &flag);
    }
    flag.id = FLAG_FIELD_REMOVE;
    flag.help = "from those that are there";
    flag.metavar = field->shape == SHAPE_MAP ? "KEY" : flag.metavar;
    set_name(&flag, "remove-", field->name, "");
    add(flags, &flag);
}

static void add_password(struct flags *flags, const struct field *field)
{
    struct flag ask = { .id = FLAG_PASSWORD, .field = field, .is_switch = true, .help = "ask for it, on the terminal" };
    struct flag file = { .id = FLAG_PASSWORD_FILE, .field = field, .metavar = "FILE",
                         .help = "it is in this file; -: standard input" };

    set_name(&ask, "", field->name, "");
    set_name(&file, "", field->name, "-file");
    add(flags, &ask);
    add(flags, &file);
}

static void add_secret_file(struct flags *flags)
{
    add(flags, &(struct flag){ "secret-file", FLAG_SECRET_FILE, .metavar = "FILE",
                               .help = "where the secret is written (0600); -: standard output" });
}

/* The first one; others are for programs. */
static bool has_password(const struct flags *flags)
{
    for (size_t i = 0; i < flags->count; i++) {
        if (flags->items[i].id == FLAG_PASSWORD)
            return true;
    }
    return false;
}

static void add_fields(struct flags *flags, const struct kind *kind, bool is_edit)
{
    unsigned hidden = FIELD_SERVER | (is_edit ? FIELD_IMMUTABLE : 0);
    const struct field *field;

    for (size_t i = 0; (field = kind_field_at(kind, i)); i++) {
        if ((field->flags & FIELD_SECRET) && !has_password(flags))
            add_password(flags, field);
        else if (!(field->flags & (FIELD_SECRET | hidden)))
            add_field(flags, field, is_edit);
    }
    if (!is_edit && kind->secret)
        add_secret_file(flags);
}

static void add_filter(struct flags *flags, const char *key, const struct field *field)
{
    struct flag flag = { .id = FLAG_FILTER, .metavar = "VALUE", .help = "only where it is this" };

    if (field)
        describe(&flag, field);
    flag.help = "only where it is this";
    snprintf(flag.key, sizeof(flag.key), "%s", key);
    set_name(&flag, "", key, "");
    add(flags, &flag);
    if (!field)
        return;
    flag.id = FLAG_FILTER_NOT;
    flag.help = "only where it is not";
    snprintf(flag.key, sizeof(flag.key), "%s.ne", key);
    set_name(&flag, "", key, "-not");
    add(flags, &flag);
}

static void add_filters(struct flags *flags, const struct resource *resource, const char *words)
{
    const struct kind *kind = resource_kind(resource);
    struct span rest = span_str(words), word;
    const struct field *field;

    if (kind)
        add(flags, &(struct flag){ "name", FLAG_FILTER, .key = "name", .metavar = "NAME",
                                   .help = "only the one of this name" });
    for (size_t i = 0; kind && (field = kind_field_at(kind, i)); i++) {
        if (field->flags & FIELD_FILTER)
            add_filter(flags, field->name, field);
    }
    while (span_cut(&rest, ' ', &word)) {
        char key[48];

        if (span_copy(word, key, sizeof(key)))
            add_filter(flags, key, NULL);
    }
}

static void add_member_fields(struct flags *flags, const struct kind *kind)
{
    for (size_t i = 0; i < kind->member_field_count; i++)
        add_field(flags, &kind->member_fields[i], false);
}

void flags_of(const struct resource *resource, enum verb_id verb, struct flags *ret_flags)
{
    const struct kind *kind = resource_kind(resource);

    ret_flags->count = 0;
    if (verb == VERB_CREATE || verb == VERB_EDIT)
        add_fields(ret_flags, kind, verb == VERB_EDIT);
    if (verb == VERB_ROTATE && kind && kind->secret)
        add_secret_file(ret_flags);
    if (verb == VERB_ADD_MEMBER)
        add_member_fields(ret_flags, kind);
    if (verb == VERB_LIST || verb == VERB_EXPORT)
        add_filters(ret_flags, resource, resource->filters);
    if (verb == VERB_CUT)
        add_filters(ret_flags, resource, "user agent destination_profile grant host");
    for (size_t i = 0; i < ARRAY_LEN(common); i++) {
        bool is_sort = strcmp(common[i].flag.name, "sort") == 0;

        if ((common[i].verbs & (1u << verb)) && (kind || !is_sort))
            add(ret_flags, &common[i].flag);
    }
    for (size_t i = 0; i < ARRAY_LEN(session); i++)
        add(ret_flags, &session[i]);
}

const struct flag *flags_find(const struct flags *flags, struct span name)
{
    for (size_t i = 0; i < flags->count; i++) {
        if (span_eq(span_str(flags->items[i].name), name))
            return &flags->items[i];
    }
    return NULL;
}

const char *flags_nearest(const struct flags *flags, struct span name)
{
    const char *known[FLAGS_MAX];

    for (size_t i = 0; i < flags->count; i++)
        known[i] = flags->items[i].name;
    return option_nearest(name, known, flags->count);
}
