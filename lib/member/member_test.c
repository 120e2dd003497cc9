#include "lib/member/member_fixture.h"
#include <fcntl.h>
#include <sys/stat.h>

struct world {
    struct realm realm;
    char memory[1024];
    struct buf err;
};

static void world_open(struct world *w)
{
    realm_open(&w->realm, "test");
    buf_init_fixed(&w->err, w->memory, sizeof(w->memory));
}

static void world_close(struct world *w)
{
    realm_close(&w->realm);
}

static struct member *open_member(struct world *w, enum cert_kind kind)
{
    struct member *m;

    assert_int_equal(member_open(kind, w->realm.dir, &m, &w->err), 0);
    return m;
}

static mode_t mode_of(const struct world *w, const char *file)
{
    char path[128];
    struct stat st;

    snprintf(path, sizeof(path), "%s/%s", w->realm.dir, file);
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 0777;
}

static void write_file(const struct world *w, const char *file, struct span bytes)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", w->realm.dir, file);
    assert_int_equal(file_write_atomic(path, bytes, 0600), 0);
}

static void test_whole(void **state)
{
    struct world w;
    struct member *m;

    (void)state;
    world_open(&w);
    check_row("says how to join before it has joined");
    m = open_member(&w, CERT_AGENT);
    assert_int_equal(member_load(m, &w.err), -ENOENT);
    assert_non_null(strstr(buf_text(&w.err), "adit-agent join TOKEN"));
    assert_false(member_is_joined(m));
    member_free(m);

    check_row("keeps what joining gave, readable by nobody else");
    m = realm_member(&w.realm, CERT_AGENT);
    assert_true(member_is_joined(m));
    member_free(m);
    assert_int_equal(mode_of(&w, "member.pem"), 0600);
    assert_int_equal(mode_of(&w, "member.json"), 0600);
    assert_int_equal(mode_of(&w, "."), 0700);

    for (int starts = 1; starts <= 3; starts++) {
        check_row("counts its starts");
        buf_clear(&w.err);
        m = open_member(&w, CERT_AGENT);
        assert_int_equal(member_load(m, &w.err), 0);
        assert_int_equal(m->starts, starts);
        assert_string_equal(m->self.id.text, REALM_ID);
        assert_int_equal(m->self.generation, 1);
        assert_int_equal(m->addr_count, 2);
        assert_string_equal(m->addrs[1], "wss://10.0.0.1:443/tunnel");
        member_free(m);
    }

    check_row("counts on from a file that ends with a line feed");
    write_file(&w, "starts", SPAN("41\n"));
    m = open_member(&w, CERT_AGENT);
    assert_int_equal(member_load(m, &w.err), 0);
    assert_int_equal(m->starts, 42);
    member_free(m);
    world_close(&w);
}

static void test_lock(void **state)
{
    struct member *first, *second;
    struct world w;

    (void)state;
    check_row("lets one program at a time run on a directory, and says so");
    world_open(&w);
    first = open_member(&w, CERT_AGENT);
    assert_int_equal(member_open(CERT_AGENT, w.realm.dir, &second, &w.err), -EBUSY);
    assert_non_null(strstr(buf_text(&w.err), w.realm.dir));
    member_free(first);
    second = open_member(&w, CERT_AGENT);
    member_free(second);
    world_close(&w);
}

enum damage { OTHER_PIN, OTHER_KEY, OTHER_KIND, NO_PEM, HALF_PEM, NO_KEY, JSON_BROKEN, JSON_WITHOUT_PIN };

static void put_pem(struct world *w, struct key *key, struct span chain)
{
    struct buf pem;

    buf_init_heap(&pem, 65536);
    if (key)
        assert_int_equal(key_private_pem(key, &pem), 0);
    buf_put_span(&pem, chain);
    write_file(w, "member.pem", buf_span(&pem));
    buf_deinit(&pem);
}

