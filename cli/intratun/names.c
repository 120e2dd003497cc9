#include "cli/intratun/intratun.h"
#include "lib/base/map.h"
#include <stdio.h>

struct entry {
    struct map_node by_key, by_name;
    char *key;
    size_t row;
    char name[INTRATUN_NAME_MAX + 1];
};

struct intratun_names {
    struct map keys, names;
};

int intratun_names_new(struct intratun_names **ret_names)
{
    struct intratun_names *n = calloc(1, sizeof(*n));

    if (!n)
        return -ENOMEM;
    map_init(&n->keys, 2 * INTRATUN_ROWS_MAX);
    map_init(&n->names, 2 * INTRATUN_ROWS_MAX);
    *ret_names = n;
    return 0;
}

static void entry_free(struct entry *e)
{
    free(e->key);
    free(e);
}
DEFINE_FREEP(entry, entry_free)

void intratun_names_free(struct intratun_names *n)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;

    if (!n)
        return;
    while ((node = map_next(&n->keys, &cursor))) {
        struct entry *e = container_of(node, struct entry, by_key);

        map_remove(&n->keys, node);
        entry_free(e);
    }
    map_deinit(&n->keys);
    map_deinit(&n->names);
    free(n);
}

/* Letters become small, everything else that is no digit a single dash. */
static size_t clean(struct span wish, char dst[INTRATUN_NAME_MAX + 1])
{
    size_t n = 0;

    for (size_t i = 0; i < wish.n && n < INTRATUN_NAME_MAX; i++) {
        char c = wish.p[i] >= 'A' && wish.p[i] <= 'Z' ? (char)(wish.p[i] - 'A' + 'a') : wish.p[i];
        bool is_word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');

        if (is_word)
            dst[n++] = c;
        else if (n && dst[n - 1] != '-')
            dst[n++] = '-';
    }
    while (n && dst[n - 1] == '-')
        n--;
    dst[n] = 0;
    return n;
}

static bool is_taken(const struct intratun_names *n, const char *name)
{
    return map_find(&n->names, span_str(name)) != NULL;
}

static bool make_unique(const struct intratun_names *n, struct span wish, char dst[INTRATUN_NAME_MAX + 1])
{
    char plain[INTRATUN_NAME_MAX + 1];

    if (!clean(wish, plain))
        snprintf(plain, sizeof(plain), "unnamed");
    snprintf(dst, INTRATUN_NAME_MAX + 1, "%s", plain);
    for (unsigned i = 2; is_taken(n, dst) && i < 10000; i++)
        snprintf(dst, INTRATUN_NAME_MAX + 1, "%.56s-%u", plain, i);
    return !is_taken(n, dst);
}

int intratun_names_add(struct intratun_names *n, struct span key, struct span wish, size_t row,
                       const char **ret_name)
{
    AUTO(entry_freep) struct entry *e = calloc(1, sizeof(*e));
    struct entry *kept;
    int r;

    if (!e || !(e->key = span_dup(key)))
        return -ENOMEM;
    e->row = row;
    if (!make_unique(n, wish, e->name))
        return -ENOSPC;
    r = map_insert(&n->keys, &e->by_key, span_of(e->key, key.n));
    if (r)
        return r;
    r = map_insert(&n->names, &e->by_name, span_str(e->name));
    if (r) {
        map_remove(&n->keys, &e->by_key);
        return r;
    }
    kept = TAKE(e);
    *ret_name = kept->name;
    return 0;
}

bool intratun_names_find(const struct intratun_names *n, struct span key, struct intratun_named *ret)
{
    struct map_node *node = map_find(&n->keys, key);
    const struct entry *e = node ? container_of(node, struct entry, by_key) : NULL;

    if (e)
        *ret = (struct intratun_named){ e->name, e->row };
    return e;
}
