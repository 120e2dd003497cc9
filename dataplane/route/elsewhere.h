#pragma once
#include "lib/mux/mux.h"
#include "lib/policy/policy.h"
/*
 * elsewhere.h - the other relays that the state knows, for agents that have to leave this one.
 *
 * Those of the same zone first; where there are more than fit, each relay begins with another, so
 * that not all agents of all relays are sent to the same ones.
 *
 * Ownership  spans point into the policy's records.     Pure.
 */
#define ELSEWHERE_LOOK_MAX 1024     /* relays looked at */

/* Fills in goaway->elsewhere. */
void elsewhere_find(const struct policy *p, const struct ulid *own, const char *zone, struct mux_goaway *goaway);
