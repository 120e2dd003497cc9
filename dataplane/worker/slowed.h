#pragma once
#include "dataplane/route/flaps.h"
#include "dataplane/route/tls_proxies.h"
#include "lib/obs/metrics.h"
/*
 * slowed.h - whether an address that brings nothing but faults (flaps.h) has to wait outside, before a
 * connection from there costs more.
 *
 * Threads    any.
 */

/* For how long, counted and, once, logged; 0: it may come in, as listed proxies always may. */
uint32_t source_slowed_ms(struct flaps *flaps, const struct tls_proxies *proxies, const struct endpoint *peer,
                          struct metric_slot *metrics);
