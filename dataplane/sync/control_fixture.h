#pragma once
#include "dataplane/sync/control.h"
#include "lib/member/member_fixture.h"
#include "lib/net/conn.h"
#include "lib/net/listener.h"
#include "lib/state/state.h"
/*
 * control_fixture.h - for tests: a control plane's internal listener, as far as relays ask it,
 * on the loop of the test.
 *
 * /relay answers with the key set and one credential key; /state with what plane_publish() gave,
 * once, and holds the question until there is something; everything else with plane.status.
 */
#define PLANE_CONNS_MAX 8

struct plane;

struct plane_conn {
    struct plane *plane;
    struct conn *conn;
    char in[1 << 20];
    size_t in_n;
    bool is_held;                   /* a question for the state waits */
};

struct plane {
    struct loop *loop;
    struct realm realm;
    struct key *signer;
    struct tls_ctx *tls;
    struct listener *listener;
    struct plane_conn *conns[PLANE_CONNS_MAX];
    size_t conn_count;
    char url[64];
    struct buf state;               /* the next answer to /state; empty: hold */
    unsigned status;                /* of the rest */
    unsigned relay_asked, state_asked, posted;
    char after[64];                 /* of the last question for the state */
    char body[1 << 20];             /* of the last post */
    size_t body_n;
    uint64_t keyset_serial;
    char digest[65];                /* of the last delta that was signed */
};

static inline void plane_answer(struct plane_conn *c, unsigned status, const char *type, struct span body)
{
    char head[256];
    int n = snprintf(head, sizeof(head), "HTTP/1.1 %u X\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", status, type,
                     body.n);

    assert_int_equal(conn_write(c->conn, head, (size_t)n), n);
    if (body.n)
        assert_int_equal(conn_write(c->conn, body.p, body.n), body.n);
}

static inline void plane_sign_keyset(struct plane *p, struct buf *out)
{
    buf_init_heap(out, 65536);
    assert_int_equal(keyset_sign("test", p->keyset_serial, &p->signer, 1, ca_key(p->realm.root), out), 0);
}

static inline void plane_answer_relay(struct plane_conn *c)
{
    struct buf keyset, json;

    c->plane->relay_asked++;
    plane_sign_keyset(c->plane, &keyset);
    buf_init_heap(&json, 1 << 20);
    buf_put_str(&json, "{\"credential_keys\":[{\"number\":1,\"key\":\"");
    for (unsigned i = 0; i < 32; i++)
        buf_put_str(&json, "07");
    buf_put_str(&json, "\"}],\"keyset\":\"");
    for (size_t i = 0; i < keyset.len; i++) {
        if (keyset.data[i] == '\n')
            buf_put_str(&json, "\\n");
        else if (keyset.data[i] == '"' || keyset.data[i] == '\\')
            buf_printf(&json, "\\%c", keyset.data[i]);
        else
            buf_put_u8(&json, keyset.data[i]);
    }
    buf_put_str(&json, "\"}");
    plane_answer(c, 200, "application/json", buf_span(&json));
    buf_deinit(&json);
    buf_deinit(&keyset);
}

static inline void plane_answer_state(struct plane_conn *c)
{
    struct plane *p = c->plane;

    c->is_held = p->state.len == 0;
    if (c->is_held)
        return;
    plane_answer(c, 200, "application/octet-stream", buf_span(&p->state));
    buf_clear(&p->state);
}

static inline void plane_route(struct plane_conn *c, const char *path, struct span body)
{
    struct plane *p = c->plane;

    if (strncmp(path, "/internal/v1/relay ", 19) == 0) {
        plane_answer_relay(c);
    } else if (strncmp(path, "/internal/v1/state?after=", 25) == 0) {
        p->state_asked++;
        assert_true(span_copy(span_first(span_str(path + 25), span_find(span_str(path + 25), ' ')), p->after,
                              sizeof(p->after)));
        plane_answer_state(c);
    } else {
        p->posted++;
        assert_true(body.n < sizeof(p->body));
        memcpy(p->body, body.p, body.n);
        p->body_n = body.n;
        p->body[body.n] = 0;
        plane_answer(c, p->status, "application/problem+json",
                     p->status == 204 ? SPAN_NONE : SPAN("{\"reason\":\"overload\"}"));
    }
}

/* A whole request: its length; 0: not yet. */
static inline size_t plane_request(struct plane_conn *c)
{
    char *end = memmem(c->in, c->in_n, "\r\n\r\n", 4), *length, *path;
    size_t body_n = 0, head_n;

    if (!end)
        return 0;
    head_n = (size_t)(end - c->in) + 4;
    length = memmem(c->in, head_n, "Content-Length: ", 16);
    if (length)
        body_n = strtoul(length + 16, NULL, 10);
    if (c->in_n < head_n + body_n)
        return 0;
    path = memchr(c->in, ' ', head_n);
    plane_route(c, path + 1, span_of(c->in + head_n, body_n));
    return head_n + body_n;
}

static inline void plane_on_readable(void *user)
{
    struct plane_conn *c = user;
    ssize_t n = conn_read(c->conn, c->in + c->in_n, sizeof(c->in) - 1 - c->in_n);
    size_t used;

    if (n == -EAGAIN)
        return;
    if (n <= 0) {
        c->is_held = false;
        conn_free(TAKE(c->conn));
        return;
    }
    c->in_n += (size_t)n;
    c->in[c->in_n] = 0;
    used = plane_request(c);
    c->in_n -= used;
    memmove(c->in, c->in + used, c->in_n);
}

static inline void plane_on_ready(void *user)
{
    conn_want(((struct plane_conn *)user)->conn, CONN_READ);
}

