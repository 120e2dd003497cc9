#pragma once
#include "lib/check/check.h"
#include "lib/crypto/ca.h"
#include "lib/crypto/file.h"
#include "lib/member/member.h"
#include <ftw.h>
#include <stdio.h>
#include <time.h>
/*
 * member_fixture.h - for tests: a cluster's certificate authorities, and members of it in
 * temporary directories.
 */
#define REALM_ID "01J00000000000000000000000"

struct realm {
    struct ca *root;
    char dir[64];               /* a fresh one, removed by realm_close() */
};

static inline void realm_open(struct realm *r, const char *cluster)
{
    int64_t now_s = time(NULL);

    assert_int_equal(ca_new_root(cluster, now_s - 300, now_s + 86400, &r->root), 0);
    snprintf(r->dir, sizeof(r->dir), "/tmp/adit-member-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
}

static inline int realm_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline void realm_close(struct realm *r)
{
    ca_free(r->root);
    assert_int_equal(nftw(r->dir, realm_remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static inline struct join_token realm_token(const struct realm *r, enum cert_kind kind)
{
    struct join_token t = { .kind = kind, .addr_count = 2 };

    assert_true(ulid_parse(SPAN(REALM_ID), &t.id));
    snprintf(t.cluster, sizeof(t.cluster), "test");
    snprintf(t.addrs[0], sizeof(t.addrs[0]), "relay.test:7443");
    snprintf(t.addrs[1], sizeof(t.addrs[1]), "wss://10.0.0.1:443/tunnel");
    assert_int_equal(chain_root_pin(ca_chain(r->root), t.pin), 0);
    return t;
}

/* A leaf of the kind for the key, as PEM with its chain. */
static inline void realm_issue(const struct realm *r, enum cert_kind kind, const char *id, uint32_t generation,
                               const struct key *key, int64_t life_s, struct buf *pem)
{
    int64_t now_s = time(NULL);
    struct ca_leaf leaf = { .kind = kind, .generation = generation, .not_before_s = now_s - 200,
                            .not_after_s = now_s + life_s };
    struct chain *chain;
    struct ca *issuer;

    assert_true(ulid_parse(span_str(id), &leaf.id));
    assert_int_equal(ca_new_issuing(r->root, kind, now_s - 300, now_s + 86400, &issuer), 0);
    assert_int_equal(ca_issue_for_key(issuer, key, &leaf, &chain), 0);
    buf_init_heap(pem, CERT_PEM_MAX);
    assert_int_equal(chain_pem(chain, pem), 0);
    chain_free(chain);
    ca_free(issuer);
}

/* A member that has joined, in the realm's directory. */
static inline struct member *realm_member(const struct realm *r, enum cert_kind kind)
{
    struct join_token token = realm_token(r, kind);
    unsigned char memory[512];
    struct member *m;
    struct key *key;
    struct buf pem, err;

    buf_init_fixed(&err, memory, sizeof(memory));
    assert_int_equal(key_generate(&key), 0);
    realm_issue(r, kind, REALM_ID, 1, key, 3600, &pem);
    assert_int_equal(member_open(kind, r->dir, &m, &err), 0);
    assert_int_equal(member_adopt(m, &token, key, buf_span(&pem), time(NULL), &err), 0);
    key_free(key);
    buf_deinit(&pem);
    return m;
}
