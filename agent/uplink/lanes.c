#include "agent/uplink/uplink_internal.h"
#include "lib/crypto/random.h"
#include "lib/log/log.h"
#include <string.h>

#define LANE_MOVE_MS 30000          /* for the streams of a lane that is closed */

struct lane *lane_of(struct path *p, const struct tunnel *t)
{
    for (size_t i = 0; i < LANES_MAX; i++) {
        if (t && p->lanes[i].tunnel == t)
            return &p->lanes[i];
    }
    return NULL;
}

static bool is_open(const struct lane *lane)
{
    return lane->tunnel && tunnel_is_up(lane->tunnel) && !lane->close_at_ms;
}

unsigned lanes_up(const struct path *p)
{
    unsigned n = 0;

    for (size_t i = 0; i < LANES_MAX; i++)
        n += p->lanes[i].tunnel && tunnel_is_up(p->lanes[i].tunnel);
    return n;
}

/* --- dialling ------------------------------------------------------------------------------ */

/* after_ms: what the relay asked for, 0: nothing. */
static void wait_longer(struct path *p, uint32_t after_ms)
{
    lane_tries_fail(&p->tries, loop_now_ms(p->uplink->config.loop), after_ms, random_u64());
}

/* The session's secret proves it; the certificate, where the relay has forgotten the session. */
static void lane_dial(struct path *p, struct lane *lane)
{
    struct tunnel_login login = path_login(p);

    if (!p->is_session_over) {
        login.kind = TUNNEL_SESSION;
        login.session = *tunnel_session(p->tunnel);
    }
    login.replaces = p->lane_left;
    *lane = (struct lane){ 0 };
    p->uplink->stats.lane_dials++;
    if (tunnel_connect(p, &login, &lane->tunnel)) {
        lane->tunnel = NULL;
        wait_longer(p, 0);
    }
    secret_wipe(&login.session, sizeof(login.session));
}

static void open_one(struct path *p)
{
    struct lane *free_one = NULL;

    if (!p->tunnel || !tunnel_is_up(p->tunnel) || p->uplink->drain_until_ms || p->gone_at_ms)
        return;
    for (size_t i = 0; i < LANES_MAX; i++) {
        struct lane *lane = &p->lanes[i];

        if (lane->tunnel && !tunnel_is_up(lane->tunnel))
            return;                 /* one at a time */
        if (!lane->tunnel)
            free_one = lane;
    }
    if (free_one && lane_tries_take(&p->tries, loop_now_ms(p->uplink->config.loop), random_u64()))
        lane_dial(p, free_one);
}

/* --- what becomes of it ---------------------------------------------------------------------- */

bool lane_is_wanted(struct path *p, const struct tunnel_hello *hello)
{
    bool is_here = p->tunnel && tunnel_is_up(p->tunnel) && strcmp(hello->id, p->relay_id) == 0 &&
                   strcmp(hello->boot_id, tunnel_peer_hello(p->tunnel)->boot_id) == 0 && hello->worker != p->worker;

    for (size_t i = 0; i < LANES_MAX; i++)
        is_here &= !is_open(&p->lanes[i]) || p->lanes[i].worker != hello->worker;
    return is_here;
}

void lane_up(struct path *p, struct lane *lane)
{
    const struct tunnel_hello *hello = tunnel_peer_hello(lane->tunnel);

    lane->worker = hello->worker;
    lane->left = hello->session.id;
    lane->up_at_ms = loop_now_ms(p->uplink->config.loop);
    lane_tries_up(&p->tries, lane->up_at_ms);
    memset(&p->lane_left, 0, sizeof(p->lane_left));
    p->is_replacing = false;
    p->uplink->stats.lanes_opened++;
    LOG(INFO, "lane.up", S("relay", p->addr), N("worker", lane->worker), U("lanes", lanes_up(p)));
}

/* At once: the rest may be as dead and not know it yet.  The load decides whether it stays. */
static void replace(struct path *p)
{
    p->is_replacing = true;
    open_one(p);
}

/* Told to whoever has it there when something is dialled again. */
static void lane_lost(struct path *p, const struct lane *lane, enum reason why, const char *text)
{
    lane_tries_lost(&p->tries, loop_now_ms(p->uplink->config.loop) - lane->up_at_ms);
    p->lane_left = lane->left;
    p->uplink->stats.lost[why]++;
    LOG(WARNING, "lane.down", S("relay", p->addr), N("worker", lane->worker), R("reason", why), S("detail", text));
    replace(p);
}

static void lane_missed(struct path *p)
{
    p->uplink->stats.lane_misses++;
    open_one(p);
}

/* Who does not know the session any more has lost the first link, too, or forgets too soon: a
 * certificate will do. */
