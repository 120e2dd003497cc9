#include "lib/crypto/ca.h"
#include "lib/check/check.h"
#include "lib/crypto/file.h"
#include "lib/crypto/random.h"
#include <openssl/ssl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>

#define NOW ((int64_t)1800000000)
#define DAY ((int64_t)86400)

struct cluster {
    struct ca *root, *issuing[CERT_KIND_COUNT];
    struct trust trust;
};

static struct cluster ours, foreign, twin;      /* twin: same name, other root */
static struct key *holder;
static struct ulid holder_id;

static void cluster_init(struct cluster *c, const char *name)
{
    assert_int_equal(ca_new_root(name, NOW - DAY, NOW + 3650 * DAY, &c->root), 0);
    for (enum cert_kind k = 0; k < CERT_KIND_COUNT; k++)
        assert_int_equal(ca_new_issuing(c->root, k, NOW - DAY, NOW + 3650 * DAY, &c->issuing[k]), 0);
    snprintf(c->trust.cluster, sizeof(c->trust.cluster), "%s", name);
    assert_int_equal(chain_root_pin(ca_chain(c->root), c->trust.pin), 0);
}

static void cluster_deinit(struct cluster *c)
{
    for (enum cert_kind k = 0; k < CERT_KIND_COUNT; k++)
        ca_free(c->issuing[k]);
    ca_free(c->root);
}

static int set_up(void **state)
{
    (void)state;
    cluster_init(&ours, "adit");
    cluster_init(&foreign, "other");
    cluster_init(&twin, "adit");
    assert_int_equal(key_generate(&holder), 0);
    holder_id = random_ulid((uint64_t)NOW * 1000);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cluster_deinit(&ours);
    cluster_deinit(&foreign);
    cluster_deinit(&twin);
    key_free(holder);
    return 0;
}

static struct chain *issue(const struct cluster *c, enum cert_kind kind, int64_t begin, int64_t end)
{
    static const char *const names[] = { "relay.example", "localhost" };
    const struct addr loopback = addr_v4(127, 0, 0, 1);
    unsigned char mem[CSR_DER_MAX];
    struct ca_leaf leaf = { .kind = kind, .id = holder_id, .generation = 7, .not_before_s = begin,
                            .not_after_s = end, .dns_names = names, .dns_count = 2,
                            .addrs = &loopback, .addr_count = 1 };
    struct chain *chain = NULL;
    struct buf csr;

    buf_init_fixed(&csr, mem, sizeof(mem));
    assert_int_equal(csr_make(holder, &csr), 0);
    assert_int_equal(ca_issue(c->issuing[kind], buf_span(&csr), &leaf, &chain), 0);
    return chain;
}

