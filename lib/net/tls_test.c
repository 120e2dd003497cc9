#include "lib/crypto/file.h"
#include "lib/net/conn.h"
#include "lib/net/tls_fixture.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/socket.h>

#define BULK_BYTES (8u << 20)

struct end {
    struct conn *conn;
    unsigned char *got;
    size_t len, room, sent;
    const unsigned char *bulk;
    bool is_ready, is_eof;
    int error;
    enum reason refusal;
};

struct pair {
    struct loop *loop;
    struct end client, server;
};

static void on_ready(void *user)
{
    struct end *e = user;

    e->is_ready = true;
    conn_want(e->conn, CONN_READ | (e->bulk ? CONN_WRITE : 0));
}

static void note(struct end *e, ssize_t n)
{
    if (n == -EAGAIN)
        return;
    e->is_eof = n == 0;
    e->error = (int)n;
    e->refusal = conn_refusal(e->conn);
    conn_want(e->conn, 0);
}

static void on_readable(void *user)
{
    struct end *e = user;
    /* Less than a record holds, so that some input stays in TLS. */
    size_t room = e->room - e->len < 10000 ? e->room - e->len : 10000;
    ssize_t n = room ? conn_read(e->conn, e->got + e->len, room) : 0;

    if (n > 0)
        e->len += (size_t)n;
    else
        note(e, n);
}

static void on_writable(void *user)
{
    struct end *e = user;
    struct span parts[2] = {
        span_of(e->bulk + e->sent, (BULK_BYTES - e->sent) / 3),
        span_of(e->bulk + e->sent + (BULK_BYTES - e->sent) / 3,
                BULK_BYTES - e->sent - (BULK_BYTES - e->sent) / 3),
    };
    ssize_t n = conn_writev(e->conn, parts, 2);

    if (n < 0) {
        note(e, n);
        return;
    }
    e->sent += (size_t)n;
    if (e->sent == BULK_BYTES) {
        conn_want(e->conn, CONN_READ);
        conn_shutdown_write(e->conn);
    }
}

static void on_failed(void *user, int error)
{
    struct end *e = user;

    e->error = error;
    e->refusal = conn_refusal(e->conn);
    conn_free(TAKE(e->conn));
}

static const struct conn_handlers handlers = {
    .on_ready = on_ready,
    .on_readable = on_readable,
    .on_writable = on_writable,
    .on_failed = on_failed,
};

static bool both_ready(void *arg)
{
    struct pair *p = arg;
    return p->client.is_ready && p->server.is_ready;
}

static bool both_settled(void *arg)
{
    struct pair *p = arg;
    return p->client.error && p->server.error;
}

static bool both_eof(void *arg)
{
    struct pair *p = arg;
    return p->client.is_eof && p->server.is_eof;
}

static bool server_error(void *arg) { return ((struct pair *)arg)->server.error != 0; }

