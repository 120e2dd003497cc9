#include "lib/tunnel/client/tunnel_client.h"

#include "lib/tunnel/carry/carry.h"
#include "lib/ws/client/ws_client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define RESOLVE_MS 10000

struct client {
    struct carry carry;
    struct loop *loop;
    struct ws_client *opening;  /* NULL: not yet, or open */
    struct resolver_query *query;
    struct resolver_answer found;
    size_t next;                /* of found.addrs */
    char *host;
    uint16_t port;
    const struct proxy *proxy;  /* NULL: it is dialled directly */
    struct tls_ctx *tls;
    uint32_t ready_ms, streams;
    struct loop_task begin;
    struct loop_reap reap;
};

static void dial_next(struct client *c);

/* --- the end ------------------------------------------------------------------------- */
static void on_reap(struct loop_reap *reap)
{
    free(container_of(reap, struct client, reap));
}

static void on_end(struct carry *carry)
{
    struct client *c = container_of(carry, struct client, carry);

    loop_defer_cancel(&c->begin);
    resolver_cancel(TAKE(c->query));
    ws_client_free(TAKE(c->opening));
    tls_ctx_unref(TAKE(c->tls));
    carry_deinit(&c->carry);
    free(TAKE(c->host));
    loop_reap(c->loop, &c->reap, on_reap);
}

static const struct carry_handlers carry_handlers = { .on_end = on_end };

/* It never was open: which address failed is said too. */
static void gone(struct client *c, enum reason why, const char *what)
{
    char text[CARRY_TEXT_MAX];

    if (c->proxy)
        snprintf(text, sizeof(text), "wss://%s:%u through the proxy %s:%u: %s", c->host, c->port,
                 c->proxy->host, c->proxy->port, what);
    else
        snprintf(text, sizeof(text), "wss://%s:%u: %s", c->host, c->port, what);
    carry_gone(&c->carry, why, text);
}

/* --- opening ------------------------------------------------------------------------- */
static void on_open(void *user, struct conn *conn, struct span early)
{
    struct client *c = user;
    struct endpoint peer = conn_peer(conn), local = conn_local(conn);

    tunnel_set_local(c->carry.tunnel, &local);
    carry_open(&c->carry, conn, false, &peer, early);
    ws_client_free(TAKE(c->opening));
}

/* The network's fault: the next address may do. */
static bool may_go_on(const struct client *c, enum reason why)
{
    return !c->carry.is_finishing && c->next < c->found.count &&
           (why == REASON_SESSION_LOST || why == REASON_UPLINK_PROXY_UNREACHABLE ||
            why == REASON_UPLINK_PROXY_TIMEOUT);
}

static void on_failed(void *user, enum reason why, const char *text)
{
    struct client *c = user;

    if (!may_go_on(c, why)) {
        tunnel_set_retry_after(c->carry.tunnel, ws_client_retry_after_ms(c->opening));
        gone(c, why, text);
        return;
    }
    ws_client_free(TAKE(c->opening));
    dial_next(c);
}

static const struct ws_client_handlers ws_handlers = { .on_open = on_open, .on_failed = on_failed };

/* --- dialling ------------------------------------------------------------------------ */
static void dial_next(struct client *c)
{
    char authority[300], streams[16];
    bool is_v6 = strchr(c->host, ':') != NULL;
    struct ws_client_config config = {
        .loop = c->loop,
        .to = { .kind = ENDPOINT_IP, .addr = c->found.addrs[c->next++],
                .port = c->proxy ? c->proxy->port : c->port },
        .conn = {
            .tls = c->tls,
            .server_name = c->host,
            .ready_ms = c->ready_ms,
            .is_abortive = true,
        },
        .is_proxied = c->proxy != NULL,
        .proxy_credentials = c->proxy ? c->proxy->credentials : NULL,
        .authority = authority,
        .path = "/tunnel",
        .protocol = "adit.v1",
        .field_name = c->streams ? TUNNEL_STREAMS_FIELD : NULL,
        .field_value = streams,
    };
    int r;

    snprintf(streams, sizeof(streams), "%u", c->streams);
    snprintf(authority, sizeof(authority), is_v6 ? "[%s]:%u" : "%s:%u", c->host, c->port);
    r = ws_client_dial(&config, &ws_handlers, c, &c->opening);
    if (r)
        gone(c, REASON_SESSION_LOST, strerrordesc_np(-r));
}

static void on_found(void *user, const struct resolver_answer *answer)
{
    struct client *c = user;

    c->query = NULL;
    c->found = *answer;
    if (answer->count)
        dial_next(c);
    else
        gone(c, c->proxy ? REASON_UPLINK_PROXY_UNREACHABLE : REASON_RESOLVE_FAILED, answer->text);
}

static void on_begin(void *arg)
{
    struct client *c = arg;

    if (!c->carry.is_finishing)
        dial_next(c);           /* else the carry ends it in this turn */
}

static int begin(struct client *c, struct resolver *resolver)
{
    const char *name = c->proxy ? c->proxy->host : c->host;

    if (addr_parse(span_str(name), &c->found.addrs[0])) {
        c->found.count = 1;
        loop_defer(c->loop, &c->begin, on_begin, c);
        return 0;
    }
    if (!resolver)
        return -EINVAL;
    return resolver_query(resolver, name, RESOLVE_MS, on_found, c, &c->query);
}

int tunnel_dial(const struct tunnel_dial *d, struct tunnel **ret_tunnel)
{
    struct client *c = calloc(1, sizeof(*c));
    struct tunnel_config config = {
        .mux = d->mux, .self = d->self, .login = d->login, .handlers = d->handlers, .user = d->user,
        .carrier = &carry_carrier,
    };
    int r;

    if (!c)
        return -ENOMEM;
    config.carrier_arg = &c->carry;
    carry_init(&c->carry, d->loop, &carry_handlers);
    c->loop = d->loop;
    c->port = d->port;
    c->ready_ms = d->ready_ms;
    c->streams = d->streams;
    c->proxy = d->proxy && proxy_is_for(d->proxy, span_str(d->host), d->port) ? d->proxy : NULL;
    c->tls = d->tls ? tls_ctx_ref(d->tls) : NULL;
    c->host = span_dup(span_str(d->host));
    r = c->host ? tunnel_new(&config, &c->carry.tunnel) : -ENOMEM;
    if (!r)
        r = begin(c, d->resolver);
    if (!r) {
        *ret_tunnel = c->carry.tunnel;
        return 0;
    }
    tunnel_discard(c->carry.tunnel);
    tls_ctx_unref(c->tls);
    free(c->host);
    free(c);
    return r;
}
