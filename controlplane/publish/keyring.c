#include "controlplane/publish/keyring_internal.h"
#include "lib/base/encode.h"
#include "lib/crypto/random.h"
#include "lib/state/document.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DAY_S 86400
#define BACKDATE_S 7200                 /* clocks differ, and are set back by an hour */
#define ROOT_DAYS 3650
#define ISSUING_DAYS 1825
#define KEYSET_MAX 8192
#define EPOCH_META "keys.epoch"         /* that the set was signed in */
#define FIRST_EPOCH 1

static const struct {
    int days;
} leaf_lives[CERT_KIND_COUNT] = {
    [CERT_AGENT] = { KEYRING_AGENT_DAYS },
    [CERT_RELAY] = { KEYRING_RELAY_DAYS },
    [CERT_CONTROL] = { KEYRING_CONTROL_DAYS },
    [CERT_USER] = { 1 },
};

void keyring_free(struct keyring *k)
{
    for (int i = 0; i < CERT_KIND_COUNT; i++)
        if (k->issuing[i])
            ca_free(k->issuing[i]);
    if (k->root)
        ca_free(k->root);
    if (k->audit)
        key_free(k->audit);
    for (size_t i = 0; i < KEYRING_GENERATIONS; i++)
        generation_deinit(&k->generations[i]);
    buf_deinit(&k->root_pem);
    secret_wipe(k, sizeof(*k));
    free(k);
}

const char *keyring_cluster(const struct keyring *k)
{
    return k->cluster;
}

const char *keyring_pin(const struct keyring *k)
{
    return k->pin;
}

struct span keyring_root_pem(const struct keyring *k)
{
    return buf_span(&k->root_pem);
}

const struct key *keyring_audit_key(const struct keyring *k)
{
    return k->audit;
}

/* ---- kept keys ---- */

struct kept {                           /* one active key as the store has it */
    bool is_found;
    struct buf public_part, sealed;
};

struct context {
    struct store_tx *tx;
    const struct kek *kek;
    struct keyring *keys;
    int64_t now_s;
};

static void kept_deinit(struct kept *kept)
{
    buf_deinit(&kept->public_part);
    buf_deinit(&kept->sealed);
}

static int take_active(void *ctx, const struct store_key *key)
{
    struct kept *kept = ctx;

    if (strcmp(key->status, "active") != 0)
        return 0;
    buf_clear(&kept->public_part);
    buf_clear(&kept->sealed);
    buf_put_span(&kept->public_part, key->public_part);
    buf_put_span(&kept->sealed, key->sealed);
    kept->is_found = true;
    return buf_error(&kept->public_part) ? buf_error(&kept->public_part) : buf_error(&kept->sealed);
}

static int kept_read(struct context *c, const char *purpose, struct kept *ret_kept)
{
    buf_init_heap(&ret_kept->public_part, CERT_PEM_MAX);
    buf_init_heap(&ret_kept->sealed, 8192);
    return store_keys(c->tx, purpose, take_active, ret_kept);
}

int keyring_keep(const struct keyring *keys, struct store_tx *tx, const char *purpose, int64_t number,
                 const char *status, struct span public_part, struct span secret)
{
    AUTO(buf_deinit) struct buf sealed;
    struct store_key row = { .purpose = purpose, .number = number, .status = status, .public_part = public_part,
                             .created_ms = (int64_t)store_now_ms(store_of(tx)) };
    int r;

    buf_init_heap(&sealed, 8192);
    r = seal(&keys->kek, span_str(purpose), secret, &sealed);
    if (r)
        return r;
    row.sealed = buf_span(&sealed);
    return store_key_put(tx, &row);
}

static int keep(struct context *c, const char *purpose, struct span public_part, struct span secret)
{
    return keyring_keep(c->keys, c->tx, purpose, 1, "active", public_part, secret);
}

static int open_kept(struct context *c, const char *purpose, const struct kept *kept,
                     struct buf *ret_secret)
{
    return unseal(c->kek, span_str(purpose), buf_span(&kept->sealed), ret_secret);
}

/* ---- CAs ---- */

static int keep_ca(struct context *c, const char *purpose, const struct ca *ca)
{
    AUTO(secret_buf_deinit) struct buf secret;
    AUTO(buf_deinit) struct buf chain;
    int r;

    buf_init_heap(&secret, KEY_PEM_MAX);
    buf_init_heap(&chain, CERT_PEM_MAX);
    r = key_private_pem(ca_key(ca), &secret);
    if (!r)
        r = chain_pem(ca_chain(ca), &chain);
    return r ? r : keep(c, purpose, buf_span(&chain), buf_span(&secret));
}

