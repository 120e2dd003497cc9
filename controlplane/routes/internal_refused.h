#pragma once
#include "controlplane/routes/internal.h"
/*
 * internal_refused.h - whom a relay itself refused, out of its events into the audit.
 *
 * Threads    any.
 */
#define INTERNAL_REFUSED "refused"

/* `events`: the array, well formed.  Once the rest is in the database: what fails comes again. */
void internal_note_refused(struct internal *in, const struct request *req, struct span events);