static void test_verify(void **state)
{
    static const struct {
        const char *it;
        const struct cluster *issuer, *verifier;
        enum cert_kind kind, expected;
        int64_t begin, end;
        enum cert_expiry expiry;
        enum reason want;
    } rows[] = {
        { "takes an agent's", &ours, &ours, CERT_AGENT, CERT_AGENT, -300, DAY, 0, REASON_NONE },
        { "takes a relay's", &ours, &ours, CERT_RELAY, CERT_RELAY, -300, DAY, 0, REASON_NONE },
        { "takes a control plane's", &ours, &ours, CERT_CONTROL, CERT_CONTROL, -300, DAY, 0, REASON_NONE },
        { "takes a user's", &ours, &ours, CERT_USER, CERT_USER, -300, DAY, 0, REASON_NONE },
        { "refuses an agent's as a relay's", &ours, &ours, CERT_AGENT, CERT_RELAY, -300, DAY, 0, REASON_BAD_CERTIFICATE },
        { "refuses a relay's as an agent's", &ours, &ours, CERT_RELAY, CERT_AGENT, -300, DAY, 0, REASON_BAD_CERTIFICATE },
        { "refuses a user's as a control plane's", &ours, &ours, CERT_USER, CERT_CONTROL, -300, DAY, 0, REASON_BAD_CERTIFICATE },
        { "refuses another cluster's", &foreign, &ours, CERT_AGENT, CERT_AGENT, -300, DAY, 0, REASON_BAD_CERTIFICATE },
        { "refuses another root of the same name", &twin, &ours, CERT_AGENT, CERT_AGENT, -300, DAY, 0, REASON_BAD_CERTIFICATE },
        { "takes one ended within the leeway", &ours, &ours, CERT_AGENT, CERT_AGENT, -DAY, -CERT_LEEWAY_S, 0, REASON_NONE },
        { "refuses an expired one", &ours, &ours, CERT_AGENT, CERT_AGENT, -DAY, -CERT_LEEWAY_S - 1, 0, REASON_CERTIFICATE_EXPIRED },
        { "lets an expired one renew", &ours, &ours, CERT_AGENT, CERT_AGENT, -31 * DAY, -29 * DAY, CERT_EXPIRY_MAY_RENEW, REASON_NONE },
        { "ends that after 30 days", &ours, &ours, CERT_AGENT, CERT_AGENT, -40 * DAY, -31 * DAY, CERT_EXPIRY_MAY_RENEW, REASON_CERTIFICATE_EXPIRED },
        { "takes one that begins within the leeway", &ours, &ours, CERT_AGENT, CERT_AGENT, CERT_LEEWAY_S, DAY, 0, REASON_NONE },
        { "sees a clock that differs", &ours, &ours, CERT_AGENT, CERT_AGENT, CERT_LEEWAY_S + 1, DAY, 0, REASON_CLOCK_SKEW },
        { "does not let one from the future renew", &ours, &ours, CERT_AGENT, CERT_AGENT, 3600, DAY, CERT_EXPIRY_MAY_RENEW, REASON_CLOCK_SKEW },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(chain_freep) struct chain *c = issue(rows[i].issuer, rows[i].kind, NOW + rows[i].begin,
                                                  NOW + rows[i].end);
        struct identity id = { 0 };

        check_row(rows[i].it);
        assert_int_equal(chain_verify(c, &rows[i].verifier->trust, rows[i].expected, NOW,
                                      rows[i].expiry, &id), rows[i].want);
        if (rows[i].want != REASON_NONE)
            continue;
        assert_int_equal(id.kind, rows[i].expected);
        assert_string_equal(id.id.text, holder_id.text);
        assert_string_equal(id.cluster, "adit");
        assert_int_equal(id.generation, 7);
        assert_int_equal(id.not_after_s, NOW + rows[i].end);
        assert_int_equal(id.is_expired, rows[i].end < -CERT_LEEWAY_S);
    }
}

static void test_ca_of_other_times(void **state)
{
    AUTO(ca_freep) struct ca *late = NULL;
    AUTO(chain_freep) struct chain *c = NULL;
    struct ca_leaf leaf = { .kind = CERT_AGENT, .id = holder_id, .not_before_s = NOW - DAY,
                            .not_after_s = NOW + DAY };
    struct identity id;

    (void)state;
    check_row("refuses what an expired issuing CA vouches for, also for renewal");
    assert_int_equal(ca_new_issuing(ours.root, CERT_AGENT, NOW - 9 * DAY, NOW + 2 * DAY, &late), 0);
    assert_int_equal(ca_issue_for_key(late, holder, &leaf, &c), 0);
    assert_int_equal(chain_verify(c, &ours.trust, CERT_AGENT, NOW + 3 * DAY, CERT_EXPIRY_MAY_RENEW,
                                  &id), REASON_CERTIFICATE_EXPIRED);
    check_row("refuses to issue a leaf that outlives its CA");
    leaf.not_after_s = NOW + 3 * DAY;
    chain_free(TAKE(c));
    assert_int_equal(ca_issue_for_key(late, holder, &leaf, &c), -EINVAL);
}