static int open_ca(struct context *c, const char *purpose, const struct kept *kept, struct ca **ret_ca)
{
    AUTO(secret_buf_deinit) struct buf secret;
    AUTO(key_freep) struct key *key = NULL;
    AUTO(chain_freep) struct chain *chain = NULL;
    int r;

    buf_init_heap(&secret, KEY_PEM_MAX);
    r = open_kept(c, purpose, kept, &secret);
    if (!r)
        r = key_parse_private_pem(buf_span(&secret), &key);
    if (!r)
        r = chain_parse_pem(buf_span(&kept->public_part), &chain);
    return r ? r : ca_load(key, chain, ret_ca);
}

/* `kind` CERT_KIND_COUNT: the root. */
static int make_ca(struct context *c, enum cert_kind kind, struct ca **ret_ca)
{
    int64_t from = c->now_s - BACKDATE_S;

    if (kind == CERT_KIND_COUNT)
        return ca_new_root(c->keys->cluster, from, c->now_s + (int64_t)ROOT_DAYS * DAY_S, ret_ca);
    return ca_new_issuing(c->keys->root, kind, from, c->now_s + (int64_t)ISSUING_DAYS * DAY_S, ret_ca);
}

static int load_ca(struct context *c, enum cert_kind kind, struct ca **ret_ca)
{
    AUTO(kept_deinit) struct kept kept = { .is_found = false };
    char purpose[32];
    int r;

    snprintf(purpose, sizeof(purpose), "ca/%s", kind == CERT_KIND_COUNT ? "root" : cert_kind_name(kind));
    r = kept_read(c, purpose, &kept);
    if (r)
        return r;
    if (kept.is_found)
        return open_ca(c, purpose, &kept, ret_ca);
    r = make_ca(c, kind, ret_ca);
    return r ? r : keep_ca(c, purpose, *ret_ca);
}

static int load_cas(struct context *c)
{
    int r;

    r = load_ca(c, CERT_KIND_COUNT, &c->keys->root);
    for (int i = 0; !r && i < CERT_KIND_COUNT; i++)
        r = load_ca(c, (enum cert_kind)i, &c->keys->issuing[i]);
    if (!r)
        r = chain_root_pin(ca_chain(c->keys->root), c->keys->pin);
    return r ? r : chain_root_pem(ca_chain(c->keys->root), &c->keys->root_pem);
}

/* ---- the state keys, their set, the credential keys ---- */

static int make_signing_key(const struct keyring *keys, struct store_tx *tx, const char *purpose, int64_t number,
                            const char *status)
{
    AUTO(secret_buf_deinit) struct buf secret;
    AUTO(buf_deinit) struct buf public_part;
    AUTO(key_freep) struct key *key = NULL;
    int r;

    buf_init_heap(&secret, KEY_PEM_MAX);
    buf_init_heap(&public_part, KEY_PEM_MAX);
    r = key_generate(&key);
    if (!r)
        r = key_private_pem(key, &secret);
    if (!r)
        r = key_public_pem(key, &public_part);
    return r ? r : keyring_keep(keys, tx, purpose, number, status, buf_span(&public_part), buf_span(&secret));
}

int keyring_make(const struct keyring *keys, struct store_tx *tx, const char *purpose, int64_t number,
                 const char *status)
{
    unsigned char secret[CREDENTIAL_KEY_LEN];
    int r;

    if (strcmp(purpose, "credential") != 0)
        return make_signing_key(keys, tx, purpose, number, status);
    random_bytes(secret, sizeof(secret));
    r = keyring_keep(keys, tx, purpose, number, status, SPAN(""), span_of(secret, sizeof(secret)));
    secret_wipe(secret, sizeof(secret));
    return r;
}

static int count_key(void *ctx, const struct store_key *key)
{
    (void)key;
    ++*(size_t *)ctx;
    return 0;
}

static int make_missing(struct context *c, const char *purpose)
{
    size_t count = 0;
    int r = store_keys(c->tx, purpose, count_key, &count);

    return r || count ? r : keyring_make(c->keys, c->tx, purpose, 1, "active");
}

struct signers {
    struct key *keys[KEYRING_KEYS_MAX];
    size_t count;
};

static void signers_deinit(struct signers *s)
{
    for (size_t i = 0; i < s->count; i++)
        key_free(s->keys[i]);
}

static int take_signer(void *ctx, const struct store_key *row)
{
    struct signers *s = ctx;
    int r;

    if (strcmp(row->status, "retired") == 0)
        return 0;
    if (s->count == KEYRING_KEYS_MAX)
        return -ENOSPC;
    r = key_parse_public_pem(row->public_part, &s->keys[s->count]);
    s->count += !r;
    return r;
}

