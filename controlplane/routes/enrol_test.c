#include "controlplane/routes/enrol.h"
#include "controlplane/routes/change.h"
#include "controlplane/store/store_where_fixture.h"
#include "lib/check/check.h"
#include "lib/crypto/random.h"
#include "lib/state/join.h"

#include <stdio.h>
#include <unistd.h>

#define DAY_MS (86400LL * 1000)

static uint64_t clock_ms;

static uint64_t test_clock(void)
{
    return clock_ms;
}

struct world {
    char dir[64];
    struct kek kek;
    struct store *store;
    struct keyring *keys;
    struct enrol enrol;
    struct join_token token;            /* of the last make_token() */
    unsigned char csr[3][CSR_DER_MAX];  /* of three keys */
    struct buf csrs[3];
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct store_where where;
    struct store_options *options;
    AUTO(buf_deinit) struct buf err;

    buf_init_heap(&err, 1024);
    clock_ms = 1800000000000;
    snprintf(w->dir, sizeof(w->dir), "/tmp/adit-enrol-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    options = store_where(&where, w->dir);
    options->readers = 1;
    options->now_ms = test_clock;
    random_bytes(w->kek.bytes, sizeof(w->kek.bytes));
    assert_int_equal(store_open(options, &w->store, &err), 0);
    assert_int_equal(keyring_load(w->store, "test", &w->kek, &w->keys, &err), 0);
    w->enrol = (struct enrol){ w->store, w->keys, &w->kek };
    for (size_t i = 0; i < ARRAY_LEN(w->csrs); i++) {
        AUTO(key_freep) struct key *key = NULL;

        buf_init_fixed(&w->csrs[i], w->csr[i], CSR_DER_MAX);
        assert_int_equal(key_generate(&key), 0);
        assert_int_equal(csr_make(key, &w->csrs[i]), 0);
    }
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    keyring_free(w->keys);
    store_close(w->store);
    where_remove(w->dir);
    free(w);
    return 0;
}

static struct store_tx *begin(struct world *w, enum store_mode mode)
{
    struct store_tx *tx = NULL;

