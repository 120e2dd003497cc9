#include "dataplane/worker/plain.h"
#include "dataplane/worker/paused.h"
#include "lib/log/log.h"
#include <errno.h>
#include <unistd.h>

#define TELL_EVERY_MS 1000

struct plain {
    struct plain_config config;
    struct loop *loop;
    struct tunnel_server *server;
    struct listener *listener;
    uint64_t told_ms;               /* 0: never */
};

static void turn_away(struct plain *p, int fd, const struct endpoint *peer)
{
    char address[ADDR_UNIX_MAX + 8];
    uint64_t now_ms = loop_now_ms(p->loop);

    close(fd);
    metric_add_at(p->config.metrics, M_LINKS_REFUSED, REASON_PROXY_NOT_LISTED, 0, 1);
    if (p->told_ms && now_ms - p->told_ms < TELL_EVERY_MS)
        return;
    p->told_ms = now_ms;
    LOG(WARNING, "link.refused", R("reason", REASON_PROXY_NOT_LISTED),
        S("detail", "the listener without TLS is for listed proxies"),
        S("address", endpoint_format(peer, address, sizeof(address))));
}

static void on_accept(void *user, int fd, const struct endpoint *peer)
{
    struct plain *p = user;

    if (tls_proxies_have(p->config.proxies, peer))
        tunnel_server_adopt(p->server, fd, peer);
    else
        turn_away(p, fd, peer);
}

static void on_paused(void *user, const struct endpoint *at, int error, bool is_new)
{
    struct plain *p = user;

    tell_paused(p->config.metrics, at, error, is_new);
}

int plain_open(const struct plain_config *config, struct plain **ret_plain, struct buf *reterr)
{
    AUTO(plain_freep) struct plain *p = calloc(1, sizeof(*p));
    struct listener_config listener = { .at = config->at, .is_shared = true, .on_accept = on_accept,
                                        .on_paused = on_paused, .user = p };
    char text[ADDR_UNIX_MAX + 8];
    int r;

    if (!p)
        return -ENOMEM;
    p->config = *config;
    p->config.server = NULL;
    p->loop = config->server->loop;
    r = tunnel_server_new(config->server, &p->server);
    if (!r)
        r = listener_open(p->loop, &listener, &p->listener, reterr);
    if (r)
        return r;
    LOG(INFO, "tunnel.plain_open", S("address", endpoint_format(&config->at, text, sizeof(text))),
        U("proxies", config->proxies->count));
    *ret_plain = TAKE(p);
    return 0;
}

void plain_drain(struct plain *p, const struct mux_goaway *goaway)
{
    if (p->listener)
        listener_free(TAKE(p->listener));
    tunnel_server_drain(p->server, goaway);
}

void plain_add_stats(const struct plain *p, struct tunnel_server_stats *sum)
{
    const struct tunnel_server_stats *own = tunnel_server_stats(p->server);

    sum->handshakes += own->handshakes;
    sum->links += own->links;
#define HANDSHAKE_OUTCOME(name) sum->name += own->name;
    HANDSHAKE_OUTCOMES(HANDSHAKE_OUTCOME)
#undef HANDSHAKE_OUTCOME
}

void plain_free(struct plain *p)
{
    if (p->listener)
        listener_free(p->listener);
    if (p->server)
        tunnel_server_free(p->server);
    free(p);
}
