// room: cli/intratun
// parser: cli/intratun/plan.c cli/intratun/plan_access.c cli/intratun/pattern.c cli/intratun/names.c
/* Whatever stands in the files: a plan is a document, and says nothing of a secret. */
#include "cli/intratun/intratun.h"
#include "lib/yaml/yaml_text.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n);

static void must(bool is_so)
{
    if (!is_so)
        abort();
}

static struct json_value *part(const struct json_value *whole, const char *key, enum json_kind kind)
{
    const struct json_value *found = json_kind_of(whole) == JSON_IS_OBJECT ? json_get(whole, key) : NULL;
    struct json_value *copy = NULL;
    struct json_error error;
    struct buf text;

    if (!found || json_kind_of(found) != kind)
        return NULL;
    buf_init_heap(&text, 1 << 24);
    json_print(found, &text);
    must(json_parse(buf_span(&text), &copy, &error) == 0);
    buf_deinit(&text);
    return copy;
}

static void check_document(struct span text)
{
    AUTO(json_value_freep) struct json_value *value = NULL;
    struct json_error error;

    must(json_parse(text, &value, &error) == 0);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n)
{
    AUTO(json_value_freep) struct json_value *whole = NULL;
    AUTO(intratun_source_deinit) struct intratun_source source = { 0 };
    AUTO(intratun_plan_deinit) struct intratun_plan plan = { .note_count = 0 };
    char mem[400], text[1024];
    struct buf error, rule;
    const char *why;

    buf_init_fixed(&rule, text, sizeof(text));
    must(intratun_rule(span_of(data, n), &rule, &why) ? !buf_error(&rule) : why[0]);
    buf_init_fixed(&error, mem, sizeof(mem) - 1);
    if (yaml_parse(span_of(data, n), 1 << 20, &whole, &error))
        return 0;
    source.agents = part(whole, "agents", JSON_IS_ARRAY);
    source.overrides = part(whole, "overrides", JSON_IS_ARRAY);
    source.tables = part(whole, "tables", JSON_IS_OBJECT);
    if (intratun_plan_make(&source, &(struct intratun_options){ SPAN("^a:80$\nb"), n & 1 }, &plan, &error)) {
        must(error.len > 0);
        return 0;
    }
    check_document(buf_span(&plan.document));
    check_document(buf_span(&plan.secrets));
    must(!memmem(plan.document.data, plan.document.len, "\"password\":", 11));
    return 0;
}