int keyring_sign_set(const struct keyring *keys, struct store_tx *tx, uint64_t serial)
{
    AUTO(signers_deinit) struct signers signers = { .count = 0 };
    AUTO(buf_deinit) struct buf text;
    int r;

    buf_init_heap(&text, KEYSET_MAX);
    r = store_keys(tx, "state", take_signer, &signers);
    if (!r)
        r = keyset_sign(keys->cluster, serial, signers.keys, signers.count, ca_key(keys->root), &text);
    return r ? r : store_meta_put(tx, "keyset", buf_span(&text));
}

/* Signed once and kept: the same serial number always stands for the same bytes. */
static int make_keyset(struct context *c)
{
    AUTO(buf_deinit) struct buf known;
    int r;

    buf_init_heap(&known, KEYSET_MAX);
    r = store_meta_get(c->tx, "keyset", &known);
    return r == STORE_E_NOT_FOUND ? keyring_sign_set(c->keys, c->tx, 1) : r;
}

static int read_epoch(struct context *c, uint64_t *ret_epoch)
{
    char mem[24];
    struct buf text;
    int r;

    *ret_epoch = 0;
    buf_init_fixed(&text, mem, sizeof(mem));
    r = store_meta_get(c->tx, EPOCH_META, &text);
    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    return span_to_u64(buf_span(&text), INT64_MAX, ret_epoch) ? 0 : -EUCLEAN;
}

/* A restore forgets what was rotated after its backup, and who has a later set takes none that is
 * older: the number rises as the epoch did, by more than there can have been rotations. */
static int follow_epoch(struct context *c)
{
    struct store_position at;
    uint64_t known;
    char mem[24];
    struct buf text;
    int r = read_epoch(c, &known);

    if (!r)
        r = store_position(c->tx, &at);
    if (r || at.epoch == known)
        return r;
    known = known ? known : FIRST_EPOCH;
    if (at.epoch > known)
        r = keyring_renumber(c->keys, c->tx, at.epoch - known);
    buf_init_fixed(&text, mem, sizeof(mem));
    buf_put_decimal(&text, (int64_t)at.epoch);
    return r ? r : store_meta_put(c->tx, EPOCH_META, buf_span(&text));
}

static int load_audit_key(struct context *c)
{
    AUTO(kept_deinit) struct kept kept = { .is_found = false };
    AUTO(secret_buf_deinit) struct buf secret;
    int r = make_missing(c, "audit");

    buf_init_heap(&secret, KEY_PEM_MAX);
    if (!r)
        r = kept_read(c, "audit", &kept);
    if (!r)
        r = open_kept(c, "audit", &kept, &secret);
    return r ? r : key_parse_private_pem(buf_span(&secret), &c->keys->audit);
}

static int check_cluster(struct context *c, struct buf *reterr)
{
    AUTO(buf_deinit) struct buf known;
    int r;

    buf_init_heap(&known, 256);
    r = store_meta_get(c->tx, "cluster", &known);
    if (r == STORE_E_NOT_FOUND)
        return store_meta_put(c->tx, "cluster", span_str(c->keys->cluster));
    if (!r && !span_eq(buf_span(&known), span_str(c->keys->cluster))) {
        buf_printf(reterr, "the database belongs to cluster %s, not %s: change the option cluster",
                   buf_text(&known), c->keys->cluster);
        return -EINVAL;
    }
    return r;
}

static int load_all(struct context *c, struct buf *reterr)
{
    int r;

    r = check_cluster(c, reterr);
    if (!r)
        r = load_cas(c);
    if (!r)
        r = make_missing(c, "state");
    if (!r)
        r = load_audit_key(c);
    if (!r)
        r = make_keyset(c);
    if (!r)
        r = follow_epoch(c);
    if (!r)
        r = make_missing(c, "credential");
    return r ? r : generation_load(c->keys, c->tx);
}

int keyring_load(struct store *store, const char *cluster, const struct kek *kek,
                 struct keyring **ret_keys, struct buf *reterr)
{
    AUTO(keyring_freep) struct keyring *keys = calloc(1, sizeof(*keys));
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    struct context c = { .kek = kek, .keys = keys, .now_s = (int64_t)(store_now_ms(store) / 1000) };
    int r;

    if (!keys)
        return -ENOMEM;
    keys->kek = *kek;
    buf_init_heap(&keys->root_pem, CERT_PEM_MAX);
    snprintf(keys->cluster, sizeof(keys->cluster), "%s", cluster);
    r = store_begin(store, STORE_WRITE, &tx);
    c.tx = tx;
    if (!r)
        r = load_all(&c, reterr);
    if (!r)
        r = store_commit(&tx, NULL);
    if (r) {
        if (!reterr->len)
            buf_printf(reterr, "the keys cannot be opened: %s",
                       r == -EBADMSG ? "they are sealed under another key file" :
                       strerrordesc_np(r < 0 ? -r : EBUSY));
        return r > 0 ? -EBUSY : r;
    }
    *ret_keys = TAKE(keys);
    return 0;
}

