#include "lib/tunnel/server/server_internal.h"

#include <errno.h>
#include <pthread.h>

#define LINKS_MAX 20000
#define HANDSHAKES_MAX 1000
#define HANDSHAKES_PER_S 500
#define HANDSHAKE_MS 10000
#define RETRY_AFTER_MAX_S 30
#define HEAD_BYTES 8192
#define HEADS_AT_A_TIME 256
#define LWS_DEADLINE_S 20       /* of its own phases; ours is shorter */

/* libwebsockets initialises global state when a context is made or ended. */
static pthread_mutex_t lws_lock = PTHREAD_MUTEX_INITIALIZER;

static void set_defaults(struct tunnel_server_config *c)
{
    if (!c->links_max)
        c->links_max = LINKS_MAX;
    if (!c->handshakes_max)
        c->handshakes_max = HANDSHAKES_MAX;
    if (!c->handshakes_per_s)
        c->handshakes_per_s = HANDSHAKES_PER_S;
    if (!c->handshake_ms)
        c->handshake_ms = HANDSHAKE_MS;
}

static int make_context(struct tunnel_server *s)
{
    void *loops[1] = { loop_uv(s->config.loop) };
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                   LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS,
        .foreign_loops = loops,
        .protocols = server_protocols,
        .pt_serv_buf_size = SERVER_MESSAGE_OUT_MAX + 16,
        .max_http_header_data = HEAD_BYTES,
        .max_http_header_pool = HEADS_AT_A_TIME,
        .timeout_secs = LWS_DEADLINE_S,
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
    };

    info.provided_client_ssl_ctx = s->no_client;
    s->context = lws_create_context(&info);
    if (!s->context)
        return -EIO;
    info.user = s;
    if (s->config.tls)
        info.options |= LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX;
    s->vhost = lws_create_vhost(s->context, &info);
    return s->vhost ? 0 : -EIO;
}

/* A context on a foreign loop is destroyed twice: once to close its handles, and once more
 * when the loop has closed them. */
static void destroy_context(struct tunnel_server *s)
{
    pthread_mutex_lock(&lws_lock);
    if (s->context)
        lws_context_destroy(s->context);
    pthread_mutex_unlock(&lws_lock);
}

static void on_loop_end(struct loop_end *end)
{
    struct tunnel_server *s = container_of(end, struct tunnel_server, end);

    destroy_context(s);
    free(s->scratch);
    free(s->records);
    SSL_CTX_free(s->no_client);
    free(s);
}

static void tokens_init(struct server_tokens *t, uint32_t per_s, uint64_t now_ms)
{
    *t = (struct server_tokens){ .milli = (uint64_t)per_s * 1000, .at_ms = now_ms, .per_s = per_s };
}

int tunnel_server_new(const struct tunnel_server_config *config, struct tunnel_server **ret_server)
{
    struct tunnel_server *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return -ENOMEM;
    s->config = *config;
    set_defaults(&s->config);
    list_init(&s->links);
    tokens_init(&s->admitted, s->config.handshakes_per_s, loop_now_ms(s->config.loop));
    tokens_init(&s->told, (s->config.handshakes_per_s + 3) / 4, loop_now_ms(s->config.loop));
    if (s->config.tls)
        tls_ctx_ref(s->config.tls);
    s->scratch = malloc(LWS_PRE + SERVER_MESSAGE_OUT_MAX);
    s->records = malloc(GATHER_BYTES);
    s->no_client = SSL_CTX_new(TLS_client_method());
    if (!s->scratch || !s->records || !s->no_client) {
        tunnel_server_free(s);
        return -ENOMEM;
    }
    pthread_mutex_lock(&lws_lock);
    lws_set_log_level(0, NULL);         /* what goes wrong is counted; libraries do not log */
    r = make_context(s);
    pthread_mutex_unlock(&lws_lock);
    if (r) {
        tunnel_server_free(s);
        return r;
    }
    *ret_server = s;
    return 0;
}

static bool take_token(struct server_tokens *t, uint64_t now_ms)
{
    uint64_t most = (uint64_t)t->per_s * 1000, gone_ms = now_ms - t->at_ms;

    t->at_ms = now_ms;
    t->milli = gone_ms >= 1000 ? most : t->milli + gone_ms * t->per_s;
    if (t->milli > most)
        t->milli = most;
    if (t->milli < 1000)
        return false;
    t->milli -= 1000;
    return true;
}

static void count_turned_away(struct tunnel_server *s, uint64_t now_ms)
{
    struct server_crowd *c = &s->crowd;

    if (c->second != now_ms / 1000) {
        c->before = c->second + 1 == now_ms / 1000 ? c->now : 0;
        c->now = 0;
        c->second = now_ms / 1000;
    }
    c->now++;
}

unsigned server_retry_after_s(const struct tunnel_server *s)
{
    uint32_t most = s->crowd.now > s->crowd.before ? s->crowd.now : s->crowd.before;
    uint32_t seconds = 1 + most / s->config.handshakes_per_s;

    return seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S;
}

static bool has_room(const struct tunnel_server *s)
{
    return !s->is_draining && s->stats.links < s->config.links_max
           && s->stats.handshakes < s->config.handshakes_max;
}

/* A storm of agents that come back must not take the time of the streams that live. */
static struct server_link *admit(struct tunnel_server *s, const struct endpoint *peer)
{
    uint64_t now_ms = loop_now_ms(s->config.loop);
    struct server_link *k = NULL;

    if (has_room(s) && take_token(&s->admitted, now_ms))
        return server_link_new(s, peer);
    count_turned_away(s, now_ms);
    if (has_room(s) && take_token(&s->told, now_ms))
        k = server_link_new(s, peer);
    if (k)
        k->is_put_off = true;
    return k;
}

void tunnel_server_adopt(struct tunnel_server *s, int fd, const struct endpoint *peer)
{
    struct server_link *k = admit(s, peer);
    struct lws *wsi;

    if (!k) {
        s->stats.refused_overload++;
        close(fd);
        return;
    }
    if (!k->is_put_off)
        s->stats.adopted++;
    wsi = lws_adopt_socket_vhost(s->vhost, fd);     /* closes it on failure */
    if (wsi)
        server_link_adopted(k, wsi);
    else
        server_link_gone(k, REASON_OVERLOAD, "");
}

void tunnel_server_drain(struct tunnel_server *s, enum reason why, uint32_t ms_left)
{
    s->is_draining = true;
    LIST_EACH(&s->links, node) {
        struct server_link *k = container_of(node, struct server_link, node);

        if (k->tunnel)
            tunnel_goaway(k->tunnel, why, "", ms_left);
    }
}

const struct tunnel_server_stats *tunnel_server_stats(const struct tunnel_server *s)
{
    return &s->stats;
}

void tunnel_server_free(struct tunnel_server *s)
{
    if (!s || s->is_freed)
        return;
    s->is_freed = true;
    while (!list_is_empty(&s->links))
        server_link_free(container_of(list_first(&s->links), struct server_link, node));
    destroy_context(s);
    if (s->config.tls)
        tls_ctx_unref(s->config.tls);
    loop_at_end(s->config.loop, &s->end, on_loop_end);
}
