#pragma once
#include "controlplane/store/store_internal.h"
#include <string.h>
/*
 * list_internal.h - composing the SQL of a list (list_sql.c) for list.c.
 *
 * Lists are composed from fragments of ours; whatever a caller brings (field paths, values,
 * cursors) is bound as a parameter and never becomes SQL text.
 *
 * Errors     composer_error(): STORE_E_BAD_FILTER or 0; the first one sticks.
 */
#define SQL_MAX 8192
#define PATH_MAX_BYTES 160

struct cursor {                 /* where the page before ended */
    struct value key;
    struct ulid id;
};

struct composer {
    const struct dialect *dialect;
    char sql_text[SQL_MAX];
    struct buf sql;
    struct value values[DB_VALUES_MAX];
    size_t value_count;
    char paths[STORE_FILTERS_MAX + 2][PATH_MAX_BYTES];
    size_t path_count;
    char prefixes[STORE_FILTERS_MAX + 1][2 * STORE_NAME_MAX + 8];
    size_t prefix_count;
    struct cursor cursor;       /* values point into it */
    int condition;              /* STORE_E_…, sticks */
};

void composer_init(struct composer *c, const struct dialect *dialect);
int composer_error(const struct composer *c);
static inline const char *sort_of(const struct store_query *q)
{
    return q->sort ? q->sort : "id";
}
static inline bool is_by_id(const struct store_query *q)
{
    return strcmp(sort_of(q), "id") == 0;
}
/* SELECT columns, then the sort key; FROM … WHERE …; what is behind `cursor`; ORDER BY … LIMIT. */
void compose_columns(struct composer *c, const struct store_query *q);
void compose_where(struct composer *c, const struct store_query *q);
void compose_after(struct composer *c, const struct store_query *q);
void compose_order(struct composer *c, const struct store_query *q);
void compose_count(struct composer *c, const struct store_query *q);
void compose_facet(struct composer *c, const struct store_query *q, const char *field, size_t limit);
