#include "controlplane/oidc/oidc_internal.h"
#include "lib/base/encode.h"
#include "lib/crypto/digest.h"
#include <errno.h>
#include <string.h>

#define CONNECT_MS 5000L

static size_t limit_of(enum fetch_kind kind)
{
    static const size_t limits[FETCH_KIND_COUNT] = {
        [FETCH_METADATA] = OIDC_METADATA_MAX, [FETCH_KEYS] = JWKS_TEXT_MAX, [FETCH_TOKEN] = OIDC_TOKEN_MAX,
    };

    return limits[kind];
}

void oidc_escape(const char *text, struct buf *out)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool is_plain = ((c | 32) >= 'a' && (c | 32) <= 'z') || (c >= '0' && c <= '9') || strchr("-._~", c);

        if (is_plain)
            buf_put_u8(out, c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct fetch *f = arg;

    buf_put(&f->body, p, size * n);
    return buf_error(&f->body) ? 0 : size * n;
}

static bool add_header(struct fetch *f, const char *line)
{
    struct curl_slist *headers = curl_slist_append(f->headers, line);

    f->headers = headers ? headers : f->headers;
    return headers != NULL;
}

/* Where the own CA is given, nobody else's word counts. */
static CURLcode set_trust(CURL *e, const char *ca_pem)
{
    struct curl_blob blob = { (void *)(uintptr_t)ca_pem, strlen(ca_pem), CURL_BLOB_COPY };

    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (!blob.len)
        return CURLE_OK;
    curl_easy_setopt(e, CURLOPT_CAINFO, NULL);
    curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
    return curl_easy_setopt(e, CURLOPT_CAINFO_BLOB, &blob);
}

static void set_policy(const struct oidc *o, struct fetch *f)
{
    CURL *e = f->easy;

    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)o->options.timeout_ms);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl_easy_setopt(e, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)limit_of(f->kind));
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, f->error);
    curl_easy_setopt(e, CURLOPT_PRIVATE, f);
}

static bool set_up(const struct oidc *o, struct fetch *f, const char *url, struct span body)
{
    set_policy(o, f);
    if (set_trust(f->easy, f->known->ca_pem) || curl_easy_setopt(f->easy, CURLOPT_URL, url) ||
        !add_header(f, "Accept: application/json"))
        return false;
    if (!body.p)
        return true;
    curl_easy_setopt(f->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
    return !curl_easy_setopt(f->easy, CURLOPT_COPYPOSTFIELDS, body.p) &&
           add_header(f, "Content-Type: application/x-www-form-urlencoded") && add_header(f, "Expect:");
}

int fetch_new(struct oidc *o, struct known *known, enum fetch_kind kind, const char *url, struct span body,
              struct fetch **ret_fetch)
{
    struct fetch *f = calloc(1, sizeof(*f));

    if (!f)
        return -ENOMEM;
    f->kind = kind;
    f->known = known;
    known->users++;
    buf_init_heap(&f->body, limit_of(kind));
    list_append(&o->fetches, &f->node);
    f->easy = curl_easy_init();
    if (!f->easy || !set_up(o, f, url, body)) {
        fetch_free(o, f);
        return -ENOMEM;
    }
    o->stats.fetches++;
    *ret_fetch = f;
    return 0;
}

/* RFC 6749 section 2.3.1: both are escaped as in a form first. */
int fetch_add_basic(struct fetch *f, const char *user, const char *secret)
{
    AUTO(buf_deinit) struct buf plain, line;
    bool is_added;

    buf_init_heap(&plain, 8192);
    buf_init_heap(&line, 16384);
    oidc_escape(user, &plain);
    buf_put_u8(&plain, ':');
    oidc_escape(secret, &plain);
    buf_put_str(&line, "Authorization: Basic ");
    base64_encode(buf_span(&plain), &line);
    is_added = !buf_error(&plain) && !buf_error(&line) && add_header(f, buf_text(&line));
    secret_wipe(plain.data, plain.len);
    secret_wipe(line.data, line.len);
    return is_added ? 0 : -ENOMEM;
}

void fetch_start_all(struct oidc *o)
{
    LIST_EACH(&o->fetches, node) {
        struct fetch *f = container_of(node, struct fetch, node);

        if (f->is_started)
            continue;
        f->is_started = true;
        curl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, f->headers);
        if (curl_multi_add_handle(o->multi, f->easy))
            fetch_ended(o, f, "out of memory", 0);
    }
}

void fetch_free(struct oidc *o, struct fetch *f)
{
    if (f->is_started)
        curl_multi_remove_handle(o->multi, f->easy);
    curl_easy_cleanup(f->easy);
    curl_slist_free_all(f->headers);
    if (f->body.len)
        secret_wipe(f->body.data, f->body.len);
    buf_deinit(&f->body);
    if (f->asked)
        f->asked->fetch = NULL;
    f->known->users--;
    list_remove(&f->node);
    free(f);
}
