#pragma once
#include "controlplane/routes/call.h"
#include "lib/policy/record.h"
/*
 * cut.h - what every relay has to end or to reset at once: a record of the state, for an hour.
 *
 * Errors     CALL_E_ANSWERED: more than CUTS_MAX within the hour; the store's.
 */
MUST_CHECK int cut_put(struct call *c, enum cut_kind kind, struct span target);
