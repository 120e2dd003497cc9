#include "controlplane/store/driver.h"

#define JSON_FIELD { "json_extract(doc, ", ")" }
#define JSON_FIELD_OR_EMPTY { "coalesce(json_extract(doc, ", "), '')" }
#define ANY_VALUE { "?", "" }

const struct dialect sqlite_dialect = {
    .values = { ANY_VALUE, ANY_VALUE, ANY_VALUE, ANY_VALUE, ANY_VALUE, ANY_VALUE, ANY_VALUE, ANY_VALUE },
    .fields = { [FIELD_TEXT] = JSON_FIELD, [FIELD_INT] = JSON_FIELD, [FIELD_BOOL] = JSON_FIELD,
                [FIELD_PLAIN] = JSON_FIELD, [FIELD_SORT] = JSON_FIELD_OR_EMPTY,
                [FIELD_FACET] = JSON_FIELD_OR_EMPTY },
    .has = { { "EXISTS (SELECT 1 FROM json_each(doc, ", ") e WHERE e.value = " }, { "", ")" } },
    .path = { "$.", "" },
    .path_step = ".",
    .is_not = " IS NOT ",
    .like = " LIKE ",
    .doc_like = "doc",
};

/* The functions adit_… are made by the first migration. */
const struct dialect postgres_dialect = {
    .values = {
        [VALUE_TEXT] = { "$", "::text" },
        [VALUE_INT] = { "$", "::bigint" },
        [VALUE_REAL] = { "$", "::float8" },
        [VALUE_BOOL] = { "($", "::bigint = 1)" },
        [VALUE_JSON] = { "($", "::text)::jsonb" },
        [VALUE_PATH] = { "($", "::text)::text[]" },
    },
    .fields = {
        [FIELD_TEXT] = { "adit_text(doc, ", ") COLLATE \"C\"" },
        [FIELD_INT] = { "adit_number(doc, ", ")" },
        [FIELD_BOOL] = { "adit_bool(doc, ", ")" },
        [FIELD_PLAIN] = { "(doc #>> ", ") COLLATE \"C\"" },
        [FIELD_SORT] = { "adit_sort(doc, ", ")" },
        [FIELD_FACET] = { "coalesce(doc #>> ", ", '') COLLATE \"C\"" },
    },
    .has = { { "(doc #> ", ")::jsonb @> to_jsonb(" }, { "", ")" } },
    .path = { "{", "}" },
    .path_step = ",",
    .is_not = " IS DISTINCT FROM ",
    .like = " ILIKE ",
    .doc_like = "doc::text COLLATE \"C\"",
};
