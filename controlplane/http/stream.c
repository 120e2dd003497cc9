#include "controlplane/http/stream.h"
#include "controlplane/http/server_internal.h"
#include "lib/crypto/digest.h"

#include <stdatomic.h>

/*
 * Who holds it: the exchange until its connection is done with it, the library's response, and
 * whoever writes.  `lock` stands below the server's and above that of the deadlines; the library
 * calls us with none of ours held.
 */
struct stream {
    struct list node;           /* of the server; its lock */
    _Atomic unsigned refs;
    struct server *server;
    pthread_mutex_t lock;       /* all below */
    struct exchange *x;         /* NULL: the connection is over */
    struct buf waiting;
    size_t sent, waiting_max;   /* sent: of what waits */
    bool is_suspended, is_ending;
    struct request asked;       /* who asked and how, as it came; does not change */
    struct kept_header kept[KEPT_HEADERS];
};

static const char *const kept_names[KEPT_HEADERS] = { "Authorization", "Cookie" };

#define LAST_ROOM 4096          /* for stream_end(), beyond waiting_max */

struct stream *stream_ref(struct stream *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void stream_unref(struct stream *s)
{
    if (atomic_fetch_sub(&s->refs, 1) > 1)
        return;
    pthread_mutex_destroy(&s->lock);
    buf_deinit(&s->waiting);
    for (size_t i = 0; i < KEPT_HEADERS; i++) {
        if (s->kept[i].value)
            secret_wipe(s->kept[i].value, strlen(s->kept[i].value));
        free(s->kept[i].value);
    }
    free(s);
}

/* What belongs to the connection goes with it: who he is must be told from copies. */
static bool keep_request(struct stream *s, const struct request *req)
{
    s->asked = (struct request){ .route = req->route, .method = "GET", .peer = req->peer };
    memcpy(s->asked.trace_id, req->trace_id, sizeof(s->asked.trace_id));
    for (size_t i = 0; i < KEPT_HEADERS; i++) {
        struct span value = request_header(req, kept_names[i]);

        s->kept[i].name = kept_names[i];
        s->kept[i].value = value.p ? span_dup(value) : NULL;
        if (value.p && !s->kept[i].value)
            return false;
    }
    return true;
}

static struct stream *stream_new(struct exchange *x, size_t waiting_max)
{
    struct stream *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    list_init(&s->node);
    atomic_store(&s->refs, 1);
    s->server = x->server;
    s->x = x;
    s->waiting_max = waiting_max;
    buf_init_heap(&s->waiting, waiting_max + LAST_ROOM);
    pthread_mutex_init(&s->lock, NULL);
    if (keep_request(s, &x->req))
        return s;
    stream_unref(s);
    return NULL;
}

/* False: there is no room. */
static bool admit(struct server *server, struct stream *s)
{
    bool has_room;

    pthread_mutex_lock(&server->lock);
    has_room = !server->is_draining && server->stream_count < server->options.streams_max;
    if (has_room) {
        list_append(&server->streams, &s->node);
        server->stream_count++;
    }
    pthread_mutex_unlock(&server->lock);
    return has_room;
}

struct stream *response_stream(struct request *req, struct response *res, const char *content_type,
                               size_t waiting_max)
{
    struct exchange *x = req->server_private;
    struct stream *s = stream_new(x, waiting_max);

    if (!s) {
        response_fail(res, -ENOMEM);
        return NULL;
    }
    if (!admit(x->server, s)) {
        stream_unref(s);
        res->problem.retry_after_s = 5;
        response_problem(res, REASON_OVERLOAD, "too many streams of events");
        return NULL;
    }
    x->stream = stream_ref(s);
    res->status = 200;
    res->content_type = content_type;
    response_header(res, "X-Accel-Buffering", "no");
    return s;
}

/* With the lock held. */
static void resume(struct stream *s)
{
    if (!s->is_suspended || !s->x)
        return;
    s->is_suspended = false;
    MHD_resume_connection(s->x->connection);
}

static int write_locked(struct stream *s, struct span text)
{
    if (!s->x || s->is_ending)
        return STREAM_E_GONE;
    if (text.n > s->waiting_max - (s->waiting.len - s->sent))
        return STREAM_E_FULL;
    buf_shift(&s->waiting, s->sent);
    s->sent = 0;
    buf_put_span(&s->waiting, text);
    if (buf_error(&s->waiting))
        return STREAM_E_FULL;
    resume(s);
    return 0;
}

int stream_write(struct stream *s, struct span text)
{
    int r;

    pthread_mutex_lock(&s->lock);
    r = write_locked(s, text);
    pthread_mutex_unlock(&s->lock);
    return r;
}

static void end_locked(struct stream *s, struct span last)
{
    if (s->is_ending)
        return;
    buf_shift(&s->waiting, s->sent);
    s->sent = 0;
    buf_put_span(&s->waiting, span_first(last, LAST_ROOM));
    s->is_ending = true;
    if (s->x)
        deadline_set(s->server, s->x->connection, STREAM_END_MS);
    resume(s);
}

void stream_end(struct stream *s, struct span last)
{
    pthread_mutex_lock(&s->lock);
    end_locked(s, last);
    pthread_mutex_unlock(&s->lock);
}

bool stream_is_gone(struct stream *s)
{
    bool is_gone;

    pthread_mutex_lock(&s->lock);
    is_gone = !s->x || s->is_ending;
    pthread_mutex_unlock(&s->lock);
    return is_gone;
}

/* No lock is held: asking the store may take long, and the connection goes on, or goes, meanwhile. */
enum reason stream_authenticate(struct stream *s, struct principal *ret_principal)
{
    const struct server_hooks *hooks = &s->server->options.hooks;
    AUTO(freep) struct exchange *x = calloc(1, sizeof(*x));
    struct response res = { .status = 0 };

    if (!x)
        return REASON_OVERLOAD;
    x->server = s->server;
    x->kept = s->kept;
    x->req = s->asked;
    x->req.server_private = x;
    if (!hooks->authenticate(hooks->ctx, &x->req, &res) && res.problem.reason == REASON_NONE)
        res.problem.reason = REASON_UNAUTHENTICATED;
    *ret_principal = x->req.principal;
    buf_deinit(&res.body);
    buf_deinit(&res.extra);
    return res.problem.reason;
}

/* ---- for the rest of the room ---- */

static ssize_t on_read(void *cls, uint64_t at, char *dst, size_t max)
{
    struct stream *s = cls;
    ssize_t n;

    (void)at;
    pthread_mutex_lock(&s->lock);
    n = (ssize_t)(s->waiting.len - s->sent < max ? s->waiting.len - s->sent : max);
    if (n) {
        memcpy(dst, s->waiting.data + s->sent, (size_t)n);
        s->sent += (size_t)n;
    } else if (s->is_ending || !s->x) {
        n = MHD_CONTENT_READER_END_OF_STREAM;
    } else if (!s->is_suspended) {
        s->is_suspended = true;
        MHD_suspend_connection(s->x->connection);
    }
    pthread_mutex_unlock(&s->lock);
    return n;
}

static void on_free(void *cls)
{
    stream_unref(cls);
}

struct MHD_Response *stream_response(struct stream *s)
{
    struct MHD_Response *out = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, on_read, s, on_free);

    if (out)
        stream_ref(s);
    return out;
}

void stream_detach(struct stream *s)
{
    struct server *server = s->server;

    pthread_mutex_lock(&server->lock);
    server->stream_count -= !list_is_empty(&s->node);
    list_remove(&s->node);
    pthread_mutex_unlock(&server->lock);
    pthread_mutex_lock(&s->lock);
    s->x = NULL;
    pthread_mutex_unlock(&s->lock);
    stream_unref(s);
}

void streams_end_all(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    LIST_EACH(&server->streams, node)
        stream_end(container_of(node, struct stream, node), SPAN_NONE);
    pthread_mutex_unlock(&server->lock);
}