static void damage(struct world *w, enum damage what)
{
    struct realm other;
    struct key *key;
    struct buf pem;
    char path[128];

    assert_int_equal(key_generate(&key), 0);
    realm_open(&other, "test");
    realm_issue(what == OTHER_PIN ? &other : &w->realm, what == OTHER_KIND ? CERT_RELAY : CERT_AGENT, REALM_ID, 1, key,
                3600, &pem);
    switch (what) {
    case OTHER_PIN:
    case OTHER_KIND:
        put_pem(w, key, buf_span(&pem));
        break;
    case OTHER_KEY:
        key_free(key);
        assert_int_equal(key_generate(&key), 0);
        put_pem(w, key, buf_span(&pem));
        break;
    case NO_PEM:
        snprintf(path, sizeof(path), "%s/member.pem", w->realm.dir);
        assert_int_equal(unlink(path), 0);
        break;
    case HALF_PEM:
        put_pem(w, key, span_first(buf_span(&pem), 300));
        break;
    case NO_KEY:
        put_pem(w, NULL, buf_span(&pem));
        break;
    case JSON_BROKEN:
        write_file(w, "member.json", SPAN("{\"cluster\":"));
        break;
    case JSON_WITHOUT_PIN:
        write_file(w, "member.json", SPAN("{\"cluster\":\"test\",\"addrs\":[\"a:1\"]}"));
        break;
    }
    key_free(key);
    buf_deinit(&pem);
    realm_close(&other);
}

static void test_damaged(void **state)
{
    static const struct { const char *it; enum damage what; } rows[] = {
        { "refuses another cluster's certificate", OTHER_PIN },
        { "refuses a key that is not the certificate's", OTHER_KEY },
        { "refuses a certificate of another kind", OTHER_KIND },
        { "refuses to start without its certificate", NO_PEM },
        { "refuses half a certificate", HALF_PEM },
        { "refuses a certificate without its key", NO_KEY },
        { "refuses a malformed member.json", JSON_BROKEN },
        { "refuses a member.json without the pin", JSON_WITHOUT_PIN },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct member *m;
        struct world w;

        check_row(rows[i].it);
        world_open(&w);
        member_free(realm_member(&w.realm, CERT_AGENT));
        damage(&w, rows[i].what);
        m = open_member(&w, CERT_AGENT);
        assert_int_not_equal(member_load(m, &w.err), 0);
        assert_true(w.err.len > 0);
        assert_non_null(strstr(buf_text(&w.err), w.realm.dir));
        member_free(m);
        world_close(&w);
    }
}

/* What joining and renewal refuse, and that nothing of it is kept. */
static void test_adopt(void **state)
{
    enum wrong { NOTHING, PIN, CLUSTER, KEY, KIND, EXPIRED, GARBAGE };
    static const struct { const char *it; enum wrong what; } rows[] = {
        { "takes what the token's root vouches for", NOTHING },
        { "refuses a root that the token does not pin", PIN },
        { "refuses another cluster", CLUSTER },
        { "refuses a certificate for another key", KEY },
        { "refuses a certificate of another kind", KIND },
        { "refuses a certificate that has ended", EXPIRED },
        { "refuses what is no certificate", GARBAGE },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum wrong what = rows[i].what;
        struct join_token token;
        struct key *key, *other;
        struct member *m;
        struct world w;
        struct buf pem;
        int r;

        check_row(rows[i].it);
        world_open(&w);
        token = realm_token(&w.realm, CERT_AGENT);
        assert_int_equal(key_generate(&key), 0);
        assert_int_equal(key_generate(&other), 0);
        realm_issue(&w.realm, what == KIND ? CERT_RELAY : CERT_AGENT, REALM_ID, 1, what == KEY ? other : key,
                    what == EXPIRED ? -100 : 3600, &pem);
        if (what == PIN)
            token.pin[0] = token.pin[0] == 'a' ? 'b' : 'a';
        if (what == CLUSTER)
            snprintf(token.cluster, sizeof(token.cluster), "rest");
        m = open_member(&w, CERT_AGENT);
        r = member_adopt(m, &token, key, what == GARBAGE ? SPAN("garbage") : buf_span(&pem), time(NULL), &w.err);
        assert_int_equal(r == 0, what == NOTHING);
        assert_int_equal(member_is_joined(m), what == NOTHING);
        assert_int_equal(w.err.len > 0, what != NOTHING);
        member_free(m);
        key_free(key);
        key_free(other);
        buf_deinit(&pem);
        world_close(&w);
    }
}

