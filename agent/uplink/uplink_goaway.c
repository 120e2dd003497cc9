#include "agent/uplink/uplink_internal.h"
#include "lib/crypto/random.h"
#include "lib/log/log.h"
#include <string.h>
#include <strings.h>

/* --- where to ------------------------------------------------------------------------------ */

static struct path *path_at(struct uplink *u, const char *host, uint16_t port)
{
    for (size_t i = 0; i < u->path_count; i++) {
        if (u->paths[i].port == port && strcasecmp(u->paths[i].host, host) == 0)
            return &u->paths[i];
    }
    return NULL;
}

/* NULL: none of ours.  Whoever speaks for a relay must not lead this agent anywhere else. */
static struct path *path_named(struct uplink *u, struct span addr)
{
    char text[JOIN_ADDR_LEN + 1], host[RELAY_HOST_MAX];
    unsigned char memory[256];
    struct buf ignored;
    uint16_t port;

    buf_init_fixed(&ignored, memory, sizeof(memory));
    if (!span_copy(addr, text, sizeof(text)) || relay_address_parse(text, host, &port, &ignored))
        return NULL;
    return path_at(u, host, port);
}

/* All agents of the relay are told at once: they spread as when they come back to it. */
static void dial_sooner(struct path *p, uint64_t window_ms)
{
    struct uplink *u = p->uplink;
    uint64_t at_ms = loop_now_ms(u->config.loop) + random_u64() % (window_ms + 1);

    if (p->tunnel || p->is_put_off || u->drain_until_ms || at_ms >= p->retry_at_ms)
        return;
    p->retry_at_ms = at_ms;
    timer_start(u->config.loop, &p->retry, at_ms - loop_now_ms(u->config.loop), path_dial, p);
}

static void go_elsewhere(struct path *from, const struct mux_goaway *goaway)
{
    struct uplink *u = from->uplink;
    uint64_t window_ms = (uint64_t)from->first_retry_ms;

    if (window_ms > goaway->ms_left)
        window_ms = goaway->ms_left;
    for (size_t i = 0; i < goaway->elsewhere_count; i++) {
        struct path *p = path_named(u, goaway->elsewhere[i]);

        u->stats.elsewhere++;
        u->stats.elsewhere_unknown += p == NULL;
        if (p && p != from)
            dial_sooner(p, window_ms);
    }
}

/* --- and when ------------------------------------------------------------------------------- */

/* Said on each link of the session; the first counts. */
void path_sent_away(struct path *p, const struct mux_goaway *goaway)
{
    if (p->gone_at_ms)
        return;
    p->gone_at_ms = loop_now_ms(p->uplink->config.loop) + goaway->ms_left;
    p->uplink->stats.sent_away++;
    go_elsewhere(p, goaway);
}

static void leave(struct tunnel *t, void *arg)
{
    (void)arg;
    if (tunnel_is_up(t))
        tunnel_close(t, REASON_RELAY_DRAINING, "the relay asked for it, and its time is over");
}

void path_leave_in_time(struct path *p)
{
    if (!p->gone_at_ms || loop_now_ms(p->uplink->config.loop) < p->gone_at_ms)
        return;
    if (p->tunnel)
        leave(p->tunnel, NULL);
    if (p->worn)
        leave(p->worn, NULL);
    lanes_each(p, leave, NULL);
}
