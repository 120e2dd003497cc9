#pragma once
#include "controlplane/routes/call.h"
/*
 * effect.h - what the writes of an open transaction do to access, streams and whoever writes.
 *
 * The policy is looked at before anything is written and again afterwards; the difference comes
 * from the records that the transaction changed, whatever the request was.
 *
 * Ownership  call_run() begins and ends it; NULL in a call that needs none.
 * Errors     CALL_E_ANSWERED; the store's; -ENOMEM.
 * Threads    the transaction's.
 */
#define EFFECT_SHOWN 20                 /* the first of each list */
#define EFFECT_STREAMS_MAX 20000        /* open streams that are looked at */

struct effect;

/* Before the first write: in a dry run, and where there are expectations. */
MUST_CHECK int effect_begin(struct call *c);
/* After the last write, once; a dry run's transaction ends here, so that nobody waits for the rest. */
MUST_CHECK int effect_finish(struct call *c);
/* What is no dry run breaks no expectation, unless it says so (break_expectations): that is audited. */
MUST_CHECK int effect_admit(struct call *c);
/* "effect": {…}, after effect_finish(); nothing without. */
void effect_put(const struct call *c, struct json_writer *w);
void effect_free(struct effect *effect);
