#include "controlplane/routes/sign_in.h"
#include "controlplane/routes/cookie.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/handlers.h"
#include "controlplane/routes/ticket.h"
#include "lib/base/encode.h"
#include "lib/crypto/random.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* GET /identity-providers/{id}/log-in: to the provider. */
#define PURPOSE "journey"

/* ---- what the cookie holds ---- */
int journey_write(struct call *c, const struct journey *j, struct buf *out)
{
    AUTO(buf_deinit) struct buf payload;

    buf_init_heap(&payload, 1024);
    buf_printf(&payload, "%s %lld %s %u %s %s", j->provider.text, (long long)j->end_ms, j->seed, j->port,
               j->challenge[0] ? j->challenge : "-", j->return_to);
    return buf_error(&payload) ? buf_error(&payload)
                               : ticket_write(&c->api->options.kek, PURPOSE, buf_span(&payload), out);
}

int journey_read(struct call *c, struct span ticket, struct journey *ret)
{
    AUTO(buf_deinit) struct buf payload;
    struct span rest, parts[6];
    struct journey j = { .port = 0 };
    uint64_t end_ms, port;
    int r;

    buf_init_heap(&payload, 1024);
    r = ticket_read(&c->api->options.kek, PURPOSE, ticket, &payload);
    if (r)
        return r;
    rest = buf_span(&payload);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (!span_cut(&rest, ' ', &parts[i]))
            return -EBADMSG;
    }
    if (!ulid_parse(parts[0], &j.provider) || !span_to_u64(parts[1], INT64_MAX, &end_ms) ||
        !span_copy(parts[2], j.seed, sizeof(j.seed)) || !span_to_u64(parts[3], 65535, &port) ||
        !span_copy(parts[4], j.challenge, sizeof(j.challenge)) ||
        !span_copy(parts[5], j.return_to, sizeof(j.return_to)))
        return -EBADMSG;
    j.end_ms = (int64_t)end_ms;
    j.port = (unsigned)port;
    *ret = j;
    return 0;
}