    assert_int_equal(store_begin(w->store, mode, &tx), 0);
    return tx;
}

static void make_token(struct world *w, const char *doc)
{
    unsigned char mem[256];
    struct buf sealed;
    struct store_tx *tx = begin(w, STORE_WRITE);
    struct change change = { .tx = tx, .event = { .actor_kind = "system", .action = "test" } };

    buf_init_fixed(&sealed, mem, sizeof(mem));
    w->token.id = store_new_id(w->store);
    random_bytes(w->token.secret, sizeof(w->token.secret));
    assert_int_equal(seal(&w->kek, SPAN("join"), span_of(w->token.secret, JOIN_SECRET_LEN), &sealed), 0);
    assert_int_equal(change_insert(&change, &(struct change_object){
        .kind = kind_at(KIND_JOIN_TOKEN), .id = w->token.id, .doc = span_str(doc), .created_by = "",
        .managed_by = "", .secret = { "join", buf_span(&sealed), "" } }), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
}

static enum reason join_as(struct world *w, enum cert_kind kind, size_t csr, const char *name,
                           struct enrolled *ret)
{
    char mac[JOIN_MAC_LEN + 1];
    struct enrol_join ask = { .kind = kind, .token = w->token.id, .csr_der = buf_span(&w->csrs[csr]),
                              .name = span_str(name), .trace_id = "t" };

    join_mac(w->token.secret, &w->token.id, ask.csr_der, mac);
    ask.mac = span_str(mac);
    return enrol_join(&w->enrol, &ask, ret);
}

static enum reason join_agent(struct world *w, size_t csr, struct enrolled *ret)
{
    return join_as(w, CERT_AGENT, csr, "", ret);
}

static enum reason renew(struct world *w, const struct ulid *id, uint32_t generation, size_t csr,
                         struct enrolled *ret)
{
    struct enrol_renew ask = { .id = *id, .generation = generation, .relay = "r", .trace_id = "t",
                               .csr_der = buf_span(&w->csrs[csr]) };

    return enrol_renew(&w->enrol, &ask, ret);
}

static struct identity identity_of(struct world *w, const struct enrolled *e, enum cert_kind kind)
{
    AUTO(chain_freep) struct chain *chain = NULL;
    struct trust trust = { .cluster = "test" };
    struct identity id = { .cluster = "" };

    snprintf(trust.pin, sizeof(trust.pin), "%s", keyring_pin(w->keys));
    assert_int_equal(chain_parse_pem(buf_span(&e->chain_pem), &chain), 0);
    assert_int_equal(chain_verify(chain, &trust, kind, (int64_t)(clock_ms / 1000), CERT_EXPIRY_STRICT, &id),
                     REASON_NONE);
    return id;
}

static uint64_t count(struct world *w, const char *kind)
{
    struct store_query q = { .source = STORE_OBJECTS, .kind = kind, .limit = 1 };
    struct store_tx *tx = begin(w, STORE_READ);
    uint64_t n = 0;

    assert_int_equal(store_count(tx, &q, &n), 0);
    store_rollback(tx);
    return n;
}

static void test_join(void **state)
{
    struct world *w = *state;
    AUTO(enrolled_deinit) struct enrolled first = { .kind = CERT_USER }, again = { .kind = CERT_USER },
                                          other = { .kind = CERT_USER };
    struct identity id;

    make_token(w, "{\"kind\":\"agent\",\"uses\":1,\"agent_name\":\"box\",\"agent_labels\":{\"site\":\"n\"}}");
    assert_int_equal(join_agent(w, 0, &first), REASON_NONE);
    id = identity_of(w, &first, CERT_AGENT);
    assert_string_equal(id.id.text, first.id.text);
    assert_int_equal(id.generation, 1);
    assert_string_equal(first.name, "box");

    /* The answer was lost: the same request gets the very same. */
    assert_int_equal(join_agent(w, 0, &again), REASON_NONE);
    assert_true(span_eq(buf_span(&first.chain_pem), buf_span(&again.chain_pem)));
    assert_int_equal(count(w, "agent"), 1);
    assert_int_equal(join_agent(w, 1, &other), REASON_TOKEN_USED);
    clock_ms += STORE_JOIN_REPEAT_MS + 1;
    buf_deinit(&again.chain_pem);
    assert_int_equal(join_agent(w, 0, &again), REASON_TOKEN_USED);
}

static void test_refusals(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *it, *doc;
        enum cert_kind door;
        int spoil;                      /* 1 the MAC, 2 the id, 3 the CSR under the MAC, 4 the CSR */
        enum reason want;
    } rows[] = {
        { "takes a good one", "{\"kind\":\"agent\",\"uses\":1}", CERT_AGENT, 0, REASON_NONE },
        { "refuses another kind's door", "{\"kind\":\"agent\",\"uses\":1}", CERT_RELAY, 0, REASON_TOKEN_INVALID },
        { "refuses the other way round", "{\"kind\":\"relay\",\"uses\":1}", CERT_AGENT, 0, REASON_TOKEN_INVALID },
        { "refuses after the end", "{\"kind\":\"agent\",\"uses\":1,\"expires_at\":\"2027-01-01T00:00:00Z\"}",
          CERT_AGENT, 0, REASON_TOKEN_INVALID },
        { "takes before the end", "{\"kind\":\"agent\",\"uses\":1,\"expires_at\":\"2037-01-01T00:00:00Z\"}",
          CERT_AGENT, 0, REASON_NONE },
        { "refuses a changed MAC", "{\"kind\":\"agent\",\"uses\":1}", CERT_AGENT, 1, REASON_TOKEN_INVALID },
        { "refuses an unknown token", "{\"kind\":\"agent\",\"uses\":1}", CERT_AGENT, 2, REASON_TOKEN_INVALID },
        { "refuses another's request", "{\"kind\":\"agent\",\"uses\":1}", CERT_AGENT, 3, REASON_TOKEN_INVALID },
        { "refuses a broken request", "{\"kind\":\"agent\",\"uses\":1}", CERT_AGENT, 4, REASON_BAD_REQUEST },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(enrolled_deinit) struct enrolled out = { .kind = CERT_USER };
        char mac[JOIN_MAC_LEN + 1];
        struct enrol_join ask = { .kind = rows[i].door, .csr_der = buf_span(&w->csrs[0]), .trace_id = "t" };

        check_row(rows[i].it);
        make_token(w, rows[i].doc);
        ask.token = w->token.id;
        join_mac(w->token.secret, &ask.token, ask.csr_der, mac);
        ask.mac = span_str(mac);
        if (rows[i].spoil == 1)
            mac[7] = mac[7] == 'A' ? 'B' : 'A';
        else if (rows[i].spoil == 2)
            ask.token.text[20] = ask.token.text[20] == 'A' ? 'B' : 'A';
        else if (rows[i].spoil == 3)
            ask.csr_der = buf_span(&w->csrs[1]);
        else if (rows[i].spoil == 4)
            ask.csr_der.n -= 1;
        assert_int_equal(enrol_join(&w->enrol, &ask, &out), rows[i].want);
    }
    assert_int_equal(count(w, "agent"), 2);
}

static void test_names(void **state)
{
    struct world *w = *state;
    AUTO(enrolled_deinit) struct enrolled a = { .kind = CERT_USER }, b = { .kind = CERT_USER },
                                          c = { .kind = CERT_USER };

    make_token(w, "{\"kind\":\"agent\",\"uses\":3}");
    assert_int_equal(join_as(w, CERT_AGENT, 0, "box", &a), REASON_NONE);
    assert_string_equal(a.name, "box");
    assert_int_equal(join_as(w, CERT_AGENT, 1, "box", &b), REASON_NONE);
    assert_memory_equal(b.name, "box-", 4);
    assert_int_equal(join_as(w, CERT_AGENT, 2, "B\"x", &c), REASON_NONE);
    assert_memory_equal(c.name, "agent-", 6);
}

/* A token that names one agent brings that agent back; its old certificates end. */
static void test_rejoin(void **state)
{
    struct world *w = *state;
    AUTO(enrolled_deinit) struct enrolled a = { .kind = CERT_USER }, b = { .kind = CERT_USER },
                                          c = { .kind = CERT_USER };

    make_token(w, "{\"kind\":\"agent\",\"uses\":1,\"agent_name\":\"box\"}");
    assert_int_equal(join_agent(w, 0, &a), REASON_NONE);
    make_token(w, "{\"kind\":\"agent\",\"uses\":1,\"agent_name\":\"box\"}");
    assert_int_equal(join_agent(w, 1, &b), REASON_NONE);
    assert_string_equal(a.id.text, b.id.text);
    assert_int_equal(identity_of(w, &b, CERT_AGENT).generation, 3);
    assert_int_equal(renew(w, &a.id, 1, 2, &c), REASON_LOCKED);
}

static void test_renew(void **state)
{
    struct world *w = *state;
    AUTO(enrolled_deinit) struct enrolled a = { .kind = CERT_USER }, b = { .kind = CERT_USER },
                                          c = { .kind = CERT_USER }, d = { .kind = CERT_USER },
                                          e = { .kind = CERT_USER };

    make_token(w, "{\"kind\":\"agent\",\"uses\":1}");
    assert_int_equal(join_agent(w, 0, &a), REASON_NONE);
    clock_ms += 3 * DAY_MS;
    assert_int_equal(renew(w, &a.id, 1, 1, &b), REASON_NONE);
    assert_int_equal(identity_of(w, &b, CERT_AGENT).generation, 2);
    /* The answer was lost; so was the key of the request: a new one is taken for a while. */
    assert_int_equal(renew(w, &a.id, 1, 1, &c), REASON_NONE);
    assert_true(span_eq(buf_span(&b.chain_pem), buf_span(&c.chain_pem)));
    assert_int_equal(renew(w, &a.id, 1, 2, &d), REASON_NONE);
    assert_int_equal(identity_of(w, &d, CERT_AGENT).generation, 3);
    /* Whoever holds generation 2 comes too late, whichever of the two it was. */
    clock_ms += DAY_MS;
    assert_int_equal(count(w, "lock"), 0);
    assert_int_equal(renew(w, &a.id, 2, 0, &e), REASON_LOCKED);
    assert_int_equal(count(w, "lock"), 1);
}

static void test_expired(void **state)
{
    struct world *w = *state;
    AUTO(enrolled_deinit) struct enrolled a = { .kind = CERT_USER }, b = { .kind = CERT_USER },
                                          c = { .kind = CERT_USER };
    struct ulid nobody = store_new_id(w->store);

    make_token(w, "{\"kind\":\"agent\",\"uses\":1}");
    assert_int_equal(join_agent(w, 0, &a), REASON_NONE);
    clock_ms += (KEYRING_AGENT_DAYS + 29) * DAY_MS;
    assert_int_equal(renew(w, &a.id, 1, 1, &b), REASON_NONE);
    clock_ms += (KEYRING_AGENT_DAYS + 31) * DAY_MS;
    assert_int_equal(renew(w, &a.id, 2, 2, &c), REASON_CERTIFICATE_EXPIRED);
    buf_deinit(&c.chain_pem);
    assert_int_equal(renew(w, &nobody, 1, 2, &c), REASON_AGENT_REVOKED);
}

static void test_disabled(void **state)
{
    struct world *w = *state;
    AUTO(enrolled_deinit) struct enrolled a = { .kind = CERT_USER }, b = { .kind = CERT_USER };
    struct store_tx *tx;
    struct change change = { .event = { .actor_kind = "system", .action = "test" } };
    int64_t version;

    make_token(w, "{\"kind\":\"agent\",\"uses\":1}");
    assert_int_equal(join_agent(w, 0, &a), REASON_NONE);
    change.tx = tx = begin(w, STORE_WRITE);
    assert_int_equal(change_update(&change, &(struct change_object){ .kind = kind_at(KIND_AGENT), .id = a.id,
                     .name = span_str(a.name), .doc = SPAN("{\"status\":\"disabled\"}") }, 0, &version), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
    assert_int_equal(renew(w, &a.id, 1, 1, &b), REASON_AGENT_REVOKED);
}

#define ENROL_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENROL_TEST(test_join),   ENROL_TEST(test_refusals), ENROL_TEST(test_names),   ENROL_TEST(test_rejoin),
        ENROL_TEST(test_renew),  ENROL_TEST(test_expired),  ENROL_TEST(test_disabled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
