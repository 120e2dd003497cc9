#pragma once
#include "controlplane/routes/internal.h"
/*
 * diagnose.h - diagnoses on their way: ordered here, fetched by the relay that has the agent, answered,
 * or given up when time is over.
 *
 * A diagnosis is a record (STORE_DIAGNOSTICS); each try that is not over yet is a report of topic
 * DIAGNOSE_TOPIC besides, with the order in it, so that every control plane of the database sees it.
 *
 * Errors     the store's; -errno.
 * Threads    any.
 */
#define DIAGNOSE_TOPIC "diagnose"
#define DIAGNOSE_TRIES_MAX 16           /* agents of one diagnosis */
#define DIAGNOSE_UNDER_WAY_MAX 128      /* tries, in all */
#define DIAGNOSE_GRACE_MS 4000          /* to the agent and back, beyond its own time */

/* One try's end, in a write transaction.  `result`: what the agent found, or NULL.  STORE_E_NOT_FOUND:
 * it is over already, or not that relay's (`relay` NULL: whosever). */
struct diagnosis;
MUST_CHECK int diagnose_end(struct store_tx *tx, const struct ulid *try, const char *relay, enum reason why,
                            struct span detail, const struct diagnosis *result);
/* Gives up what is over time; true: there was something. */
MUST_CHECK int diagnose_settle(struct store *store, bool *ret_is_news);

/* GET /internal/v1/commands, POST /internal/v1/answers. */
void on_relay_commands(const struct route *route, struct request *req, struct response *res);
void on_relay_answer(const struct route *route, struct request *req, struct response *res);