/* Certificates put together by whoever holds parts of two clusters. */
static void test_mixed_chains(void **state)
{
    static const struct {
        const char *it;
        const struct cluster *leaf, *issuing, *root;
        enum cert_kind issuing_kind;
    } rows[] = {
        { "refuses a foreign leaf under our CA", &twin, &ours, &ours, CERT_AGENT },
        { "refuses a foreign leaf and CA under our root", &twin, &twin, &ours, CERT_AGENT },
        { "refuses our leaf under another kind's CA", &ours, &ours, &ours, CERT_RELAY },
        { "refuses a foreign root", &ours, &ours, &twin, CERT_AGENT },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(chain_freep) struct chain *leaf = issue(rows[i].leaf, CERT_AGENT, NOW - 300, NOW + DAY);
        AUTO(chain_freep) struct chain *mixed = NULL;
        unsigned char mem[3][4096];
        struct span ders[3];
        struct buf b[3];
        struct identity id;

        check_row(rows[i].it);
        for (size_t j = 0; j < 3; j++)
            buf_init_fixed(&b[j], mem[j], sizeof(mem[j]));
        assert_int_equal(chain_der(leaf, 0, &b[0]), 0);
        assert_int_equal(chain_der(ca_chain(rows[i].issuing->issuing[rows[i].issuing_kind]), 0, &b[1]), 0);
        assert_int_equal(chain_der(ca_chain(rows[i].root->root), 0, &b[2]), 0);
        for (size_t j = 0; j < 3; j++)
            ders[j] = buf_span(&b[j]);
        assert_int_equal(chain_parse_der(ders, 3, &mixed), 0);
        assert_int_equal(chain_verify(mixed, &ours.trust, CERT_AGENT, NOW, 0, &id),
                         REASON_BAD_CERTIFICATE);
        check_row("refuses a chain without root");
        chain_free(TAKE(mixed));
        assert_int_equal(chain_parse_der(ders, 2, &mixed), 0);
        assert_int_equal(chain_verify(mixed, &ours.trust, CERT_AGENT, NOW, 0, &id),
                         REASON_BAD_CERTIFICATE);
    }
}

static void test_flipped_byte(void **state)
{
    AUTO(chain_freep) struct chain *good = issue(&ours, CERT_AGENT, NOW - 300, NOW + DAY);
    unsigned char mem[3][4096];
    struct span ders[3];

    (void)state;
    for (size_t j = 0; j < 3; j++) {
        struct buf b;

        buf_init_fixed(&b, mem[j], sizeof(mem[j]));
        assert_int_equal(chain_der(good, j, &b), 0);
        ders[j] = buf_span(&b);
    }
    check_row("refuses a leaf with any byte flipped");
    for (size_t at = 0; at < ders[0].n; at += 5) {
        AUTO(chain_freep) struct chain *c = NULL;
        struct identity id;

        mem[0][at] ^= 0x04;
        if (chain_parse_der(ders, 3, &c) == 0)
            assert_int_not_equal(chain_verify(c, &ours.trust, CERT_AGENT, NOW, 0, &id), REASON_NONE);
        mem[0][at] ^= 0x04;
    }
}

static void test_pem_and_ca_load(void **state)
{
    AUTO(chain_freep) struct chain *good = issue(&ours, CERT_RELAY, NOW - 300, NOW + DAY);
    AUTO(chain_freep) struct chain *again = NULL;
    AUTO(ca_freep) struct ca *ca = NULL;
    struct identity id;
    struct buf pem;

    (void)state;
    buf_init_heap(&pem, CERT_PEM_MAX);
    check_row("reads back the PEM that it wrote");
    assert_int_equal(chain_pem(good, &pem), 0);
    assert_int_equal(chain_parse_pem(buf_span(&pem), &again), 0);
    assert_int_equal(chain_length(again), 3);
    assert_true(chain_has_key(again, holder));
    assert_int_equal(chain_verify_pin(again, ours.trust.pin, CERT_RELAY, NOW, &id), REASON_NONE);
    check_row("refuses another pin");
    assert_int_equal(chain_verify_pin(again, twin.trust.pin, CERT_RELAY, NOW, &id),
                     REASON_BAD_CERTIFICATE);
    check_row("refuses a cut PEM, and none");
    chain_free(TAKE(again));
    assert_int_equal(chain_parse_pem(span_first(buf_span(&pem), pem.len - 60), &again), -EINVAL);
    assert_int_equal(chain_parse_pem(SPAN("no certificate"), &again), -EINVAL);
    check_row("loads a CA with its own key only");
    assert_int_equal(ca_load(holder, (struct chain *)ca_chain(ours.root), &ca), -EINVAL);
    assert_int_equal(ca_load((struct key *)ca_key(ours.root), (struct chain *)ca_chain(ours.root), &ca), 0);
    buf_deinit(&pem);
}

