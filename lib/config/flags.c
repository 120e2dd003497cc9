#include "lib/config/option_internal.h"
#include <errno.h>
#include <string.h>

/* The command line, being read. */
struct flags {
    struct option_origins *origins;
    struct buf *reterr;
    int argc, at;
    char **argv;
};

static const struct { const char *name; enum option_action action; } actions[] = {
    { "help", OPTION_HELP },
    { "version", OPTION_VERSION },
    { "print-config", OPTION_PRINT_CONFIG },
    { "check-config", OPTION_CHECK_CONFIG },
    { "print-reference", OPTION_REFERENCE },
};

static bool find_action(struct span flag, enum option_action *ret_action)
{
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        if (span_eq(flag, span_str(actions[i].name))) {
            *ret_action = actions[i].action;
            return true;
        }
    }
    return false;
}

/* A switch stands alone; its value, if any, is behind '='. */
static bool is_switch(const struct option_origins *o, struct span name)
{
    bool is_path;
    const struct option_row *row = option_find(o->table, name, &is_path);

    return (row && row->type == OPTION_BOOL) || span_eq(name, SPAN("allow_env_secrets"));
}

static int take_value(struct flags *f, struct span name, struct span rest, const char *where,
                      struct span *ret_text)
{
    bool is_path;

    if (rest.p)
        *ret_text = rest;
    else if (is_switch(f->origins, name))
        *ret_text = SPAN("true");
    else if (!span_eq(name, SPAN("config")) && !option_find(f->origins->table, name, &is_path))
        return option_refuse_unknown(f->origins->table, name, where, f->reterr);
    else if (f->at + 1 < f->argc)
        *ret_text = span_str(f->argv[++f->at]);
    else {
        buf_printf(f->reterr, "%s: needs a value", where);
        return -EINVAL;
    }
    return 0;
}

static int set_config_path(struct option_origins *o, struct span text)
{
    char *path = span_dup(text);

    if (!path)
        return -ENOMEM;
    free(o->config_path);
    o->config_path = path;
    return 0;
}

/* `flag` is without its "--". */
static int read_flag(struct flags *f, struct span flag)
{
    char name_mem[OPTION_NAME_MAX], where[OPTION_NAME_MAX + 3] = "--";
    struct option_claim claim = { .source = OPTION_FROM_FLAG, .where = where };
    struct span rest = flag, spelled;
    int r;

    if (!span_cut(&rest, '=', &spelled) || !span_copy(spelled, name_mem, sizeof(name_mem))) {
        buf_printf(f->reterr, "--%.64s…: is not a known option", flag.p);
        return -EINVAL;
    }
    span_copy(spelled, where + 2, sizeof(where) - 2);
    for (char *c = name_mem; *c; c++)
        *c = *c == '-' ? '_' : *c;
    claim.name = span_str(name_mem);
    r = take_value(f, claim.name, rest, where, &claim.text);
    if (r)
        return r;
    if (span_eq(claim.name, SPAN("config")))
        return set_config_path(f->origins, claim.text);
    return option_put(f->origins, &claim, f->reterr);
}

static int read_argument(struct flags *f)
{
    struct span arg = span_str(f->argv[f->at]);
    enum option_action action;

    if (span_eq(arg, SPAN("-h")))
        arg = SPAN("--help");
    if (!span_starts(arg, SPAN("--")) || arg.n == 2) {
        buf_printf(f->reterr, "%.64s: is not an option (see --help)", f->argv[f->at]);
        return -EINVAL;
    }
    if (!find_action(span_skip(arg, 2), &action))
        return read_flag(f, span_skip(arg, 2));
    f->origins->action = action;
    return 0;
}

int option_read_flags(struct option_origins *o, int argc, char **argv, struct buf *reterr)
{
    struct flags f = { o, reterr, argc, 1, argv };
    int r = 0;

    for (; f.at < argc && !r; f.at++)
        r = read_argument(&f);
    return r;
}
