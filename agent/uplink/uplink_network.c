#include "agent/uplink/uplink_internal.h"
#include "lib/log/log.h"
#include "lib/net/socket.h"

/* The kernel would not choose the address any more that the link was dialled from; without a route
 * there is nothing to choose: it may come back as it was. */
static bool has_moved(const struct tunnel *t)
{
    struct endpoint peer = tunnel_peer_address(t), local = tunnel_local_address(t);
    struct addr source;

    return peer.kind == ENDPOINT_IP && local.kind == ENDPOINT_IP && socket_source_to(&peer.addr, &source) &&
           !addr_eq(&source, &local.addr);
}

static void drop_moved(struct tunnel *t, void *arg)
{
    (void)arg;
    if (has_moved(t))
        tunnel_drop(t, REASON_SESSION_LOST, "this machine's addresses changed");
}

/* True: it begins anew. */
static bool path_move(struct path *p, bool is_other)
{
    bool is_up = p->tunnel && tunnel_is_up(p->tunnel);

    if (p->worn)
        drop_moved(p->worn, NULL);
    lanes_each(p, drop_moved, NULL);
    if (is_up ? !has_moved(p->tunnel) : !is_other)
        return false;
    p->failures = 0;
    p->is_moving = true;
    if (p->tunnel)
        tunnel_drop(p->tunnel, REASON_SESSION_LOST, "this machine's addresses changed");
    else
        path_retry(p, 0);
    return true;
}

void uplink_network_changed(struct uplink *u, bool is_other)
{
    unsigned left = 0;

    if (u->drain_until_ms)
        return;
    for (size_t i = 0; i < u->path_count; i++)
        left += path_move(&u->paths[i], is_other);
    u->stats.moved += left;
    if (left || is_other)
        LOG(INFO, "network.changed", U("links_anew", left), U("links", u->path_count));
}
