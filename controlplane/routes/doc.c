#include "controlplane/routes/doc.h"
#include "controlplane/domain/when.h"

struct span doc_text(const struct json_value *doc, const char *field)
{
    struct span text;

    return json_get_str(doc, field, &text) ? text : SPAN_NONE;
}

struct ulid doc_id(const struct json_value *doc, const char *field)
{
    struct ulid id;

    return ulid_parse(doc_text(doc, field), &id) ? id : (struct ulid){ 0 };
}

int64_t doc_int(const struct json_value *doc, const char *field)
{
    int64_t value;

    return json_get_int(doc, field, &value) ? value : 0;
}

bool doc_bool(const struct json_value *doc, const char *field)
{
    bool value;

    return json_get_bool(doc, field, &value) && value;
}

bool doc_is(const struct json_value *doc, const char *field, const char *word)
{
    return span_eq(doc_text(doc, field), span_str(word));
}

int64_t doc_time(const struct json_value *doc, const char *field)
{
    int64_t ms;

    if (!when_parse(doc_text(doc, field), &ms))
        return 0;
    return ms > 0 ? ms : 1;
}

struct span doc_item(const struct json_value *doc, const char *field, size_t i)
{
    const struct json_value *array = json_get(doc, field);
    struct span text;

    return array && json_as_str(json_at(array, i), &text) ? text : SPAN_NONE;
}

size_t doc_count(const struct json_value *doc, const char *field)
{
    const struct json_value *array = json_get(doc, field);

    return array ? json_count(array) : 0;
}