static void pair_open(struct pair *p, struct tls_ctx *client, struct tls_ctx *server)
{
    struct conn_options a = { .tls = client, .server_name = "relay.corp.example" },
                        b = { .tls = server };
    int fds[2];

    assert_int_equal(loop_new(&p->loop), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(conn_adopt(p->loop, fds[0], &a, &handlers, &p->client, &p->client.conn), 0);
    assert_int_equal(conn_adopt(p->loop, fds[1], &b, &handlers, &p->server, &p->server.conn), 0);
}

static void pair_close(struct pair *p)
{
    conn_free(p->client.conn);
    conn_free(p->server.conn);
    loop_free(p->loop);
}

static void test_who_is_taken(void **state)
{
    static const struct {
        const char *it;
        enum cert_kind client, server;
        int64_t client_life_s, server_life_s;
        enum tls_verify verify;
        bool is_other_root;
        enum reason client_refusal, server_refusal;     /* what each says of the other */
    } rows[] = {
        { "takes agent and relay", CERT_AGENT, CERT_RELAY, 100, 100, TLS_VERIFY_REQUIRED, false,
          REASON_NONE, REASON_NONE },
        { "takes a client that shows nothing, if optional", CERT_KIND_COUNT, CERT_RELAY, 100, 100,
          TLS_VERIFY_OPTIONAL, false, REASON_NONE, REASON_NONE },
        { "refuses a client that shows nothing, if required", CERT_KIND_COUNT, CERT_RELAY, 100, 100,
          TLS_VERIFY_REQUIRED, false, REASON_BAD_CERTIFICATE, REASON_BAD_CERTIFICATE },
        { "refuses a client of another kind", CERT_USER, CERT_RELAY, 100, 100, TLS_VERIFY_OPTIONAL,
          false, REASON_BAD_CERTIFICATE, REASON_BAD_CERTIFICATE },
        { "refuses a server of another kind", CERT_AGENT, CERT_CONTROL, 100, 100,
          TLS_VERIFY_REQUIRED, false, REASON_BAD_CERTIFICATE, REASON_BAD_CERTIFICATE },
        { "refuses an agent that plays the relay", CERT_AGENT, CERT_AGENT, 100, 100,
          TLS_VERIFY_REQUIRED, false, REASON_BAD_CERTIFICATE, REASON_BAD_CERTIFICATE },
        { "refuses a server of another root", CERT_AGENT, CERT_RELAY, 100, 100, TLS_VERIFY_REQUIRED,
          true, REASON_BAD_CERTIFICATE, REASON_BAD_CERTIFICATE },
        { "refuses a client that has expired", CERT_AGENT, CERT_RELAY, -100, 100,
          TLS_VERIFY_REQUIRED, false, REASON_CERTIFICATE_EXPIRED, REASON_CERTIFICATE_EXPIRED },
        { "refuses a server that has expired", CERT_AGENT, CERT_RELAY, 100, -100,
          TLS_VERIFY_REQUIRED, false, REASON_CERTIFICATE_EXPIRED, REASON_CERTIFICATE_EXPIRED },
    };
    struct tls_world world, other;

    (void)state;
    tls_world_open(&world);
    tls_world_open(&other);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tls_ctx *client = tls_world_ctx(&world, false, rows[i].client, rows[i].client_life_s,
                                               TLS_KIND(CERT_RELAY), TLS_VERIFY_REQUIRED);
        struct tls_ctx *server = tls_world_ctx(
            rows[i].is_other_root ? &other : &world, true, rows[i].server, rows[i].server_life_s,
            TLS_KIND(CERT_AGENT) | TLS_KIND(CERT_RELAY), rows[i].verify);
        unsigned char got[2][8];
        struct pair p = { .client = { .got = got[0], .room = 8 },
                          .server = { .got = got[1], .room = 8 } };

        check_row(rows[i].it);
        pair_open(&p, client, server);
        if (rows[i].client_refusal || rows[i].server_refusal) {
            assert_true(loop_run_until(p.loop, both_settled, &p, 3000));
            assert_int_equal(p.client.refusal, rows[i].client_refusal);
            assert_int_equal(p.server.refusal, rows[i].server_refusal);
        } else {
            const struct identity *peer;

            assert_true(loop_run_until(p.loop, both_ready, &p, 3000));
            peer = conn_tls_peer(p.client.conn);
            assert_int_equal(peer->kind, CERT_RELAY);
            assert_string_equal(peer->id.text, "01J00000000000000000000000");
            peer = conn_tls_peer(p.server.conn);
            assert_int_equal(peer != NULL, rows[i].client != CERT_KIND_COUNT);
        }
        pair_close(&p);
        tls_ctx_unref(client);
        tls_ctx_unref(server);
    }
    tls_world_close(&world);
    tls_world_close(&other);
}

/* --- a server that is known by its name -------------------------------------------------- */

static char ca_path[] = "/tmp/adit-tls-test-XXXXXX";

/* A self-signed certificate for `names` ("DNS:a,IP:b"): PEM with its key, and in ca_path alone. */
static void make_server(const char *names, struct chain **ret_chain, struct key **ret_key)
{
    AUTO(key_freep) struct key *key = NULL;
    X509 *x = X509_new();
    X509V3_CTX with;
    X509_EXTENSION *san;
    char *pem;
    BIO *bio = BIO_new(BIO_s_mem());
    long n;

    assert_int_equal(key_generate(&key), 0);
    X509_set_version(x, 2);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key_openssl(key));
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"proxy", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509V3_set_ctx(&with, x, x, NULL, NULL, 0);
    san = X509V3_EXT_conf_nid(NULL, &with, NID_subject_alt_name, names);
    assert_non_null(san);
    X509_add_ext(x, san, -1);
    X509_EXTENSION_free(san);
    assert_true(X509_sign(x, key_openssl(key), EVP_sha256()) > 0);
    assert_true(PEM_write_bio_X509(bio, x));
    n = BIO_get_mem_data(bio, &pem);
    assert_int_equal(file_write_atomic(ca_path, span_of(pem, (size_t)n), 0600), 0);
    assert_int_equal(chain_parse_pem(span_of(pem, (size_t)n), ret_chain), 0);
    BIO_free(bio);
    X509_free(x);
    *ret_key = TAKE(key);
}

