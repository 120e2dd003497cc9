#include "controlplane/routes/uses.h"
#include "lib/base/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void uses_init(struct uses *u)
{
    memset(u, 0, sizeof(*u));
    pthread_mutex_init(&u->lock, NULL);
}

void uses_deinit(struct uses *u)
{
    pthread_mutex_destroy(&u->lock);
}

void uses_note(struct uses *u, const struct ulid *token, const struct addr *from)
{
    struct use *row = &u->rows[hash_bytes(ulid_span(token)) % USES_MAX];

    pthread_mutex_lock(&u->lock);
    row->token = *token;
    row->from = *from;
    pthread_mutex_unlock(&u->lock);
}

/* What there is now, and forgets it. */
static size_t take(struct uses *u, struct use *ret_rows)
{
    size_t count = 0;

    pthread_mutex_lock(&u->lock);
    for (size_t i = 0; i < USES_MAX; i++) {
        if (u->rows[i].token.text[0])
            ret_rows[count++] = u->rows[i];
        u->rows[i].token.text[0] = '\0';
    }
    pthread_mutex_unlock(&u->lock);
    return count;
}

/* A token that went meanwhile needs no last use. */
static int keep(struct store_tx *tx, const struct use *use)
{
    char from[ADDR_TEXT_MAX];
    int r = store_secret_put(tx, &use->token, USES_PURPOSE, span_str(addr_format(&use->from, from)), "");

    return r > 0 ? 0 : r;
}

int uses_keep(struct uses *u, struct store *store)
{
    AUTO(freep) struct use *rows = calloc(USES_MAX, sizeof(*rows));
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    size_t count = rows ? take(u, rows) : 0;
    int r;

    if (!count)
        return rows ? 0 : -ENOMEM;
    r = store_begin(store, STORE_WRITE, &tx);
    for (size_t i = 0; !r && i < count; i++)
        r = keep(tx, &rows[i]);
    return r ? r : store_commit(&tx, NULL);
}