/* ---- issuing ---- */

static int describe(const struct chain *chain, struct issued_leaf *ret_issued)
{
    AUTO(key_freep) struct key *key = NULL;
    AUTO(buf_deinit) struct buf pem;
    struct identity id;
    int r;

    buf_init_heap(&pem, CERT_PEM_MAX);
    r = chain_pem(chain, &pem);
    if (!r && !span_copy(buf_span(&pem), ret_issued->pem, sizeof(ret_issued->pem)))
        r = -ENOBUFS;
    if (!r)
        r = chain_identity(chain, &id);
    if (!r)
        r = chain_public_key(chain, 0, &key);
    if (!r)
        r = key_fingerprint(key, ret_issued->row.key_hash);
    if (r)
        return r;
    ret_issued->row.subject = id.id;
    ret_issued->row.generation = id.generation;
    ret_issued->row.not_after_ms = id.not_after_s * 1000;
    snprintf(ret_issued->row.kind, sizeof(ret_issued->row.kind), "%s", cert_kind_name(id.kind));
    snprintf(ret_issued->row.fingerprint, sizeof(ret_issued->row.fingerprint), "%s", id.fingerprint);
    return 0;
}

/* Backdating is for clocks that differ; of a short life it takes no more than a tenth, or
 * the first third would be over when it begins. */
int keyring_issue(const struct keyring *keys, const struct leaf_wish *wish, struct span csr_der,
                  int64_t now_s, struct issued_leaf *ret_issued)
{
    AUTO(chain_freep) struct chain *chain = NULL;
    int64_t life_s = wish->life_s ? wish->life_s : (int64_t)leaf_lives[wish->kind].days * DAY_S;
    struct ca_leaf leaf = { .kind = wish->kind, .id = wish->id, .generation = wish->generation,
                            .not_before_s = now_s - (life_s / 10 < BACKDATE_S ? life_s / 10 : BACKDATE_S),
                            .not_after_s = now_s + life_s };
    int r;

    r = ca_issue(keys->issuing[wish->kind], csr_der, &leaf, &chain);
    if (r)
        return r;
    ret_issued->row.issued_ms = now_s * 1000;
    return describe(chain, ret_issued);
}

struct hosts {                          /* alternative names of the listeners' certificate */
    const char *names[CA_ALT_NAMES_MAX / 2];
    struct addr addrs[CA_ALT_NAMES_MAX / 2];
    char text[CA_ALT_NAMES_MAX / 2][254];
    size_t name_count, addr_count;
};

static void hosts_add(struct hosts *h, struct span host)
{
    struct addr a;

    if (addr_parse(host, &a)) {
        if (h->addr_count < ARRAY_LEN(h->addrs))
            h->addrs[h->addr_count++] = a;
        return;
    }
    if (h->name_count == ARRAY_LEN(h->names) || !host_canonical(host, h->text[h->name_count]))
        return;
    h->names[h->name_count] = h->text[h->name_count];
    h->name_count++;
}

static void hosts_fill(struct hosts *h, struct span hosts)
{
    struct span host;

    hosts_add(h, SPAN("localhost"));
    hosts_add(h, SPAN("127.0.0.1"));
    hosts_add(h, SPAN("::1"));
    while (span_cut(&hosts, '\n', &host))
        if (host.n)
            hosts_add(h, host);
}

int keyring_issue_own(const struct keyring *keys, const struct ulid *id, struct span host_list,
                      int64_t now_s, struct buf *ret_chain_pem, struct buf *ret_key_pem)
{
    AUTO(key_freep) struct key *key = NULL;
    AUTO(chain_freep) struct chain *chain = NULL;
    struct hosts hosts = { .name_count = 0 };
    struct ca_leaf leaf = { .kind = CERT_CONTROL, .id = *id, .generation = 1,
                            .not_before_s = now_s - BACKDATE_S,
                            .not_after_s = now_s + (int64_t)KEYRING_CONTROL_DAYS * DAY_S };
    int r;

    hosts_fill(&hosts, host_list);
    leaf.dns_names = hosts.names;
    leaf.dns_count = hosts.name_count;
    leaf.addrs = hosts.addrs;
    leaf.addr_count = hosts.addr_count;
    r = key_generate(&key);
    if (!r)
        r = ca_issue_for_key(keys->issuing[CERT_CONTROL], key, &leaf, &chain);
    if (!r)
        r = chain_pem(chain, ret_chain_pem);
    return r ? r : key_private_pem(key, ret_key_pem);
}