static void test_server_by_name(void **state)
{
    static const struct {
        const char *it, *names;
        bool is_other_ca;
        enum reason refusal;
    } rows[] = {
        { "takes a server of that name", "DNS:relay.corp.example", false, REASON_NONE },
        { "takes a wildcard", "DNS:*.corp.example", false, REASON_NONE },
        { "refuses another name", "DNS:other.example", false, REASON_BAD_CERTIFICATE },
        { "refuses a part of a wildcard", "DNS:rel*.corp.example", false, REASON_BAD_CERTIFICATE },
        { "refuses an address for a name", "IP:127.0.0.1", false, REASON_BAD_CERTIFICATE },
        { "refuses a CA that is not in the file", "DNS:relay.corp.example", true, REASON_BAD_CERTIFICATE },
    };
    int fd = mkstemp(ca_path);

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(chain_freep) struct chain *chain = NULL, *other = NULL;
        AUTO(key_freep) struct key *key = NULL, *other_key = NULL;
        AUTO(tls_ctx_unrefp) struct tls_ctx *client = NULL, *server = NULL;
        struct tls_config to = { .is_public = true, .verify = TLS_VERIFY_REQUIRED, .ca_file = ca_path };
        struct tls_config at = { .is_server = true, .is_public = true };
        unsigned char got[2][8];
        struct pair p = { .client = { .got = got[0], .room = 8 }, .server = { .got = got[1], .room = 8 } };

        check_row(rows[i].it);
        make_server(rows[i].names, &chain, &key);
        if (rows[i].is_other_ca)
            make_server(rows[i].names, &other, &other_key);
        at.chain = chain;
        at.key = key;
        assert_int_equal(tls_ctx_new(&to, &client), 0);
        assert_int_equal(tls_ctx_new(&at, &server), 0);
        pair_open(&p, client, server);
        if (rows[i].refusal) {
            assert_true(loop_run_until(p.loop, both_settled, &p, 3000));
            assert_int_equal(p.client.refusal, rows[i].refusal);
        } else {
            assert_true(loop_run_until(p.loop, both_ready, &p, 3000));
            assert_null(conn_tls_peer(p.client.conn));
        }
        pair_close(&p);
    }
    unlink(ca_path);
}

static void test_server_by_name_is_refused(void **state)
{
    static const struct { const char *it; struct tls_config config; } rows[] = {
        { "takes no file that is not there",
          { .is_public = true, .verify = TLS_VERIFY_REQUIRED, .ca_file = "/nonexistent" } },
        { "takes no file without certificates",
          { .is_public = true, .verify = TLS_VERIFY_REQUIRED, .ca_file = "/dev/null" } },
        { "takes none that does not verify", { .is_public = true, .ca_file = "system" } },
        { "is a client's", { .is_server = true, .verify = TLS_VERIFY_REQUIRED, .ca_file = "system" } },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tls_ctx *ctx;

        check_row(rows[i].it);
        assert_int_equal(tls_ctx_new(&rows[i].config, &ctx), -EINVAL);
    }
}

static void open_mutual(struct pair *p, const struct tls_world *w)
{
    struct tls_ctx *client =
        tls_world_ctx(w, false, CERT_AGENT, 100, TLS_KIND(CERT_RELAY), TLS_VERIFY_REQUIRED);
    struct tls_ctx *server =
        tls_world_ctx(w, true, CERT_RELAY, 100, TLS_KIND(CERT_AGENT), TLS_VERIFY_REQUIRED);

    pair_open(p, client, server);
    tls_ctx_unref(client);
    tls_ctx_unref(server);
}

