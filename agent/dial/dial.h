#pragma once
#include "agent/dial/udp.h"
#include "agent/resolve/resolve.h"
#include "lib/mux/mux.h"
#include "lib/policy/reach.h"
/*
 * dial.h - the target side of streams: resolve, check each address, connect, carry bytes.
 *
 * An address is dialled only if the request's ranges, the agent's own file, the policy that
 * the control plane signed and the forbidden table all agree (reach.h); exactly the checked
 * address is dialled, so a name cannot be rebound in between.  For a stream of kind udp the
 * same holds; its socket is connected to the first address that there is a route to.
 *
 * Shape      one dialer for an agent; one session for each stream, freed with the stream.
 * Ownership  the dialer borrows acl and resolve; it owns its sessions.
 * Threads    the loop's thread.
 */
struct dialer;

struct dialer_config {
    struct loop *loop;
    struct resolve *resolve;
    const struct acl *acl;
    struct span boot_id;
    uint32_t dial_ms;               /* for resolving and connecting; 0: 10,000 */
    uint32_t idle_ms;               /* a stream on which nothing moves; 0: never ends */
    uint32_t udp_idle_ms;           /* the same for datagrams; the entry's is shorter */
    uint32_t diagnoses_max;         /* at a time; 0: 4 */
};

struct dialer_stats {
    uint64_t opened, refused[REASON_COUNT];
    uint64_t diagnosed;             /* diagnoses begun */
    uint32_t live, diagnosing;
    struct udp_stats udp;
};

MUST_CHECK int dialer_new(const struct dialer_config *config, struct dialer **ret_dialer);
void dialer_free(struct dialer *d);         /* after its streams' mux */
DEFINE_FREEP(dialer, dialer_free)
/* What the signed policy permits from now on (taken over; NULL: nothing).  Streams that it
 * no longer permits are cut with `revoked`. */
void dialer_set_reach(struct dialer *d, struct agent_reach *reach);
/* Reads the machine's own addresses anew; true when others than link-local ones came or went. */
bool dialer_network_changed(struct dialer *d);
void dialer_drain(struct dialer *d);        /* new streams get agent-draining */
const struct dialer_stats *dialer_stats(const struct dialer *d);
/* Fills in the stream handlers of a mux whose links' user is a struct dialer *: they are
 * called with what dialer_of_link() finds. */
void dialer_handlers(struct mux_handlers *h);
/* on_open has the link's user, which is the uplink's own; it passes the stream on here. */
void dialer_on_open(struct dialer *d, struct mux_stream *s, const struct mux_open *open);