static void test_renew(void **state)
{
    static const struct { const char *it; const char *id; bool is_other_key, is_same_key; bool want; } rows[] = {
        { "takes a new key with its certificate", REALM_ID, false, false, true },
        { "takes a new certificate for the key it has", REALM_ID, false, true, true },
        { "refuses a certificate for another key", REALM_ID, true, false, false },
        { "refuses another member's certificate", "01J00000000000000000000001", false, false, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct key *key, *other;
        struct member *m;
        struct world w;
        struct buf pem;
        int r;

        check_row(rows[i].it);
        world_open(&w);
        m = realm_member(&w.realm, CERT_AGENT);
        assert_int_equal(key_generate(&other), 0);
        if (rows[i].is_same_key)
            key = m->key;
        else
            assert_int_equal(key_generate(&key), 0);
        realm_issue(&w.realm, CERT_AGENT, rows[i].id, 2, rows[i].is_other_key ? other : key, 3600, &pem);
        r = member_renew(m, key, buf_span(&pem), time(NULL), &w.err);
        assert_int_equal(r == 0, rows[i].want);
        assert_int_equal(m->self.generation, rows[i].want ? 2 : 1);
        if (!rows[i].is_same_key)
            key_free(key);
        member_free(m);
        m = open_member(&w, CERT_AGENT);
        assert_int_equal(member_load(m, &w.err), 0);
        assert_int_equal(m->self.generation, rows[i].want ? 2 : 1);
        member_free(m);
        key_free(other);
        buf_deinit(&pem);
        world_close(&w);
    }
}

static void sign_keyset(const struct realm *r, uint64_t serial, struct buf *out)
{
    struct key *key;

    assert_int_equal(key_generate(&key), 0);
    buf_init_heap(out, 65536);
    assert_int_equal(keyset_sign("test", serial, &key, 1, ca_key(r->root), out), 0);
    key_free(key);
}

static void test_keyset(void **state)
{
    static const struct { const char *it; uint64_t serial; bool is_other_root; bool is_taken; uint64_t serial_after; } rows[] = {
        { "takes its first key set", 3, false, true, 3 },
        { "takes a newer one", 4, false, true, 4 },
        { "keeps the newer one when an older one comes", 2, false, true, 4 },
        { "refuses one that another root signed", 9, true, false, 4 },
    };
    struct realm other;
    struct world w;
    struct member *m;

    (void)state;
    world_open(&w);
    realm_open(&other, "test");
    m = realm_member(&w.realm, CERT_AGENT);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct state_error error;
        struct buf text;

        check_row(rows[i].it);
        sign_keyset(rows[i].is_other_root ? &other : &w.realm, rows[i].serial, &text);
        assert_int_equal(member_keep_keyset(m, buf_span(&text), &error) == 0, rows[i].is_taken);
        assert_int_equal(keyset_serial(m->keys), rows[i].serial_after);
        buf_deinit(&text);
    }
    check_row("has its key set after a restart");
    member_free(m);
    m = open_member(&w, CERT_AGENT);
    assert_int_equal(member_load(m, &w.err), 0);
    assert_int_equal(keyset_serial(m->keys), 4);
    member_free(m);

    check_row("goes without a key set that was changed on disk");
    write_file(&w, "keyset", SPAN("adit/keyset/v1 test 9 changed\n"));
    m = open_member(&w, CERT_AGENT);
    assert_int_equal(member_load(m, &w.err), 0);
    assert_null(m->keys);
    member_free(m);
    realm_close(&other);
    world_close(&w);
}

static void test_address(void **state)
{
    static const struct { const char *it, *text, *host; uint16_t port; } rows[] = {
        { "takes a name", "relay.test", "relay.test", RELAY_PORT },
        { "takes a name and a port", "relay.test:1", "relay.test", 1 },
        { "takes a URL", "wss://relay.test:443/tunnel", "relay.test", 443 },
        { "takes an IPv6 address", "[::1]:5", "::1", 5 },
        { "refuses nothing", "", NULL, 0 },
        { "refuses port 0", "relay.test:0", NULL, 0 },
        { "refuses port 65536", "relay.test:65536", NULL, 0 },
        { "refuses a URL without a host", "wss:///tunnel", NULL, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char host[RELAY_HOST_MAX];
        unsigned char memory[256];
        uint16_t port = 0;
        struct buf err;
        int r;

        check_row(rows[i].it);
        buf_init_fixed(&err, memory, sizeof(memory));
        r = relay_address_parse(rows[i].text, host, &port, &err);
        assert_int_equal(r, rows[i].host ? 0 : -EINVAL);
        if (!r) {
            assert_string_equal(host, rows[i].host);
            assert_int_equal(port, rows[i].port);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole), cmocka_unit_test(test_lock), cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_adopt), cmocka_unit_test(test_renew), cmocka_unit_test(test_keyset),
        cmocka_unit_test(test_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
