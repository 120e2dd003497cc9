#include "lib/tunnel/server/server_internal.h"

#include <errno.h>

#define LINKS_MAX 20000
#define HANDSHAKES_MAX 1000
#define HANDSHAKES_PER_S 500
#define HANDSHAKE_MS 10000
#define RETRY_AFTER_MAX_S 30

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

static void tokens_init(struct server_tokens *t, uint32_t per_s, uint64_t now_ms)
{
    *t = (struct server_tokens){ .milli = (uint64_t)per_s * 1000, .at_ms = now_ms, .per_s = per_s };
}

int tunnel_server_new(const struct tunnel_server_config *config, struct tunnel_server **ret_server)
{
    struct tunnel_server *s = calloc(1, sizeof(*s));

    if (!s)
        return -ENOMEM;
    s->config = *config;
    set_defaults(&s->config);
    list_init(&s->links);
    tokens_init(&s->admitted, s->config.handshakes_per_s, loop_now_ms(s->config.loop));
    tokens_init(&s->told, (s->config.handshakes_per_s + 3) / 4, loop_now_ms(s->config.loop));
    if (s->config.tls)
        tls_ctx_ref(s->config.tls);
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
void tunnel_server_adopt(struct tunnel_server *s, int fd, const struct endpoint *peer)
{
    uint64_t now_ms = loop_now_ms(s->config.loop);
    bool is_admitted = has_room(s) && take_token(&s->admitted, now_ms);

    if (!is_admitted)
        count_turned_away(s, now_ms);
    if (!is_admitted && !(has_room(s) && take_token(&s->told, now_ms))) {
        s->stats.refused_overload++;
        close(fd);
    } else if (!server_link_new(s, fd, peer, !is_admitted, 0)) {
        s->stats.refused_overload++;
    } else {
        s->stats.adopted += is_admitted;
    }
}

void tunnel_server_put_off(struct tunnel_server *s, int fd, const struct endpoint *peer, uint32_t wait_ms)
{
    if (has_room(s) && take_token(&s->told, loop_now_ms(s->config.loop))) {
        if (!server_link_new(s, fd, peer, true, (wait_ms + 999) / 1000))
            s->stats.refused_overload++;
        return;
    }
    s->stats.refused_overload++;
    close(fd);
}

void tunnel_server_drain(struct tunnel_server *s, const struct mux_goaway *goaway)
{
    s->is_draining = true;
    LIST_EACH(&s->links, node) {
        struct server_link *k = container_of(node, struct server_link, node);

        if (k->carry.tunnel)
            tunnel_goaway(k->carry.tunnel, goaway);
    }
}

const struct tunnel_server_stats *tunnel_server_stats(const struct tunnel_server *s)
{
    return &s->stats;
}

static void on_reap(struct loop_reap *reap)
{
    free(container_of(reap, struct tunnel_server, reap));
}

void tunnel_server_free(struct tunnel_server *s)
{
    if (!s || s->is_freed)
        return;
    s->is_freed = true;
    while (!list_is_empty(&s->links))
        server_link_free(container_of(list_first(&s->links), struct server_link, node));
    if (s->config.tls)
        tls_ctx_unref(s->config.tls);
    loop_reap(s->config.loop, &s->reap, on_reap);
}
