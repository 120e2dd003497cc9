#include "agent/uplink/uplink_internal.h"

static void note_lane(struct tunnel *t, void *arg)
{
    *(bool *)arg |= t != NULL;
}

static void close_link(struct tunnel *t, void *arg)
{
    (void)arg;
    tunnel_close(t, REASON_AGENT_DRAINING, "the agent stops");
}

static void drain_link(struct tunnel *t, void *arg)
{
    tunnel_goaway(t, &(struct mux_goaway){
        .why = REASON_AGENT_DRAINING, .text = SPAN("the agent stops"), .ms_left = *(uint32_t *)arg,
        .scope = MUX_SCOPE_SESSION,
    });
}

static bool links_are_gone(struct uplink *u)
{
    for (size_t i = 0; i < u->path_count; i++) {
        bool has_lane = false;

        lanes_each(&u->paths[i], note_lane, &has_lane);
        if (u->paths[i].tunnel || u->paths[i].worn || has_lane)
            return false;
    }
    return true;
}

#define DRAIN_LOOK_MS 20

static void on_drain_look(void *arg)
{
    struct uplink *u = arg;
    bool is_over = uplink_streams(u) == 0 || loop_now_ms(u->config.loop) >= u->drain_until_ms;

    if (is_over && links_are_gone(u)) {
        u->config.on_idle(u->config.user);
        return;
    }
    for (size_t i = 0; is_over && i < u->path_count; i++) {
        if (u->paths[i].tunnel)
            close_link(u->paths[i].tunnel, NULL);
        if (u->paths[i].worn)
            close_link(u->paths[i].worn, NULL);
        lanes_each(&u->paths[i], close_link, NULL);
    }
    timer_start(u->config.loop, &u->drained, DRAIN_LOOK_MS, on_drain_look, u);
}

void uplink_drain(struct uplink *u, uint32_t drain_ms)
{
    u->drain_until_ms = loop_now_ms(u->config.loop) + drain_ms + 1;
    dialer_drain(u->config.dialer);
    for (size_t i = 0; i < u->path_count; i++) {
        timer_stop(&u->paths[i].retry);
        if (u->paths[i].tunnel)
            drain_link(u->paths[i].tunnel, &drain_ms);
        lanes_each(&u->paths[i], drain_link, &drain_ms);
    }
    timer_start(u->config.loop, &u->drained, 0, on_drain_look, u);
}

void uplink_hurry(struct uplink *u)
{
    u->drain_until_ms = 1;
}
