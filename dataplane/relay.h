#pragma once
#include "dataplane/config.h"
/*
 * relay.h - the relay as a whole: what is made in which order, and taken down in reverse.
 *
 * Threads    the control loop is the calling thread's; workers are threads of their own.
 * Errors     exit codes: 0 done, 1 failed or streams were cut, 2 configuration.
 */
enum { RELAY_OK = 0, RELAY_FAILED = 1, RELAY_CONFIG = 2 };

/* Checks what the option table cannot: addresses, cleartext, certificates. */
MUST_CHECK int relay_check(const struct relay_config *config, struct buf *reterr);
/* Runs until SIGTERM or SIGINT and the drain after it. */
int relay_run(struct relay_config *config, int argc, char **argv, struct buf *reterr);
/* Makes this machine a relay of the cluster that the token names. */
int relay_join(const struct relay_config *config, struct span token_text, struct buf *reterr);
