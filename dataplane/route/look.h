#pragma once
#include "dataplane/route/router.h"
#include "lib/diagnosis/order.h"
/*
 * look.h - a stream of kind diagnose to an agent of this worker, as the control plane decided it.
 *
 * It is a route without a user: nothing is decided here, nothing reported, it stands on no grant
 * and moves nowhere.  What the agent found comes as its bytes.
 *
 * Ownership  as route_open(); the order's texts are copied.
 * Threads    the worker's loop.
 */

/* REASON_NONE: handlers follow.  NO_AGENT: not here; UNSUPPORTED: it knows no such streams;
 * BAD_REQUEST: the order is not one; RELAY_DRAINING, OVERLOAD. */
enum reason route_look(struct router *router, const struct diagnosis_order *order,
                       const struct route_handlers *handlers, void *user, struct route **ret_route);