static inline void plane_on_failed(void *user, int error)
{
    (void)error;
    conn_free(TAKE(((struct plane_conn *)user)->conn));
}

static const struct conn_handlers plane_handlers = {
    .on_ready = plane_on_ready, .on_readable = plane_on_readable, .on_failed = plane_on_failed,
};

static inline void plane_on_accept(void *user, int fd, const struct endpoint *peer)
{
    struct plane *p = user;
    const struct conn_options options = { .tls = p->tls };
    struct plane_conn *c;

    (void)peer;
    assert_true(p->conn_count < PLANE_CONNS_MAX);
    c = calloc(1, sizeof(*c));
    c->plane = p;
    assert_int_equal(conn_adopt(p->loop, fd, &options, &plane_handlers, c, &c->conn), 0);
    p->conns[p->conn_count++] = c;
}

static inline void plane_tls(struct plane *p)
{
    struct tls_config config = {
        .is_server = true, .verify = TLS_VERIFY_REQUIRED, .kinds = TLS_KIND(CERT_RELAY),
    };
    struct join_token token = realm_token(&p->realm, CERT_RELAY);
    struct key *key;
    struct buf pem;

    memcpy(config.trust.cluster, token.cluster, sizeof(config.trust.cluster));
    memcpy(config.trust.pin, token.pin, sizeof(config.trust.pin));
    assert_int_equal(key_generate(&key), 0);
    realm_issue(&p->realm, CERT_CONTROL, "01J00000000000000000000009", 1, key, 3600, &pem);
    assert_int_equal(chain_parse_pem(buf_span(&pem), &config.chain), 0);
    config.key = key;
    assert_int_equal(tls_ctx_new(&config, &p->tls), 0);
    chain_free(config.chain);
    key_free(key);
    buf_deinit(&pem);
}

static inline void plane_listen(struct plane *p, uint16_t port)
{
    struct listener_config config = { .on_accept = plane_on_accept, .user = p };
    unsigned char memory[256];
    struct buf err;

    buf_init_fixed(&err, memory, sizeof(memory));
    assert_true(endpoint_parse(SPAN("127.0.0.1:0"), &config.at));
    config.at.port = port;
    assert_int_equal(listener_open(p->loop, &config, &p->listener, &err), 0);
    snprintf(p->url, sizeof(p->url), "https://127.0.0.1:%u", listener_endpoint(p->listener).port);
}

static inline void plane_open(struct plane *p, struct loop *loop)
{
    memset(p, 0, sizeof(*p));
    p->loop = loop;
    p->status = 204;
    p->keyset_serial = 1;
    snprintf(p->digest, sizeof(p->digest), "%s", STATE_DIGEST_NONE);
    realm_open(&p->realm, "test");
    assert_int_equal(key_generate(&p->signer), 0);
    buf_init_heap(&p->state, 1 << 20);
    plane_tls(p);
    plane_listen(p, 0);
}

/* It is away: connections end, and nobody listens. */
static inline uint16_t plane_leaves(struct plane *p)
{
    uint16_t port = listener_endpoint(p->listener).port;

    for (size_t i = 0; i < p->conn_count; i++) {
        if (p->conns[i]->conn)
            conn_free(p->conns[i]->conn);
        free(p->conns[i]);
    }
    p->conn_count = 0;
    listener_free(TAKE(p->listener));
    return port;
}

static inline void plane_close(struct plane *p)
{
    if (p->listener)
        plane_leaves(p);
    buf_deinit(&p->state);
    tls_ctx_unref(p->tls);
    key_free(p->signer);
    realm_close(&p->realm);
}

/* --- what is signed; appended to the next answer ------------------------------------------------- */

static inline void plane_put(struct plane *p, struct buf *document)
{
    buf_put_span(&p->state, buf_span(document));
    assert_int_equal(buf_error(&p->state), 0);
    buf_deinit(document);
}

static inline void plane_put_head(struct plane *p, uint64_t revision, uint64_t beat, int64_t time_ms)
{
    struct state_head head = { .epoch = 1, .revision = revision, .beat = beat, .time_ms = time_ms };
    struct buf out;

    memcpy(head.digest, p->digest, sizeof(head.digest));
    buf_init_heap(&out, 65536);
    assert_int_equal(state_head_sign("test", &head, p->signer, &out), 0);
    plane_put(p, &out);
}

static inline void plane_put_lines(struct plane *p, enum document_kind kind, uint64_t revision, const char *lines)
{
    struct state_change c = { .epoch = 1, .revision = revision, .after = revision - 1, .lines = span_str(lines) };
    struct buf out;

    for (const char *at = lines; *at; at++)
        c.count += *at == '\n';
    memcpy(c.digest, p->digest, sizeof(c.digest));
    buf_init_heap(&out, 65536);
    if (kind == DOCUMENT_DELTA)
        assert_int_equal(state_delta_sign("test", &c, p->signer, &out, p->digest), 0);
    else
        assert_int_equal(state_snapshot_sign("test", &c, p->signer, &out), 0);
    plane_put(p, &out);
}

/* One setting. */
static inline void plane_put_change(struct plane *p, enum document_kind kind, uint64_t revision, const char *name,
                                    const char *value)
{
    char line[256];

    snprintf(line, sizeof(line), "+setting %s {\"value\":\"%s\"}\n", name, value);
    plane_put_lines(p, kind, revision, line);
}

/* The next answer is ready: whoever waits gets it. */
static inline void plane_publish(struct plane *p)
{
    for (size_t i = 0; i < p->conn_count; i++) {
        if (p->conns[i]->is_held && p->state.len)
            plane_answer_state(p->conns[i]);
    }
}
