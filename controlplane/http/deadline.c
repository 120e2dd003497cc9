#include "controlplane/http/server_internal.h"
#include "lib/log/log.h"

#include <string.h>
#include <sys/socket.h>

/*
 * The library's own time-out begins anew with every byte; whoever sends one now and then would
 * stay for ever.  So each connection has a deadline for what it is at, and is shut down when
 * that passes: the library sees its end and closes it.
 */
#define LOOK_MS 250
#define CUT_MAX 64              /* at one look; the next comes at once when it was as many */

struct deadline {
    struct list node;
    int fd;                     /* the library closes it after on_connection(CLOSED) */
    struct addr peer;
    uint64_t until_ms;          /* 0: it is for us to act */
};

void deadlines_init(struct deadlines *all)
{
    pthread_mutex_init(&all->lock, NULL);
    list_init(&all->list);
}

/* The library has told of each connection's end. */
void deadlines_deinit(struct deadlines *all)
{
    pthread_mutex_destroy(&all->lock);
}

static void connection_begins(struct server *server, struct MHD_Connection *connection, void **context)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    int fd = info ? info->connect_fd : -1;
    struct deadline *d = calloc(1, sizeof(*d));

    if (!d) {
        shutdown(fd, SHUT_RDWR);
        return;
    }
    d->fd = fd;
    d->peer = connection_peer(connection);
    d->until_ms = monotonic_us() / 1000 + server->options.head_ms;
    *context = d;
    pthread_mutex_lock(&server->deadlines.lock);
    list_append(&server->deadlines.list, &d->node);
    pthread_mutex_unlock(&server->deadlines.lock);
}

static void connection_ends(struct server *server, struct deadline *d)
{
    pthread_mutex_lock(&server->deadlines.lock);
    list_remove(&d->node);
    pthread_mutex_unlock(&server->deadlines.lock);
    free(d);
}

void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                   enum MHD_ConnectionNotificationCode what)
{
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        connection_begins(cls, connection, context);
    else if (*context)
        connection_ends(cls, *context);
}

void deadline_set(struct server *server, struct MHD_Connection *connection, uint64_t ms)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct deadline *d = info ? info->socket_context : NULL;

    if (!d)
        return;
    pthread_mutex_lock(&server->deadlines.lock);
    d->until_ms = ms ? monotonic_us() / 1000 + ms : 0;
    pthread_mutex_unlock(&server->deadlines.lock);
}

static size_t cut_late(struct deadlines *deadlines, uint64_t now_ms, struct addr peers[CUT_MAX])
{
    size_t n = 0;

    pthread_mutex_lock(&deadlines->lock);
    LIST_EACH(&deadlines->list, node) {
        struct deadline *d = container_of(node, struct deadline, node);

        if (!d->until_ms || d->until_ms > now_ms)
            continue;
        if (n == CUT_MAX)
            break;
        shutdown(d->fd, SHUT_RDWR);
        d->until_ms = 0;
        peers[n++] = d->peer;
    }
    pthread_mutex_unlock(&deadlines->lock);
    return n;
}

/* There is no request, or no whole one: it is counted, logged and audited by its address. */
static void tell_late(struct server *server, const struct addr *peer)
{
    const struct server_hooks *hooks = &server->options.hooks;
    const struct request req = { .method = "", .peer = *peer };
    const struct response res = { .problem = { .reason = REASON_REQUEST_TIMEOUT } };
    char text[ADDR_TEXT_MAX];

    LOG(INFO, "http.late", S("listener", server->options.name), S("reason", reason_text(REASON_REQUEST_TIMEOUT)),
        S("peer", addr_format(peer, text)));
    if (hooks->refused)
        hooks->refused(hooks->refused_ctx, &req, &res);
    pthread_mutex_lock(&server->lock);
    server->stats.late++;
    server->stats.by_reason[REASON_REQUEST_TIMEOUT]++;
    pthread_mutex_unlock(&server->lock);
}

void deadlines_look(struct server *server)
{
    struct addr peers[CUT_MAX];
    uint64_t now_ms = monotonic_us() / 1000;
    size_t n;

    if (now_ms < server->deadlines.look_ms)
        return;
    n = cut_late(&server->deadlines, now_ms, peers);
    server->deadlines.look_ms = n == CUT_MAX ? now_ms : now_ms + LOOK_MS;
    for (size_t i = 0; i < n; i++)
        tell_late(server, &peers[i]);
}
