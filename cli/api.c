#include "cli/api_internal.h"

#include "lib/base/addr.h"
#include "lib/crypto/file.h"

#include <errno.h>
#include <string.h>

enum { CALL_MS = 10000, CONNECT_MS = 3000, ANSWER_MAX = 64 * 1024 * 1024 };

static size_t on_body(char *data, size_t size, size_t n, void *user)
{
    struct api *a = user;

    buf_put(&a->answer, data, size * n);
    return buf_error(&a->answer) ? 0 : size * n;
}

static bool is_loopback(const char *url)
{
    const char *scheme_end = strstr(url, "://");
    const char *begin = scheme_end ? scheme_end + 3 : url;
    struct span host;
    struct addr addr;
    uint16_t port;

    if (!authority_parse(span_of(begin, strcspn(begin, "/?#")), 443, &host, &port))
        return false;
    if (addr_parse(host, &addr))
        return addr_is_v4(&addr) ? addr.ip[12] == 127 : addr_eq(&addr, &(struct addr){ .ip[15] = 1 });
    return span_eq(host, SPAN("localhost"));
}

int api_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);

    if (!longer)
        return -ENOMEM;
    *list = longer;
    return 0;
}

/* The header lines of one call; the caller frees them. */
static int make_headers(const struct api *a, const struct api_request *request,
                        struct curl_slist **ret_headers)
{
    bool is_patch = strcmp(request->method, "PATCH") == 0;
    struct curl_slist *list = NULL;
    char line[160];
    int r = api_header(&list, "Accept: application/json");

    if (!r && a->authorization[0])
        r = api_header(&list, a->authorization);
    if (!r && request->body.n)
        r = api_header(&list, is_patch ? "Content-Type: application/merge-patch+json"
                                   : "Content-Type: application/json");
    if (!r && request->if_match)
        r = (size_t)snprintf(line, sizeof(line), "If-Match: %s", request->if_match) < sizeof(line)
                ? api_header(&list, line) : -EINVAL;
    if (r)
        curl_slist_free_all(list);
    else
        *ret_headers = list;
    return r;
}

/* "ETag: …" and "Adit-Revision: …"; a new status line begins anew. */
static size_t on_header(char *data, size_t size, size_t n, void *user)
{
    struct api *a = user;
    struct span line = span_trim(span_of(data, size * n)), name;
    uint64_t revision;

    while (line.n && (line.p[line.n - 1] == '\r' || line.p[line.n - 1] == '\n'))
        line.n--;
    if (!span_cut(&line, ':', &name))
        return size * n;
    line = span_trim(line);
    if (span_eq_nocase(name, SPAN("etag")))
        (void)span_copy(line, a->head.etag, sizeof(a->head.etag));
    else if (span_eq_nocase(name, SPAN("adit-revision")) && span_to_u64(line, INT64_MAX, &revision))
        a->head.revision = (int64_t)revision;
    return size * n;
}

