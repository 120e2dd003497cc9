#pragma once
#include "controlplane/http/stream.h"
#include "controlplane/routes/listener.h"
/*
 * hub.h - all listeners of GET /events: one thread reads what was committed, by whichever control
 * plane, and gives each what he asked for and may see.
 *
 * A listener's caller is asked for again every HUB_CHECK_MS: when his token, session or user has
 * ended, so has his stream.  Who does not take what he is sent is cut.
 *
 * Bounds     listeners_max, of them per_caller_max of one caller; HUB_WAITING_MAX bytes wait for one.
 * Cost       with listeners, a look at the database every HUB_TICK_MS; without, nothing.
 * Threads    any.
 */
#define HUB_TICK_MS 100
#define HUB_CHECK_MS 1000
#define HUB_HEARTBEAT_MS 15000
#define HUB_WAITING_MAX (256 * 1024)

struct hub_options {
    struct store *store;
    unsigned listeners_max, per_caller_max;     /* 0: 256, 16 */
};

struct hub_stats {
    uint64_t listeners;         /* now */
    uint64_t sent, slow;        /* events; listeners that were cut because they took too little */
};

struct hub;
MUST_CHECK int hub_new(const struct hub_options *options, struct hub **ret_hub);
/* Ends the streams of those who still listen. */
void hub_free(struct hub *hub);
DEFINE_FREEP(hub, hub_free)
/* Whether the caller may have one more. */
bool hub_has_room(struct hub *hub, const struct principal *principal);
/* Takes the listener and a reference of the stream.  `seconds` < 0: until somebody ends it.
 * STREAM_E_FULL: there is no room. */
MUST_CHECK int hub_add(struct hub *hub, const struct listener *listener, struct stream *stream,
                       const struct principal *principal, int64_t seconds);
/* Ends all streams: the control plane goes down. */
void hub_stop(struct hub *hub);
void hub_get_stats(struct hub *hub, struct hub_stats *ret_stats);
