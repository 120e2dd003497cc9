#pragma once
#include "agent/dial/race.h"
#include "lib/base/reason.h"
#include "lib/mux/mux.h"
/*
 * examine.h - a stream of kind diagnose: what its session does is written down, a TLS handshake
 * follows where one was asked for, and what was found is the stream's only content.
 *
 * The session (dial.c) resolves, checks and connects as for any other stream.
 *
 * Units      milliseconds.
 * Ownership  the examination belongs to its session; connections given to it are its own.
 * Threads    the loop's thread; the chain is judged in the loop's pool.
 */
struct examination;

/* `tls_name` empty: no handshake.  Time for all of it: within_ms. */
MUST_CHECK int examine_new(struct loop *l, struct mux_stream *stream, struct span tls_name, uint32_t within_ms,
                           struct examination **ret_examination);
void examine_free(struct examination *e);
/* Addresses are known; those told before are forgotten.  `server`: ENDPOINT_NONE: nobody said so. */
void examine_resolved(struct examination *e, const char *by, const struct endpoint *server);
void examine_address(struct examination *e, const struct addr *addr, enum reason verdict);
/* Takes the connection over. */
void examine_connected(struct examination *e, struct conn *conn, const struct mux_opened *opened);
/* It ends here, in the step that it was in; `text` may be NULL, `tried` too. */
void examine_fail(struct examination *e, enum reason why, const char *text, const struct mux_opened *tried);
/* For the mux's handlers. */
void examine_on_writable(struct examination *e);
void examine_on_reset(struct examination *e);