static void test_bulk_both_ways(void **state)
{
    AUTO(freep) unsigned char *bulk = malloc(2 * BULK_BYTES), *got = malloc(2 * BULK_BYTES + 2);
    struct pair p = {
        .client = { .bulk = bulk, .got = got, .room = BULK_BYTES + 1 },
        .server = { .bulk = bulk + BULK_BYTES,
                    .got = got + BULK_BYTES + 1,
                    .room = BULK_BYTES + 1 },
    };
    struct tls_world w;
    unsigned seed = 3;

    (void)state;
    for (size_t i = 0; i < 2 * BULK_BYTES; i++)
        bulk[i] = (unsigned char)rand_r(&seed);
    tls_world_open(&w);
    open_mutual(&p, &w);
    assert_true(loop_run_until(p.loop, both_eof, &p, 20000));
    assert_int_equal(p.client.len, BULK_BYTES);
    assert_int_equal(p.server.len, BULK_BYTES);
    assert_memory_equal(p.client.got, p.server.bulk, BULK_BYTES);
    assert_memory_equal(p.server.got, p.client.bulk, BULK_BYTES);
    pair_close(&p);
    tls_world_close(&w);
}

static void test_end_without_close_notify_is_an_error(void **state)
{
    unsigned char got[2][8];
    struct pair p = { .client = { .got = got[0], .room = 8 },
                      .server = { .got = got[1], .room = 8 } };
    struct tls_world w;

    (void)state;
    tls_world_open(&w);
    open_mutual(&p, &w);
    assert_true(loop_run_until(p.loop, both_ready, &p, 3000));
    shutdown(conn_fd(p.client.conn), SHUT_WR);
    assert_true(loop_run_until(p.loop, server_error, &p, 3000));
    assert_int_equal(p.server.error, -ECONNRESET);
    pair_close(&p);
    tls_world_close(&w);
}

static void test_silent_client_times_out(void **state)
{
    unsigned char got[8];
    struct conn_options options = { .ready_ms = 30 };
    struct pair p = { .server = { .got = got, .room = 8 } };
    struct tls_world w;
    int fds[2];

    (void)state;
    tls_world_open(&w);
    options.tls =
        tls_world_ctx(&w, true, CERT_RELAY, 100, TLS_KIND(CERT_AGENT), TLS_VERIFY_REQUIRED);
    assert_int_equal(loop_new(&p.loop), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(conn_adopt(p.loop, fds[1], &options, &handlers, &p.server, &p.server.conn), 0);
    assert_true(loop_run_until(p.loop, server_error, &p, 3000));
    assert_int_equal(p.server.error, -ETIMEDOUT);
    close(fds[0]);
    tls_ctx_unref(options.tls);
    pair_close(&p);
    tls_world_close(&w);
}

static void test_certificate_swap(void **state)
{
    struct tls_world w;
    struct tls_ctx *client, *server;
    struct chain *chain;
    struct key *key, *foreign;

    (void)state;
    tls_world_open(&w);
    client = tls_world_ctx(&w, false, CERT_AGENT, 100, TLS_KIND(CERT_RELAY), TLS_VERIFY_REQUIRED);
    server = tls_world_ctx(&w, true, CERT_RELAY, 100, TLS_KIND(CERT_AGENT), TLS_VERIFY_REQUIRED);
    tls_world_leaf(&w, CERT_RELAY, "01J11111111111111111111111", 100, &chain, &key);
    assert_int_equal(key_generate(&foreign), 0);
    assert_int_equal(tls_ctx_set_certificate(server, chain, foreign), -EINVAL);
    assert_int_equal(tls_ctx_set_certificate(server, chain, key), 0);
    {
        unsigned char got[2][8];
        struct pair p = { .client = { .got = got[0], .room = 8 },
                          .server = { .got = got[1], .room = 8 } };

        pair_open(&p, client, server);
        assert_true(loop_run_until(p.loop, both_ready, &p, 3000));
        assert_string_equal(conn_tls_peer(p.client.conn)->id.text, "01J11111111111111111111111");
        pair_close(&p);
    }
    chain_free(chain);
    key_free(key);
    key_free(foreign);
    tls_ctx_unref(client);
    tls_ctx_unref(server);
    tls_world_close(&w);
}

static void test_client_that_takes_anybody_is_refused(void **state)
{
    struct tls_config config = { .verify = TLS_VERIFY_NONE };
    struct tls_ctx *ctx;

    (void)state;
    assert_int_equal(tls_ctx_new(&config, &ctx), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_taken),
        cmocka_unit_test(test_server_by_name),
        cmocka_unit_test(test_server_by_name_is_refused),
        cmocka_unit_test(test_bulk_both_ways),
        cmocka_unit_test(test_end_without_close_notify_is_an_error),
        cmocka_unit_test(test_silent_client_times_out),
        cmocka_unit_test(test_certificate_swap),
        cmocka_unit_test(test_client_that_takes_anybody_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
