#include "lib/config/option_internal.h"
#include "lib/base/version.h"
#include <stdio.h>

#define PRINT_MAX (256 * 1024)

static const char *const placeholders[] = {
    [OPTION_STR] = "TEXT",   [OPTION_PATH] = "PATH", [OPTION_LIST] = "A,B,…",
    [OPTION_INT] = "NUMBER", [OPTION_MSEC] = "TIME", [OPTION_SIZE] = "SIZE",
    [OPTION_BOOL] = "",
};

static const struct { const char *flag, *help; } common[] = {
    { "--config PATH", "read options from a YAML file" },
    { "--print-config", "print each value and where it comes from" },
    { "--check-config", "check the configuration and exit" },
    { "--print-reference", "print the reference of all options as Markdown" },
    { "--allow-env-secrets", "take secrets from plain environment variables" },
    { "--version", "print the version" },
    { "--help", "print this" },
};

static void put_flag(struct buf *out, const struct option_row *row)
{
    buf_put_str(out, "--");
    for (const char *c = row->name; *c; c++)
        buf_put_u8(out, (uint8_t)(*c == '_' ? '-' : *c));
    buf_put_str(out, row->flags & OPTION_SECRET ? "-file" : "");
}

static void put_variable(struct buf *out, const struct option_table *table,
                         const struct option_row *row)
{
    buf_put_str(out, table->env_prefix);
    for (const char *c = row->name; *c; c++)
        buf_put_u8(out, (uint8_t)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c));
    buf_put_str(out, row->flags & OPTION_SECRET ? "_FILE" : "");
}

static const char *placeholder(const struct option_row *row)
{
    return row->flags & OPTION_SECRET ? "PATH" : placeholders[row->type];
}

static void put_help_row(struct buf *out, const struct option_table *table,
                         const struct option_row *row)
{
    buf_put_str(out, "  ");
    put_flag(out, row);
    buf_printf(out, " %s\n      %s%s", placeholder(row), row->help,
               *row->fallback ? " (default " : "");
    if (*row->fallback)
        buf_printf(out, "%s)", row->fallback);
    buf_put_str(out, "\n      ");
    put_variable(out, table, row);
    for (size_t i = 0; i < table->shared_count; i++) {
        if (span_eq(span_str(table->shared[i].name), span_str(row->name)))
            buf_printf(out, ", %s", table->shared[i].variable);
    }
    buf_put_str(out, row->flags & OPTION_RELOAD ? "; reloadable\n" : "\n");
}

static void put_help(struct buf *out, const struct option_table *table)
{
    buf_printf(
        out,
        "Usage: %s [OPTION]…\n%s\n\nOptions (flag, then environment, then file, then default):\n",
        table->program, table->summary);
    for (size_t i = 0; i < table->count; i++)
        put_help_row(out, table, &table->rows[i]);
    buf_put_str(out, "\n");
    for (size_t i = 0; i < ARRAY_LEN(common); i++)
        buf_printf(out, "  %-20s %s\n", common[i].flag, common[i].help);
}

static void put_reference(struct buf *out, const struct option_table *table)
{
    buf_printf(out, "# %s: options\n\n%s\n\n"
               "| file | flag | environment | type | default | reloadable | what |\n"
               "|---|---|---|---|---|---|---|\n", table->program, table->summary);
    for (size_t i = 0; i < table->count; i++) {
        const struct option_row *row = &table->rows[i];

        buf_printf(out, "| `%s%s` | `", row->name, row->flags & OPTION_SECRET ? "_file" : "");
        put_flag(out, row);
        buf_put_str(out, "` | `");
        put_variable(out, table, row);
        buf_printf(out, "` | %s | %s%s%s | %s | %s |\n",
                   row->type == OPTION_BOOL ? "true, false" : placeholder(row),
                   *row->fallback ? "`" : "", row->fallback, *row->fallback ? "`" : "",
                   row->flags & OPTION_RELOAD ? "yes" : "no", row->help);
    }
}

/* What is printed can be read again; secrets stand in a comment. */
static void put_config(struct buf *out, const struct option_table *table, const void *config,
                       const struct option_origins *origins)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct option_row *row = &table->rows[i];
        bool is_hidden = row->flags & OPTION_SECRET || option_has_userinfo(row, span_str(origins->items[i].text));

        buf_printf(out, "%s%s: ", is_hidden ? "# " : "", row->name);
        option_value_print(row, config, out);
        buf_printf(out, "    # %s\n", origins->items[i].where);
    }
}

void option_print(const struct option_table *table, const void *config,
                  const struct option_origins *origins, enum option_action action)
{
    struct buf out;

    buf_init_heap(&out, PRINT_MAX);
    if (action == OPTION_PRINT_CONFIG)
        put_config(&out, table, config, origins);
    else if (action == OPTION_HELP)
        put_help(&out, table);
    else if (action == OPTION_REFERENCE)
        put_reference(&out, table);
    else if (action == OPTION_VERSION)
        buf_printf(&out, "%s %s\n", table->program, ADIT_VERSION);
    else if (action == OPTION_CHECK_CONFIG)
        buf_put_str(&out, "The configuration is good.\n");
    if (out.len)
        fwrite(out.data, 1, out.len, stdout);
    fflush(stdout);
    buf_deinit(&out);
}