static void test_issuing_refusals(void **state)
{
    struct ca_leaf leaf = { .kind = CERT_AGENT, .id = holder_id, .not_before_s = NOW,
                            .not_after_s = NOW + DAY };
    static const char *const bad_name[] = { "a b" };
    struct chain *chain = NULL;
    struct ca *ca = NULL;
    unsigned char mem[CSR_DER_MAX];
    struct buf csr;

    (void)state;
    check_row("issues its own kind only");
    assert_int_equal(ca_issue_for_key(ours.issuing[CERT_RELAY], holder, &leaf, &chain), -EINVAL);
    check_row("issues no leaf from the root");
    assert_int_equal(ca_issue_for_key(ours.root, holder, &leaf, &chain), -EINVAL);
    check_row("makes no issuing CA under an issuing CA");
    assert_int_equal(ca_new_issuing(ours.issuing[0], CERT_AGENT, NOW, NOW + 1, &ca), -EINVAL);
    check_row("refuses a malformed cluster");
    assert_int_equal(ca_new_root("Not/This", NOW, NOW + 1, &ca), -EINVAL);
    check_row("refuses times the wrong way round");
    leaf.not_after_s = NOW - 1;
    assert_int_equal(ca_issue_for_key(ours.issuing[CERT_AGENT], holder, &leaf, &chain), -EINVAL);
    check_row("refuses a malformed DNS name");
    leaf.not_after_s = NOW + DAY;
    leaf.dns_names = bad_name;
    leaf.dns_count = 1;
    assert_int_equal(ca_issue_for_key(ours.issuing[CERT_AGENT], holder, &leaf, &chain), -EINVAL);
    check_row("refuses a request with any byte flipped");
    buf_init_fixed(&csr, mem, sizeof(mem));
    assert_int_equal(csr_make(holder, &csr), 0);
    assert_int_equal(csr_check(buf_span(&csr), NULL), 0);
    for (size_t at = 0; at < csr.len; at++) {
        mem[at] ^= 0x10;
        assert_int_equal(csr_check(buf_span(&csr), NULL), -EINVAL);
        mem[at] ^= 0x10;
    }
    assert_int_equal(csr_check(span_first(buf_span(&csr), csr.len - 1), NULL), -EINVAL);
}

extern char **environ;

static void save_pem(const char *path, const struct chain *c)
{
    struct buf pem;

    buf_init_heap(&pem, CERT_PEM_MAX);
    assert_int_equal(chain_pem(c, &pem), 0);
    assert_int_equal(file_write_atomic(path, buf_span(&pem), 0600), 0);
    buf_deinit(&pem);
}

/* Another implementation of the path rules looks at what was made. */
static void test_openssl_program(void **state)
{
    AUTO(chain_freep) struct chain *c = issue(&ours, CERT_RELAY, NOW - 300, NOW + DAY);
    char root[64], all[64], at[32];
    pid_t pid;
    int status;

    (void)state;
    snprintf(root, sizeof(root), "/tmp/adit-cert-test.%d.root", getpid());
    snprintf(all, sizeof(all), "/tmp/adit-cert-test.%d.all", getpid());
    snprintf(at, sizeof(at), "%lld", (long long)NOW);
    save_pem(root, ca_chain(ours.root));
    save_pem(all, c);
    const char *args[] = { "openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-attime", at,
                     "-verify_hostname", "relay.example", "-CAfile", root, "-untrusted", all, all,
                     NULL };

    check_row("is accepted by openssl verify");
    if (posix_spawnp(&pid, "openssl", NULL, NULL, (char **)args, environ) != 0)
        skip();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    unlink(root);
    unlink(all);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_install(void **state)
{
    AUTO(chain_freep) struct chain *c = issue(&ours, CERT_RELAY, NOW - 300, NOW + DAY);
    AUTO(key_freep) struct key *other = NULL;
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());

    (void)state;
    assert_int_equal(key_generate(&other), 0);
    check_row("refuses a key that is not the leaf's");
    assert_int_equal(chain_install(c, other, ctx), -EINVAL);
    check_row("installs chain and key, twice");
    assert_int_equal(chain_install(c, holder, ctx), 0);
    assert_int_equal(chain_install(c, holder, ctx), 0);
    SSL_CTX_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_ca_of_other_times),
        cmocka_unit_test(test_mixed_chains),
        cmocka_unit_test(test_flipped_byte),
        cmocka_unit_test(test_pem_and_ca_load),
        cmocka_unit_test(test_issuing_refusals),
        cmocka_unit_test(test_openssl_program),
        cmocka_unit_test(test_install),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
