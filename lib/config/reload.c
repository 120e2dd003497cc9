#include "lib/config/option_internal.h"
#include <errno.h>

static void origins_freep(struct option_origins **o)
{
    option_origins_free(*o);
}

static size_t config_size(const struct option_table *table)
{
    size_t size = 1;

    for (size_t i = 0; i < table->count; i++) {
        size_t end = table->rows[i].offset + option_value_size(table->rows[i].type);

        size = end > size ? end : size;
    }
    return size;
}

static void take_over(const struct option_row *row, void *config, void *fresh,
                      struct buf *ret_report)
{
    if (option_value_eq(row, config, fresh))
        return;
    buf_printf(ret_report, "%s%s: ", ret_report->len ? "; " : "", row->name);
    if (!(row->flags & OPTION_RELOAD)) {
        buf_put_str(ret_report, "needs a restart");
        return;
    }
    option_value_print(row, config, ret_report);
    buf_put_str(ret_report, " -> ");
    option_value_print(row, fresh, ret_report);
    option_value_swap(row, config, fresh);
}

int option_reload(const struct option_table *table, int argc, char **argv, void *config,
                  struct buf *ret_report, struct buf *reterr)
{
    AUTO(origins_freep) struct option_origins *origins = NULL;
    AUTO(freep) void *fresh = calloc(1, config_size(table));
    enum option_action action;
    int r;

    if (!fresh)
        return -ENOMEM;
    r = option_load(table, argc, argv, fresh, &action, &origins, reterr);
    if (r)
        return r;
    for (size_t i = 0; i < table->count; i++)
        take_over(&table->rows[i], config, fresh, ret_report);
    option_free(table, fresh);
    return 0;
}
