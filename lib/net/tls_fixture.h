#pragma once
#include "lib/check/check.h"
#include "lib/crypto/ca.h"
#include "lib/net/tls.h"
#include <time.h>
/*
 * tls_fixture.h - for tests: a root, and contexts of any kind below it.
 */
struct tls_world {
    struct ca *root;
    struct trust trust;
};

static inline void tls_world_open(struct tls_world *w)
{
    int64_t now_s = time(NULL);

    assert_int_equal(ca_new_root("test", now_s - 300, now_s + 86400, &w->root), 0);
    assert_true(span_copy(SPAN("test"), w->trust.cluster, sizeof(w->trust.cluster)));
    assert_int_equal(chain_root_pin(ca_chain(w->root), w->trust.pin), 0);
}

static inline void tls_world_close(struct tls_world *w)
{
    ca_free(w->root);
}

/* A leaf of `kind`, valid until now + life_s (negative: expired). */
static inline void tls_world_leaf(const struct tls_world *w, enum cert_kind kind, const char *id,
                                  int64_t life_s, struct chain **ret_chain, struct key **ret_key)
{
    int64_t now_s = time(NULL);
    struct ca_leaf leaf = { .kind = kind,
                            .not_before_s = now_s - 200,
                            .not_after_s = now_s + life_s };
    struct ca *issuer;

    assert_true(ulid_parse(span_str(id), &leaf.id));
    assert_int_equal(ca_new_issuing(w->root, kind, now_s - 300, now_s + 86400, &issuer), 0);
    assert_int_equal(key_generate(ret_key), 0);
    assert_int_equal(ca_issue_for_key(issuer, *ret_key, &leaf, ret_chain), 0);
    ca_free(issuer);
}

/* A context that shows a leaf of `own` (CERT_KIND_COUNT: none) and takes `kinds`. */
static inline struct tls_ctx *tls_world_ctx(const struct tls_world *w, bool is_server,
                                            enum cert_kind own, int64_t life_s, unsigned kinds,
                                            enum tls_verify verify)
{
    AUTO(chain_freep) struct chain *chain = NULL;
    AUTO(key_freep) struct key *key = NULL;
    struct tls_config config = {
        .is_server = is_server, .kinds = kinds, .verify = verify, .trust = w->trust
    };
    struct tls_ctx *ctx;

    if (own != CERT_KIND_COUNT) {
        tls_world_leaf(w, own, "01J00000000000000000000000", life_s, &chain, &key);
        config.chain = chain;
        config.key = key;
    }
    assert_int_equal(tls_ctx_new(&config, &ctx), 0);
    return ctx;
}