static void set_up(struct api *a, const char *url, const char *ca_file, bool has_token)
{
    /* A token in the clear goes to this machine alone. */
    curl_easy_setopt(a->curl, CURLOPT_PROTOCOLS_STR, has_token && !is_loopback(url) ? "https" : "https,http");
    curl_easy_setopt(a->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(a->curl, CURLOPT_TIMEOUT_MS, (long)CALL_MS);
    curl_easy_setopt(a->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(a->curl, CURLOPT_USERAGENT, "adit");
    curl_easy_setopt(a->curl, CURLOPT_ERRORBUFFER, a->error);
    curl_easy_setopt(a->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(a->curl, CURLOPT_WRITEDATA, a);
    curl_easy_setopt(a->curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(a->curl, CURLOPT_HEADERDATA, a);
    if (ca_file)
        curl_easy_setopt(a->curl, CURLOPT_CAINFO, ca_file);
    if (is_loopback(url))
        curl_easy_setopt(a->curl, CURLOPT_PROXY, "");
}

int api_new(const char *url, const char *ca_file, const char *token, struct api **ret_api)
{
    AUTO(api_freep) struct api *a = calloc(1, sizeof(*a));

    if (!a)
        return -ENOMEM;
    buf_init_heap(&a->answer, ANSWER_MAX);
    a->url = strdup(url);
    a->curl = curl_easy_init();
    if (!a->url || !a->curl)
        return -ENOMEM;
    if (token && (size_t)snprintf(a->authorization, sizeof(a->authorization),
                                  "Authorization: Bearer %s", token) >= sizeof(a->authorization))
        return -EINVAL;
    set_up(a, url, ca_file, token != NULL);
    *ret_api = TAKE(a);
    return 0;
}

void api_free(struct api *a)
{
    if (a->curl)
        curl_easy_cleanup(a->curl);
    explicit_bzero(a->authorization, sizeof(a->authorization));
    buf_deinit(&a->answer);
    free(a->url);
    free(a);
}

const char *api_url(const struct api *a)
{
    return a->url;
}

void api_set_timeout(struct api *a, unsigned timeout_ms)
{
    curl_easy_setopt(a->curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
}

void api_set_proxy(struct api *a, const char *proxy, const char *credential)
{
    curl_easy_setopt(a->curl, CURLOPT_PROXY, proxy);
    curl_easy_setopt(a->curl, CURLOPT_NOPROXY, "");
    curl_easy_setopt(a->curl, CURLOPT_PROXYUSERPWD, credential);
}

static void prepare(struct api *a, const struct api_request *request, struct curl_slist *headers)
{
    curl_easy_setopt(a->curl, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(a->curl, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(a->curl, CURLOPT_HTTPHEADER, headers);
    if (request->timeout_ms)
        curl_easy_setopt(a->curl, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    if (request->body.n) {
        curl_easy_setopt(a->curl, CURLOPT_POSTFIELDSIZE, (long)request->body.n);
        curl_easy_setopt(a->curl, CURLOPT_POSTFIELDS, request->body.p);
    }
}

void api_take_answer(struct api *a, struct api_answer *ret_answer)
{
    struct json_error ignored;

    curl_easy_getinfo(a->curl, CURLINFO_RESPONSE_CODE, &a->head.status);
    if (a->answer.len && json_parse(buf_span(&a->answer), &a->head.body, &ignored))
        a->head.body = NULL;    /* "ok\n" of a health page */
    *ret_answer = a->head;
    a->head.body = NULL;
}

int api_set_url(struct api *a, const char *path)
{
    char url[4096];
    int n = snprintf(url, sizeof(url), "%s%s", a->url, path);

    if (n < 0 || (size_t)n >= sizeof(url))
        return -ENAMETOOLONG;
    return curl_easy_setopt(a->curl, CURLOPT_URL, url) == CURLE_OK ? 0 : -ENOMEM;
}

int api_send(struct api *a, const struct api_request *request, struct api_answer *ret_answer,
             struct buf *reterr)
{
    struct curl_slist *headers = NULL;
    CURLcode code;
    int r;

    buf_clear(&a->answer);
    a->error[0] = '\0';
    a->head = (struct api_answer){ 0 };
    r = api_set_url(a, request->path);
    if (!r)
        r = make_headers(a, request, &headers);
    if (r) {
        buf_put_str(reterr, r == -ENOMEM ? "out of memory" : "the path is too long");
        return r;
    }
    prepare(a, request, headers);
    code = curl_easy_perform(a->curl);
    curl_slist_free_all(headers);
    if (code != CURLE_OK) {
        buf_printf(reterr, "%s: %s", a->url, a->error[0] ? a->error : curl_easy_strerror(code));
        return -EIO;
    }
    api_take_answer(a, ret_answer);
    return 0;
}

int api_call(struct api *a, const char *method, const char *path, struct span body,
             struct api_answer *ret_answer, struct buf *reterr)
{
    bool changes = strcmp(method, "PATCH") == 0 || strcmp(method, "DELETE") == 0;

    return api_send(a, &(struct api_request){ .method = method, .path = path, .body = body,
                                              .if_match = changes ? "*" : NULL },
                    ret_answer, reterr);
}

void api_answer_deinit(struct api_answer *answer)
{
    if (answer->body)
        json_value_free(answer->body);
    answer->body = NULL;
}

bool api_is_ok(const struct api_answer *answer)
{
    return answer->status >= 200 && answer->status < 300;
}

void api_problem(const struct api_answer *answer, struct buf *out)
{
    struct span reason, detail = SPAN_NONE, pointer, message, cure;
    const struct json_value *errors, *first;

    if (!answer->body || !json_get_str(answer->body, "reason", &reason)) {
        buf_printf(out, "status %ld", answer->status);
        return;
    }
    buf_put_span(out, reason);
    if (json_get_str(answer->body, "detail", &detail) && detail.n)
        buf_printf(out, ": " SPAN_FMT, SPAN_ARG(detail));
    errors = json_get(answer->body, "errors");
    first = errors ? json_at(errors, 0) : NULL;
    if (!detail.n && first && json_get_str(first, "pointer", &pointer) && json_get_str(first, "message", &message))
        buf_printf(out, ": " SPAN_FMT " " SPAN_FMT, SPAN_ARG(pointer), SPAN_ARG(message));
    else if (!detail.n && json_get_str(answer->body, "title", &message))
        buf_printf(out, ": " SPAN_FMT, SPAN_ARG(message));
    if (!first && json_get_str(answer->body, "cure", &cure) && cure.n)
        buf_printf(out, "\n  what to do: " SPAN_FMT, SPAN_ARG(cure));
}

int api_token_read(const char *path, struct buf *out)
{
    char mem[4096];
    struct buf text;
    const char *token;
    int r;

    buf_init_fixed(&text, mem, sizeof(mem) - 1);
    r = file_read(path, sizeof(mem) - 1, &text);
    if (r)
        return r;
    token = strstr(buf_text(&text), "adit_");
    if (token)
        buf_put(out, token, strspn(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"));
    explicit_bzero(mem, sizeof(mem));
    return token ? buf_error(out) : -EBADMSG;
}

void api_escape(struct span text, struct buf *out)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];

        if (strchr("-._~", c) ? c != 0 : ((c | 32) >= 'a' && (c | 32) <= 'z') || (c >= '0' && c <= '9'))
            buf_put_u8(out, c);
        else
            buf_printf(out, "%%%02X", c);
    }
}