/* ---- what was asked ---- */
/* A path of ours, whatever a browser makes of it: no second slash, no backslash, no other host. */
static bool is_own_path(struct span path)
{
    static const char set[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/-._~?=&,:@+";

    if (!path.n || path.n > SIGN_IN_RETURN_MAX || path.p[0] != '/' || (path.n > 1 && path.p[1] == '/'))
        return false;
    for (size_t i = 0; i < path.n; i++) {
        if (!path.p[i] || !strchr(set, path.p[i]))
            return false;
    }
    return true;
}

static bool is_challenge(struct span text)
{
    AUTO(buf_deinit) struct buf bytes;

    buf_init_heap(&bytes, 64);
    return text.n == SIGN_IN_CHALLENGE_LEN && base64url_decode(text, &bytes);
}

static int read_query(struct call *c, struct journey *j)
{
    struct span path = SPAN("/docs"), port, challenge;
    bool has_port = request_query(c->req, "port", &port);
    uint64_t number;

    (void)request_query(c->req, "return_to", &path);
    if (!is_own_path(path) || !span_copy(path, j->return_to, sizeof(j->return_to)))
        return call_refuse_at(c, REASON_INVALID, "?return_to", "must be a path here, like /docs");
    if (has_port != request_query(c->req, "challenge", &challenge))
        return call_refuse_at(c, REASON_CONFLICT, "?port", "goes together with challenge");
    if (!has_port)
        return 0;
    if (!span_to_u64(port, 65535, &number) || number < 1024)
        return call_refuse_at(c, REASON_INVALID, "?port", "must be 1024 to 65535");
    if (!is_challenge(challenge) || !span_copy(challenge, j->challenge, sizeof(j->challenge)))
        return call_refuse_at(c, REASON_INVALID, "?challenge", "must be base64url of a SHA-256");
    j->port = (unsigned)number;
    return 0;
}

/* ---- the way there ---- */
static void put_field(struct buf *url, const char *name, const char *value)
{
    buf_printf(url, "%c%s=", span_find(buf_span(url), '?') < url->len ? '&' : '?', name);
    oidc_escape(value, url);
}

static void put_scopes(struct buf *url, const struct json_value *doc)
{
    AUTO(buf_deinit) struct buf scopes;

    buf_init_heap(&scopes, 4096);
    buf_put_str(&scopes, "openid");
    for (size_t i = 0; i < doc_count(doc, "scopes"); i++) {
        struct span scope = doc_item(doc, "scopes", i);

        if (!span_eq(scope, SPAN("openid")))
            buf_printf(&scopes, " " SPAN_FMT, SPAN_ARG(scope));
    }
    put_field(url, "scope", buf_text(&scopes));
}

static void put_url(struct call *c, struct provider *p, const struct journey *j, const char *endpoint,
                    struct buf *url)
{
    const struct kek *kek = &c->api->options.kek;
    char text[TICKET_DERIVED_MAX], challenge[TICKET_DERIVED_MAX];
    unsigned char digest[SHA256_LEN];
    struct buf out;

    buf_put_str(url, endpoint);
    put_field(url, "response_type", "code");
    put_field(url, "client_id", buf_text(&p->client_id));
    put_field(url, "redirect_uri", buf_text(&p->redirect_uri));
    put_scopes(url, p->doc);
    ticket_derive(kek, "state", span_str(j->seed), text);
    put_field(url, "state", text);
    ticket_derive(kek, "nonce", span_str(j->seed), text);
    put_field(url, "nonce", text);
    ticket_derive(kek, "verifier", span_str(j->seed), text);
    sha256(span_str(text), digest);
    buf_init_fixed(&out, challenge, sizeof(challenge));
    base64url_encode(span_of(digest, sizeof(digest)), &out);
    challenge[out.len] = '\0';
    put_field(url, "code_challenge", challenge);
    put_field(url, "code_challenge_method", "S256");
}

static void make_seed(struct journey *j)
{
    unsigned char bytes[SHA256_LEN];
    struct buf out;

    random_bytes(bytes, sizeof(bytes));
    buf_init_fixed(&out, j->seed, sizeof(j->seed));
    base64url_encode(span_of(bytes, sizeof(bytes)), &out);
    j->seed[out.len] = '\0';
}

static int send_there(struct call *c, struct provider *p, struct journey *j, const char *endpoint)
{
    AUTO(buf_deinit) struct buf url, ticket;
    int r;

    buf_init_heap(&url, RESPONSE_LOCATION_MAX - 1);
    buf_init_heap(&ticket, 1024);
    j->provider = p->object->id;
    j->end_ms = (int64_t)store_now_ms(c->api->options.store) + SIGN_IN_MS;
    make_seed(j);
    put_url(c, p, j, endpoint, &url);
    r = journey_write(c, j, &ticket);
    if (r || buf_error(&url))
        return r ? r : buf_error(&url);
    response_header(c->res, "Set-Cookie", "%s=%s; Path=/; Max-Age=%lld; Secure; HttpOnly; SameSite=Lax",
                    COOKIE_SIGN_IN, buf_text(&ticket), SIGN_IN_MS / 1000);
    response_redirect(c->res, 302, buf_span(&url));
    return 0;
}

static int sign_in(struct call *c)
{
    AUTO(provider_deinit) struct provider p;
    struct journey j = { .port = 0 };
    struct oidc_answer answer;
    struct oidc_ask ask;
    int r;

    provider_init(&p);
    r = provider_load(c, &p);
    if (!r)
        r = read_query(c, &j);
    if (r)
        return r;
    ask = provider_ask(&p);
    r = provider_wait(c, c->req->id, &ask, &answer);
    return r ? r : send_there(c, &p, &j, answer.authorization_endpoint);
}

void on_sign_in(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, sign_in);
}
