#pragma once
#include "lib/base/buf.h"
#include "lib/diagnosis/diagnosis.h"
/*
 * look.h - one TLS handshake, to see what the other side shows.
 *
 * Ownership  the caller owns the look.
 * Errors     -errno; of a handshake a sentence.
 * Threads    one at a time.
 */
#define LOOK_OUT_MAX ((size_t)64 << 10)     /* of what it wants sent, at a time */

struct look;

enum look_state { LOOK_GOES_ON, LOOK_DONE, LOOK_FAILED };

/* `name`: to be proved; a name is sent as SNI too, an address is not. */
MUST_CHECK int look_new(const char *name, struct look **ret_look);
void look_free(struct look *l);
DEFINE_FREEP(look, look_free)
/* Takes what came (nothing, to begin); what is to be sent is appended to `out`.  After LOOK_FAILED
 * look_failure() says why; what is in `out` then is an alert, worth sending. */
enum look_state look_step(struct look *l, struct span in, struct buf *out);
const char *look_failure(const struct look *l);
/* Blocks for some milliseconds, on files: for a pool's thread.  Fills in the TLS part of `d`, the
 * outcome of the step but for its time; after LOOK_FAILED what is known all the same. */
void look_judge(const struct look *l, struct diagnosis *d);

/* One certificate; false: it is none. */
bool look_certificate(struct span der, struct diagnosis_certificate *ret_certificate);
