// room: lib/config
// parser: lib/config/yaml.c lib/config/value.c lib/config/flags.c
// beside: option_value_size read_secret parse_secret url_print option_value_print option_value_eq option_value_swap
/* The YAML file, the first line of which stands for a flag. */
#include "lib/config/option_internal.h"

#define FUZZ_OPTIONS(X)                                 \
    X(STR, listen, "", 0, 0, 0, "")                     \
    X(MSEC, drain_ms, "30s", 0, 3600000, 0, "")         \
    X(SIZE, window, "1M", 65536, 16777216, 0, "")       \
    X(INT, workers, "2", -4, 64, 0, "")                 \
    X(BOOL, tls, "true", 0, 0, 0, "")                   \
    X(LIST, hosts, "", 0, 0, 0, "")

struct fuzz_config {
    FUZZ_OPTIONS(OPTION_FIELD)
};

#define FUZZ_ROW(...) OPTION_ROW_OF(struct fuzz_config, __VA_ARGS__)
static const struct option_row rows[] = { FUZZ_OPTIONS(FUZZ_ROW) };
static const struct option_table table = { "fuzz", "ADIT_FUZZ_", "", rows, ARRAY_LEN(rows) };

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n);

static int read_all(struct option_origins *o, struct span flag, struct span yaml, struct buf *error)
{
    AUTO(freep) char *arg = span_dup(flag);
    char *argv[] = { arg, arg };
    int r = 0;

    if (arg && *arg)
        r = option_read_flags(o, 2, argv, error);
    if (!r)
        r = option_read_yaml(o, yaml, "fuzz.yaml", error);
    return r ? r : option_read_defaults(o, error);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n)
{
    struct option_origins *o = calloc(1, sizeof(*o) + sizeof(o->items[0]) * ARRAY_LEN(rows));
    struct span yaml = span_of(data, n), flag = SPAN_NONE;
    struct fuzz_config config = { 0 };
    char mem[400], printed[400];
    struct buf error, out;
    int r;

    if (!o)
        return 0;
    o->table = &table;
    buf_init_fixed(&error, mem, sizeof(mem));
    span_cut(&yaml, '\n', &flag);
    r = read_all(o, flag, yaml, &error);
    for (size_t i = 0; i < ARRAY_LEN(rows) && !r; i++) {
        r = option_value_parse(&rows[i], &o->items[i], &config, &error);
        buf_init_fixed(&out, printed, sizeof(printed));
        if (!r)
            option_value_print(&rows[i], &config, &out);
    }
    if (r && !error.len)
        abort();                    /* each refusal says why */
    option_free(&table, &config);
    option_origins_free(o);
    return 0;
}
