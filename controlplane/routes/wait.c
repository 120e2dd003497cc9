#include "controlplane/routes/wait.h"
#include <stdio.h>

struct waiting {
    struct list node;
    char trace_id[33];
    struct wait_for what;
    unsigned status;
    struct buf body;
    size_t header_count;
    struct {
        char name[32], value[512];
    } headers[RESPONSE_HEADERS_MAX];
};

static void waiting_free(struct waiting *k)
{
    buf_deinit(&k->body);
    free(k);
}

void waits_init(struct waits *w)
{
    pthread_mutex_init(&w->lock, NULL);
    list_init(&w->kept);
    w->count = 0;
}

void waits_deinit(struct waits *w)
{
    LIST_EACH(&w->kept, node) {
        list_remove(node);
        waiting_free(container_of(node, struct waiting, node));
    }
    pthread_mutex_destroy(&w->lock);
}

static struct waiting *copy_of(const struct request *req, const struct response *res,
                               const struct wait_for *what)
{
    struct waiting *k = calloc(1, sizeof(*k));

    if (!k)
        return NULL;
    buf_init_heap(&k->body, res->body.len ? res->body.len : 1);
    buf_put_span(&k->body, buf_span(&res->body));
    snprintf(k->trace_id, sizeof(k->trace_id), "%s", req->trace_id);
    k->what = *what;
    k->status = res->status;
    k->header_count = res->header_count;
    for (size_t i = 0; i < res->header_count; i++) {
        snprintf(k->headers[i].name, sizeof(k->headers[i].name), "%s", res->headers[i].name);
        snprintf(k->headers[i].value, sizeof(k->headers[i].value), "%s", res->headers[i].value);
    }
    if (!buf_error(&k->body))
        return k;
    waiting_free(k);
    return NULL;
}

bool waits_keep(struct waits *w, const struct request *req, const struct response *res,
                const struct wait_for *what)
{
    struct waiting *k = copy_of(req, res, what);
    bool is_kept = false;

    if (!k)
        return false;
    pthread_mutex_lock(&w->lock);
    if (w->count < WAITS_MAX) {
        list_append(&w->kept, &k->node);
        w->count++;
        is_kept = true;
    }
    pthread_mutex_unlock(&w->lock);
    if (!is_kept)
        waiting_free(k);
    return is_kept;
}

static struct waiting *take(struct waits *w, const char *trace_id)
{
    struct waiting *found = NULL;

    pthread_mutex_lock(&w->lock);
    LIST_EACH(&w->kept, node) {
        struct waiting *k = container_of(node, struct waiting, node);

        if (!found && span_eq(span_str(k->trace_id), span_str(trace_id))) {
            list_remove(node);
            w->count--;
            found = k;
        }
    }
    pthread_mutex_unlock(&w->lock);
    return found;
}

bool waits_take(struct waits *w, const struct request *req, struct response *res,
                struct wait_for *ret_what)
{
    struct waiting *k = take(w, req->trace_id);

    if (!k)
        return false;
    res->status = k->status;
    buf_clear(&res->body);
    buf_put_span(&res->body, buf_span(&k->body));
    for (size_t i = 0; i < k->header_count; i++)
        response_header(res, k->headers[i].name, "%s", k->headers[i].value);
    *ret_what = k->what;
    waiting_free(k);
    return true;
}
