// room: lib/yaml
// parser: lib/yaml/read.c lib/yaml/print.c
/* What was read, printed, reads as the same; what is refused says why. */
#include "lib/yaml/yaml_text.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n);

static void must(bool is_so)
{
    if (!is_so)
        abort();
}

static void check_print(const struct json_value *value)
{
    AUTO(json_value_freep) struct json_value *again = NULL;
    AUTO(buf_deinit) struct buf text, one, other;
    char mem[400];
    struct buf error;

    buf_init_heap(&text, 1 << 24);
    buf_init_heap(&one, 1 << 24);
    buf_init_heap(&other, 1 << 24);
    buf_init_fixed(&error, mem, sizeof(mem) - 1);
    yaml_print(value, &text);
    must(!buf_error(&text));
    must(yaml_parse(buf_span(&text), 1 << 24, &again, &error) == 0);
    json_print(value, &one);
    json_print(again, &other);
    must(span_eq(buf_span(&one), buf_span(&other)));
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n)
{
    AUTO(json_value_freep) struct json_value *value = NULL;
    char mem[400];
    struct buf error;

    buf_init_fixed(&error, mem, sizeof(mem) - 1);
    if (yaml_parse(span_of(data, n), 1 << 20, &value, &error))
        must(error.len > 0);
    else
        check_print(value);
    return 0;
}
