#include "controlplane/publish/keyring_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define KEYSET_MAX 8192

const struct generation *generation_of(const struct keyring *keys)
{
    return &keys->generations[atomic_load_explicit(&keys->current, memory_order_acquire)];
}

void generation_deinit(struct generation *g)
{
    for (size_t i = 0; i < g->state_count; i++)
        key_free(g->states[i].key);
    buf_deinit(&g->keyset);
    secret_wipe(g, sizeof(*g));
}

void secret_buf_deinit(struct buf *b)
{
    if (b->data)
        secret_wipe(b->data, b->room);
    buf_deinit(b);
}

struct reading {
    const struct keyring *keys;
    struct generation *g;
};

static int open_secret(const struct reading *r, const struct store_key *row, struct buf *ret_secret)
{
    buf_init_heap(ret_secret, KEY_PEM_MAX);
    return unseal(&r->keys->kek, span_str(row->purpose), row->sealed, ret_secret);
}

static bool counts(const struct store_key *row)
{
    return strcmp(row->status, "retired") != 0;
}

static int take_state(void *ctx, const struct store_key *row)
{
    struct reading *r = ctx;
    AUTO(secret_buf_deinit) struct buf secret = { 0 };
    struct state_key *to = &r->g->states[r->g->state_count];
    char hex[65];
    int rc;

    if (!counts(row))
        return 0;
    if (r->g->state_count == KEYRING_KEYS_MAX)
        return -ENOSPC;
    rc = open_secret(r, row, &secret);
    if (!rc)
        rc = key_parse_private_pem(buf_span(&secret), &to->key);
    if (rc)
        return rc;
    r->g->state_count++;
    to->number = row->number;
    to->is_active = strcmp(row->status, "active") == 0;
    rc = key_fingerprint(to->key, hex);
    snprintf(to->id, sizeof(to->id), "%.*s", DOCUMENT_KEY_ID_LEN, hex);
    return rc;
}

static int take_credential(void *ctx, const struct store_key *row)
{
    struct reading *r = ctx;
    AUTO(secret_buf_deinit) struct buf secret = { 0 };
    bool is_active = strcmp(row->status, "active") == 0;
    struct keyring_credential *rows = r->g->credentials;
    size_t at = is_active ? 0 : r->g->credential_count;
    int rc;

    if (!counts(row))
        return 0;
    if (r->g->credential_count == KEYRING_KEYS_MAX)
        return -ENOSPC;
    rc = open_secret(r, row, &secret);
    if (!rc && secret.len != CREDENTIAL_KEY_LEN)
        rc = -EBADMSG;
    if (rc)
        return rc;
    if (is_active)
        memmove(&rows[1], &rows[0], r->g->credential_count * sizeof(rows[0]));
    rows[at].number = row->number;
    memcpy(rows[at].key, secret.data, CREDENTIAL_KEY_LEN);
    r->g->credential_count++;
    return 0;
}

static int read_serial(struct store_tx *tx, char *dst, size_t size)
{
    struct buf text;
    int r;

    buf_init_fixed(&text, dst, size - 1);
    r = store_meta_get(tx, KEYRING_SERIAL_META, &text);
    if (r == STORE_E_NOT_FOUND)
        buf_put_str(&text, "1");
    else if (r)
        return r;
    dst[text.len] = '\0';
    return buf_error(&text);
}

static int read_all(struct keyring *keys, struct store_tx *tx, struct generation *g)
{
    struct reading reading = { keys, g };
    int r;

    buf_init_heap(&g->keyset, KEYSET_MAX);
    r = read_serial(tx, g->serial, sizeof(g->serial));
    if (!r)
        r = store_meta_get(tx, "keyset", &g->keyset);
    if (!r)
        r = store_keys(tx, "state", take_state, &reading);
    if (!r)
        r = store_keys(tx, "credential", take_credential, &reading);
    return r ? r : g->state_count && g->credential_count ? 0 : -EBADMSG;
}

int generation_load(struct keyring *keys, struct store_tx *tx)
{
    unsigned next = (atomic_load(&keys->current) + 1) % KEYRING_GENERATIONS;
    struct generation *g = &keys->generations[next];
    int r;

    generation_deinit(g);
    r = read_all(keys, tx, g);
    if (r)
        return r;
    atomic_store_explicit(&keys->current, next, memory_order_release);
    return 0;
}

/* ---- what others see ---- */
struct span keyring_keyset(const struct keyring *k)
{
    return buf_span(&generation_of(k)->keyset);
}

static const struct state_key *active_of(const struct generation *g)
{
    for (size_t i = 0; i < g->state_count; i++) {
        if (g->states[i].is_active)
            return &g->states[i];
    }
    return &g->states[0];
}

const struct key *keyring_state_key(const struct keyring *k)
{
    return active_of(generation_of(k))->key;
}

const char *keyring_state_id(const struct keyring *k)
{
    return active_of(generation_of(k))->id;
}

bool keyring_knows(const struct keyring *k, const char *key_id)
{
    const struct generation *g = generation_of(k);

    for (size_t i = 0; i < g->state_count; i++) {
        if (strcmp(g->states[i].id, key_id) == 0)
            return true;
    }
    return false;
}

const char *keyring_serial(const struct keyring *k)
{
    return generation_of(k)->serial;
}

const struct keyring_credential *keyring_credentials(const struct keyring *k, size_t *ret_count)
{
    const struct generation *g = generation_of(k);

    *ret_count = g->credential_count;
    return g->credentials;
}

struct hashing {
    const struct keyring *keys;
    unsigned char *key;
    bool is_found;
};

static int take_hashing(void *ctx, const struct store_key *row)
{
    struct hashing *h = ctx;
    const struct reading reading = { h->keys, NULL };
    AUTO(secret_buf_deinit) struct buf secret = { 0 };
    int r;

    if (strcmp(row->status, "active") != 0)
        return 0;
    r = open_secret(&reading, row, &secret);
    if (r || secret.len != CREDENTIAL_KEY_LEN)
        return r ? r : -EBADMSG;
    memcpy(h->key, secret.data, CREDENTIAL_KEY_LEN);
    h->is_found = true;
    return 0;
}

int keyring_hashing_key(const struct keyring *keys, struct store_tx *tx, unsigned char ret_key[CREDENTIAL_KEY_LEN])
{
    struct hashing h = { keys, ret_key, false };
    int r = store_keys(tx, "credential", take_hashing, &h);

    return r ? r : h.is_found ? 0 : -EBADMSG;
}
