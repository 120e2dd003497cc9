#pragma once
#include "lib/base/addr.h"
#include "lib/base/buf.h"
/*
 * listener_owner.h - who holds a TCP address, for the message of a failed start.
 */

/* Whether it is this very process. */
bool listener_owner_is_self(const struct endpoint *at);
/* Appends "PID (program)", or nothing when it cannot be found out. */
void listener_owner_put(const struct endpoint *at, struct buf *out);
