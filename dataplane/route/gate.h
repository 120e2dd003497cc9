#pragma once
#include "dataplane/route/flaps.h"
#include "dataplane/route/router.h"
#include "dataplane/route/tls_proxies.h"
/*
 * gate.h - who may hold a tunnel here, and what agents are told over it.
 *
 * An agent shows its certificate (or proves a session, or signs); it counts only while the
 * state knows it.  A newcomer shows a join token: the control plane is asked, and its
 * answer handed on unread.  An agent whose certificate has ended may do nothing but renew -
 * unless the control plane is known to be away, then it carries streams as before.
 *
 * Where TLS ends before the relay no certificate is seen: a signature or a session's proof
 * alone is taken from listed addresses only.
 *
 * Threads    the worker's loop.
 * Limits     GATE_ASKS_MAX joins and renewals under way for a worker.
 */
#define GATE_ASKS_MAX 256

struct gate;

struct gate_config {
    struct router *router;
    struct control *control;        /* NULL: joins and renewals are refused */
    struct loop *loop;
    struct events *events;
    struct metric_slot *metrics;
    struct trust trust;
    struct tls_proxies tls_proxies; /* whose links may bring a signature in place of a certificate */
    struct flaps *flaps;            /* outlives the gate */
    const struct freshness *freshness;
    uint32_t control_away_ms;       /* the control plane counts as away after that long a silence */
    uint32_t renew_wait_ms;         /* once it is back, for an agent to renew that was let in meanwhile */
};

MUST_CHECK int gate_new(const struct gate_config *config, struct gate **ret_gate);
void gate_free(struct gate *g);                 /* after the tunnels */
DEFINE_FREEP(gate, gate_free)
/* For a tunnel server: its handlers, with the gate as user. */
extern const struct tunnel_handlers gate_handlers;
/* The router has a new view: agents that no longer count are sent away, changed policies
 * go out. */
void gate_view_changed(struct gate *g);
/* Every second or so: agents whose certificate ended while they were here, and those that know
 * another window for their first retry (window.h) than there is now. */
void gate_tick(struct gate *g, int64_t window_ms);
/* The key set as signed, for agents. */
void gate_set_keyset(struct gate *g, struct span text, uint64_t serial);
