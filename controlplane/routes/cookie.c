#include "controlplane/routes/cookie.h"
#include "controlplane/http/server.h"
#include "lib/base/encode.h"
#include "lib/crypto/digest.h"
#include <stdio.h>
#include <string.h>

bool cookie_get(const struct request *req, const char *name, struct span *ret_value)
{
    struct span rest = request_header(req, "Cookie"), one, key;
    size_t count = 0;

    while (span_cut(&rest, ';', &one)) {
        one = span_trim(one);
        if (!span_cut(&one, '=', &key) || !one.p || !span_eq(key, span_str(name)))
            continue;
        *ret_value = one;
        count++;
    }
    return count == 1;
}

void cookie_put_session(struct response *res, struct span token, int64_t life_s)
{
    response_header(res, "Set-Cookie", "%s=%.*s; Path=/; Max-Age=%lld; Secure; HttpOnly; SameSite=Strict",
                    COOKIE_SESSION, (int)token.n, token.p, (long long)life_s);
}

void csrf_token(struct span session_token, char ret_text[CSRF_TOKEN_MAX])
{
    unsigned char mac[SHA256_LEN];
    struct buf out;

    hmac_sha256(session_token, SPAN("adit csrf"), mac);
    buf_init_fixed(&out, ret_text, CSRF_TOKEN_MAX);
    base64url_encode(span_of(mac, sizeof(mac)), &out);
    ret_text[out.len] = '\0';
}

static bool is_safe(const struct request *req)
{
    return strcmp(req->method, "GET") == 0 || strcmp(req->method, "HEAD") == 0;
}

/* The address that the page came from: ours by name, or the one that this request was sent to. */
static bool is_own_origin(const struct request *req, const char *public_url)
{
    struct span origin = request_header(req, "Origin"), host = request_header(req, "Host");

    if (public_url && span_eq(origin, span_str(public_url)))
        return true;
    return host.n && span_starts(origin, SPAN("https://")) && span_eq(span_skip(origin, 8), host);
}

const char *csrf_objection(const struct request *req, struct span session_token, const char *public_url)
{
    char token[CSRF_TOKEN_MAX];

    if (is_safe(req))
        return NULL;
    csrf_token(session_token, token);
    if (!is_own_origin(req, public_url))
        return "a change by a session cookie must come from this origin";
    if (!span_eq_secret(request_header(req, "X-CSRF-Token"), span_str(token)))
        return "a change by a session cookie needs X-CSRF-Token, as GET /me tells it";
    return NULL;
}
