#include "lib/state/document.h"
#include "lib/base/encode.h"
#include "lib/crypto/cert.h"
#include "lib/state/state_internal.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct keyset {
    unsigned refs;
    char cluster[DOCUMENT_CLUSTER_MAX + 1];
    uint64_t serial;
    size_t n;
    struct key *keys[KEYSET_KEYS_MAX];
    char ids[KEYSET_KEYS_MAX][DOCUMENT_KEY_ID_LEN + 1];
};

struct keyset_json {
    int64_t format, serial;
    char cluster[DOCUMENT_CLUSTER_MAX + 1];
    struct json_strs keys;
};

static const struct json_field fields[] = {
    { "format", J_INT, offsetof(struct keyset_json, format), 0, 1, 1, JSON_REQUIRED },
    { "cluster", J_TEXT, offsetof(struct keyset_json, cluster),
      sizeof_field(struct keyset_json, cluster), 1, DOCUMENT_CLUSTER_MAX, JSON_REQUIRED },
    { "serial", J_INT, offsetof(struct keyset_json, serial), 0, 1, INT64_MAX, JSON_REQUIRED },
    { "keys", J_STRS, offsetof(struct keyset_json, keys), 0, 1, KEYSET_KEYS_MAX, JSON_REQUIRED },
};

static void keyset_json_deinit(struct keyset_json *j)
{
    json_free_fields(fields, ARRAY_LEN(fields), j);
}

static void put_public(struct json_writer *w, const struct key *key, int *r)
{
    unsigned char der_mem[KEY_PUBLIC_DER_MAX], text_mem[2 * KEY_PUBLIC_DER_MAX];
    struct buf der, text;

    buf_init_fixed(&der, der_mem, sizeof(der_mem));
    buf_init_fixed(&text, text_mem, sizeof(text_mem));
    if (*r == 0)
        *r = key_public_der(key, &der);
    base64url_encode(buf_span(&der), &text);
    json_put_str(w, NULL, buf_span(&text));
}

int keyset_sign(const char *cluster, uint64_t serial, struct key *const *keys, size_t n,
                const struct key *root, struct buf *out)
{
    unsigned char mem[4096];
    struct json_writer w;
    struct buf bytes;
    int r = 0;

    if (n < 1 || n > KEYSET_KEYS_MAX || serial < 1 || serial > INT64_MAX)
        return -EINVAL;
    buf_init_fixed(&bytes, mem, sizeof(mem));
    json_begin(&w, &bytes);
    json_open_object(&w, NULL);
    json_put_int(&w, "format", 1);
    json_put_text(&w, "cluster", cluster);
    json_put_int(&w, "serial", (int64_t)serial);
    json_open_array(&w, "keys");
    for (size_t i = 0; i < n; i++)
        put_public(&w, keys[i], &r);
    json_close_array(&w);
    json_close_object(&w);
    buf_put_str(&bytes, "\n");
    if (r == 0)
        r = buf_error(&bytes);
    return r ? r : document_sign(DOCUMENT_KEYSET, cluster, serial, root, buf_span(&bytes), out);
}

static int add_key(struct keyset *k, const char *text, struct state_error *reterr)
{
    unsigned char mem[KEY_PUBLIC_DER_MAX];
    char hex[SHA256_HEX];
    struct buf der;
    int r = -EINVAL;

    buf_init_fixed(&der, mem, sizeof(mem));
    if (base64url_decode(span_str(text), &der) && buf_error(&der) == 0)
        r = key_parse_public_der(buf_span(&der), &k->keys[k->n]);
    if (r == -EINVAL)
        return state_reject(reterr, "keyset, field keys/%zu: not a P-256 public key", k->n);
    if (r)
        return r;
    k->n++;
    r = key_fingerprint(k->keys[k->n - 1], hex);
    if (r)
        return r;
    memcpy(k->ids[k->n - 1], hex, DOCUMENT_KEY_ID_LEN);
    return 0;
}

static int keyset_decode(const struct document *d, struct keyset **ret_keys,
                         struct state_error *reterr)
{
    AUTO(keyset_json_deinit) struct keyset_json j = { 0 };
    AUTO(keyset_unrefp) struct keyset *k = calloc(1, sizeof(*k));
    struct json_error e;
    int r;

    if (!k)
        return -ENOMEM;
    k->refs = 1;
    r = json_decode_text(d->bytes, fields, ARRAY_LEN(fields), 0, &j, &e);
    if (r)
        return state_reject_json(reterr, "keyset", r, &e);
    if (strcmp(j.cluster, d->cluster) != 0 || (uint64_t)j.serial != d->epoch)
        return state_reject(reterr, "keyset: cluster or serial differ from the first line");
    memcpy(k->cluster, j.cluster, sizeof(k->cluster));
    k->serial = d->epoch;
    for (size_t i = 0; i < j.keys.count; i++) {
        r = add_key(k, j.keys.items[i], reterr);
        if (r)
            return r;
    }
    *ret_keys = TAKE(k);
    return 0;
}

int keyset_open(struct span text, const char *cluster, const struct key *root,
                struct keyset **ret_keys, struct state_error *reterr)
{
    struct document d;
    int r = document_cut(&text, &d, reterr);

    if (r == DOCUMENT_E_END || (r == 0 && text.n > 0))
        return state_reject(reterr, "keyset: not exactly one document");
    if (r)
        return r;
    r = document_verify_with_key(&d, DOCUMENT_KEYSET, cluster, root, reterr);
    return r ? r : keyset_decode(&d, ret_keys, reterr);
}

int keyset_open_pinned(struct span text, const char *cluster, struct span chain_pem,
                       const char *pin, struct keyset **ret_keys, struct state_error *reterr)
{
    AUTO(chain_freep) struct chain *chain = NULL;
    AUTO(key_freep) struct key *root = NULL;
    char shown[SHA256_HEX];
    int r = chain_parse_pem(chain_pem, &chain);

    if (r == 0)
        r = chain_root_pin(chain, shown);
    if (r == 0 && strcmp(shown, pin) != 0)
        return state_reject(reterr, "keyset: the root certificate is not the pinned one");
    if (r == 0)
        r = chain_public_key(chain, chain_length(chain) - 1, &root);
    if (r == -EINVAL)
        return state_reject(reterr, "keyset: the root certificate is malformed");
    return r ? r : keyset_open(text, cluster, root, ret_keys, reterr);
}

struct keyset *keyset_ref(struct keyset *k)
{
    __atomic_add_fetch(&k->refs, 1, __ATOMIC_RELAXED);
    return k;
}

void keyset_unref(struct keyset *k)
{
    if (!k || __atomic_sub_fetch(&k->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < k->n; i++)
        key_free(k->keys[i]);
    free(k);
}

const char *keyset_cluster(const struct keyset *k)
{
    return k->cluster;
}

uint64_t keyset_serial(const struct keyset *k)
{
    return k->serial;
}

int document_verify(const struct document *d, enum document_kind expected,
                    const struct keyset *keys, struct state_error *reterr)
{
    for (size_t i = 0; i < keys->n; i++) {
        if (strcmp(keys->ids[i], d->key_id) == 0)
            return document_verify_with_key(d, expected, keys->cluster, keys->keys[i], reterr);
    }
    return state_reject(reterr, "%s: signed with key %s, which is not in key set %" PRIu64,
                        document_kind_name(d->kind), d->key_id, keys->serial);
}
