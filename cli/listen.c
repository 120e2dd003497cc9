#include "cli/api_internal.h"

#include <errno.h>
#include <string.h>

/* Server-sent events: lines of "field: value", an empty line ends an event. */
enum { SILENCE_S = 45, LINE_MAX_BYTES = 1024 * 1024 };

struct ear {
    struct api *a;
    api_event_fn fn;
    void *ctx;
    struct buf line, data;
    char name[32], id[64];
    bool is_over;
};

static void take_field(struct ear *e, struct span line)
{
    struct span field;

    if (!span_cut(&line, ':', &field) || !line.p)
        return;
    if (span_starts(line, SPAN(" ")))
        line = span_skip(line, 1);
    if (span_eq(field, SPAN("event")))
        (void)span_copy(line, e->name, sizeof(e->name));
    else if (span_eq(field, SPAN("id")))
        (void)span_copy(line, e->id, sizeof(e->id));
    else if (span_eq(field, SPAN("data")))
        buf_put_span(&e->data, line);
}

static void take_line(struct ear *e, struct span line)
{
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    if (line.n) {
        take_field(e, line);
        return;
    }
    if (e->data.len && !buf_error(&e->data))
        e->is_over = e->fn(e->ctx, span_str(e->name), span_str(e->id), buf_span(&e->data)) != 0;
    buf_clear(&e->data);
    e->name[0] = '\0';
}

static size_t on_bytes(char *data, size_t size, size_t n, void *user)
{
    struct ear *e = user;
    long status = 0;

    curl_easy_getinfo(e->a->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {
        buf_put(&e->a->answer, data, size * n);
        return buf_error(&e->a->answer) ? 0 : size * n;
    }
    for (size_t i = 0; i < size * n && !e->is_over; i++) {
        if (data[i] != '\n') {
            buf_put_u8(&e->line, (uint8_t)data[i]);
            continue;
        }
        take_line(e, buf_span(&e->line));
        buf_clear(&e->line);
    }
    return e->is_over || buf_error(&e->line) ? 0 : size * n;
}

static int make_headers(const struct api *a, const char *last_id, struct curl_slist **ret_headers)
{
    char line[128];
    int r = api_header(ret_headers, "Accept: text/event-stream");

    if (!r && a->authorization[0])
        r = api_header(ret_headers, a->authorization);
    if (!r && last_id[0])
        r = (size_t)snprintf(line, sizeof(line), "Last-Event-ID: %s", last_id) < sizeof(line)
                ? api_header(ret_headers, line) : -EINVAL;
    return r;
}

static int perform(struct ear *e, const char *path, const char *last_id, struct buf *reterr)
{
    struct api *a = e->a;
    struct curl_slist *headers = NULL;
    CURLcode code = CURLE_OUT_OF_MEMORY;
    int r = api_set_url(a, path);

    if (!r)
        r = make_headers(a, last_id, &headers);
    if (!r) {
        curl_easy_setopt(a->curl, CURLOPT_HTTPGET, 1L);
        curl_easy_setopt(a->curl, CURLOPT_CUSTOMREQUEST, "GET");
        curl_easy_setopt(a->curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(a->curl, CURLOPT_WRITEFUNCTION, on_bytes);
        curl_easy_setopt(a->curl, CURLOPT_WRITEDATA, e);
        curl_easy_setopt(a->curl, CURLOPT_TIMEOUT_MS, 0L);
        curl_easy_setopt(a->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(a->curl, CURLOPT_LOW_SPEED_TIME, (long)SILENCE_S);
        code = curl_easy_perform(a->curl);
    }
    curl_slist_free_all(headers);
    if (code == CURLE_OK || e->is_over)
        return 0;
    buf_printf(reterr, "%s: %s", a->url, a->error[0] ? a->error : curl_easy_strerror(code));
    return -EIO;
}

int api_listen(struct api *a, const char *path, const char *last_id, api_event_fn fn, void *ctx,
               struct api_answer *ret_answer, struct buf *reterr)
{
    struct ear e = { .a = a, .fn = fn, .ctx = ctx };
    int r;

    buf_init_heap(&e.line, LINE_MAX_BYTES);
    buf_init_heap(&e.data, LINE_MAX_BYTES);
    buf_clear(&a->answer);
    a->error[0] = '\0';
    a->head = (struct api_answer){ 0 };
    r = perform(&e, path, last_id, reterr);
    if (!r)
        api_take_answer(a, ret_answer);
    buf_deinit(&e.line);
    buf_deinit(&e.data);
    return r;
}
