#pragma once
#include "controlplane/routes/call.h"
/*
 * remove.h - deleting an object, and what refers to it.
 *
 * Shape      log-in sessions always go with their user; everything else only by cascade.
 *            What goes is noted as an array in the response's `extra` (for dry runs).
 * Limits     REMOVE_DEPTH_MAX steps of cascade, REMOVE_MAX objects.
 * Errors     CALL_E_ANSWERED: in-use with referrers[], or a guard refused; the store's.
 */
#define REMOVE_DEPTH_MAX 4
#define REMOVE_MAX 500

MUST_CHECK int remove_object(struct call *c, const struct store_object *object, bool is_cascade);