static void lane_failed(struct path *p, const struct tunnel *t, enum reason why, const char *text)
{
    bool is_news = why == REASON_BAD_PROOF && !p->is_session_over;

    p->is_session_over |= is_news;
    p->uplink->stats.lost[why]++;
    LOG(INFO, "lane.failed", S("relay", p->addr), R("reason", why), S("detail", text));
    if (is_news)
        open_one(p);
    else
        wait_longer(p, tunnel_retry_after_ms(t));
}

void lane_down(struct path *p, struct lane *lane, enum reason why, const char *text)
{
    struct lane gone = *lane;

    *lane = (struct lane){ 0 };
    if (gone.is_missed) {
        lane_missed(p);
    } else if (gone.close_at_ms) {
        p->uplink->stats.lanes_closed++;
        LOG(INFO, "lane.closed", S("relay", p->addr), N("worker", gone.worker));
    } else if (gone.left.text[0]) {
        lane_lost(p, &gone, why, text);
    } else {
        lane_failed(p, gone.tunnel, why, text);
    }
}

bool lanes_take_place(struct path *p)
{
    for (size_t i = 0; i < LANES_MAX; i++) {
        struct lane *lane = &p->lanes[i];

        if (!is_open(lane))
            continue;
        p->lane_left = p->left;
        p->left = lane->left;
        p->tunnel = lane->tunnel;
        path_meet(p, tunnel_peer_hello(p->tunnel));
        p->is_moving = false;
        p->up_at_ms = loop_now_ms(p->uplink->config.loop);
        *lane = (struct lane){ 0 };
        replace(p);
        return true;
    }
    return false;
}

/* --- closing ------------------------------------------------------------------------------- */

/* New streams go elsewhere, and the relay moves the living ones. */
void lane_close(struct path *p, struct lane *lane)
{
    if (lane->close_at_ms)
        return;
    lane->close_at_ms = loop_now_ms(p->uplink->config.loop) + LANE_MOVE_MS;
    tunnel_goaway(lane->tunnel, &(struct mux_goaway){
        .why = REASON_LINK_RENEW, .text = SPAN("the load is over"), .ms_left = LANE_MOVE_MS,
    });
}

void lanes_close_at(struct path *p, int64_t worker)
{
    for (size_t i = 0; i < LANES_MAX; i++) {
        if (is_open(&p->lanes[i]) && p->lanes[i].worker == worker)
            lane_close(p, &p->lanes[i]);
    }
}

static void close_one(struct path *p)
{
    struct lane *least = NULL;

    for (size_t i = 0; i < LANES_MAX; i++) {
        struct lane *lane = &p->lanes[i];

        if (is_open(lane) && (!least || mux_link_stream_count(tunnel_link(lane->tunnel)) <
                                            mux_link_stream_count(tunnel_link(least->tunnel))))
            least = lane;
    }
    if (least)
        lane_close(p, least);
}

static void end_closing(struct path *p, uint64_t now_ms)
{
    for (size_t i = 0; i < LANES_MAX; i++) {
        struct lane *lane = &p->lanes[i];

        if (lane->tunnel && lane->close_at_ms && tunnel_is_up(lane->tunnel) &&
            (mux_link_stream_count(tunnel_link(lane->tunnel)) == 0 || now_ms >= lane->close_at_ms))
            tunnel_close(lane->tunnel, REASON_LINK_RENEW, "the load is over");
    }
}

/* --- how much there is to carry --------------------------------------------------------------- */

static void add_load(struct lane_load *all, const struct tunnel *t)
{
    struct mux_load load;

    if (!t || !tunnel_is_up(t))
        return;
    mux_link_measure(tunnel_link(t), &load);
    all->bytes += load.bytes;
    all->bulk += load.bulk;
}

void lanes_look(struct path *p, uint64_t now_ms)
{
    struct lane_load load = { .links = 1, .ms = now_ms - p->measured_ms };
    const struct uplink_config *c = &p->uplink->config;

    p->measured_ms = now_ms;
    load.links_max = p->workers < c->lanes_max ? (unsigned)p->workers : c->lanes_max;
    add_load(&load, p->tunnel);
    for (size_t i = 0; i < LANES_MAX; i++) {
        add_load(&load, p->lanes[i].tunnel);
        load.links += is_open(&p->lanes[i]);
    }
    end_closing(p, now_ms);
    if (!p->tunnel || !tunnel_is_up(p->tunnel) || p->uplink->drain_until_ms)
        return;
    switch (lane_rule_judge(&p->rule, &load, now_ms)) {
    case LANE_KEEP:
        if (p->is_replacing)
            open_one(p);
        return;
    case LANE_OPEN:
        open_one(p);
        return;
    case LANE_CLOSE:
        close_one(p);
    }
}

void lanes_each(struct path *p, void (*fn)(struct tunnel *t, void *arg), void *arg)
{
    for (size_t i = 0; i < LANES_MAX; i++) {
        if (p->lanes[i].tunnel)
            fn(p->lanes[i].tunnel, arg);
    }
}
