#pragma once
#include "lib/obs/metrics.h"
/*
 * controlplane_metrics.h - what the control plane counts: one row each (metrics.h).  By listener: api, internal.
 */
#define CONTROLPLANE_METRICS(X)                                                                    \
    X(REQUESTS, "adit_controlplane_requests_total", COUNTER, &metric_by_listener, NULL, "Requests answered.") \
    X(REFUSED, "adit_controlplane_refused_total", COUNTER, &metric_by_listener, NULL, "Answers 400 to 499.") \
    X(ERRORS, "adit_controlplane_errors_total", COUNTER, &metric_by_listener, NULL, "Answers 500 and above.") \
    X(PROBLEMS, "adit_controlplane_problems_total", COUNTER, &metric_by_listener, &metric_by_reason,      \
      "Answers with a problem.")                                                                   \
    X(OVERLOADS, "adit_controlplane_overloads_total", COUNTER, &metric_by_listener, NULL, "Refused: queue full.") \
    X(LATE, "adit_controlplane_late_total", COUNTER, &metric_by_listener, NULL,                     \
      "Connections ended because a head, a body or the taking of an answer took too long.")        \
    X(CONNECTIONS, "adit_controlplane_connections", GAUGE, &metric_by_listener, NULL, "Open connections.") \
    X(RUNNING, "adit_controlplane_running", GAUGE, &metric_by_listener, NULL, "Requests on a thread.")      \
    X(WAITING, "adit_controlplane_waiting", GAUGE, &metric_by_listener, NULL, "Requests in the queue.")     \
    X(PARKED, "adit_controlplane_parked", GAUGE, &metric_by_listener, NULL, "Long polls.")                  \
    X(EPOCH, "adit_controlplane_state_epoch", GAUGE, NULL, NULL, "Epoch of the published state.")    \
    X(REVISION, "adit_controlplane_state_revision", GAUGE, NULL, NULL, "Its revision.") \
    X(REFUSALS_AUDITED, "adit_controlplane_refusals_audited_total", COUNTER, NULL, NULL,            \
      "Audit events that tell of refusals.")                                                       \
    X(REFUSALS_OTHERS, "adit_controlplane_refusals_others_total", COUNTER, NULL, NULL,              \
      "Refusals that the audit tells by their code alone: too many callers or operations.")        \
    X(REFUSALS_WAITING, "adit_controlplane_refusals_waiting", GAUGE, NULL, NULL,                    \
      "Refusals that are not in the audit yet.")                                                   \
    X(EVENTS_LISTENERS, "adit_controlplane_events_listeners", GAUGE, NULL, NULL,                    \
      "Who listen to events.")                                                                     \
    X(EVENTS_SENT, "adit_controlplane_events_sent_total", COUNTER, NULL, NULL,                      \
      "Events that were sent to them.")                                                            \
    X(EVENTS_SLOW, "adit_controlplane_events_slow_total", COUNTER, NULL, NULL,                      \
      "Listeners that were cut because they took too little.")                                     \
    X(CHECKPOINT, "adit_controlplane_audit_checkpoint", GAUGE, NULL, NULL,                          \
      "Number of the newest checkpoint over the audit trail, where this control plane leads.")     \
    X(CHECKPOINTS, "adit_controlplane_audit_checkpoints_total", COUNTER, NULL, NULL,                \
      "Checkpoints that it signed.")                                                               \
    X(CHECKPOINT_FAILURES, "adit_controlplane_audit_checkpoint_failures_total", COUNTER, NULL, NULL, \
      "Times that one could not be signed or sent outside.")                                       \
    X(CHECKPOINTS_WAITING, "adit_controlplane_audit_checkpoints_waiting", GAUGE, NULL, NULL,        \
      "Checkpoints that have not gone outside.")                                                   \
    X(AUDIT_REMOVED, "adit_controlplane_audit_removed_total", COUNTER, NULL, NULL,                  \
      "Audit events that were removed because they are older than they are kept.")                 \
    X(OIDC_ASKS, "adit_controlplane_oidc_asks_total", COUNTER, NULL, NULL,                         \
      "Questions to identity providers: where to send people, and tokens for codes.")              \
    X(OIDC_REFUSED, "adit_controlplane_oidc_refused_total", COUNTER, NULL, NULL,                   \
      "Of them, answers that were refused: bad tokens, codes, clients.")                           \
    X(OIDC_UNAVAILABLE, "adit_controlplane_oidc_unavailable_total", COUNTER, NULL, NULL,           \
      "Of them, without a usable answer.")                                                         \
    X(OIDC_FETCHES, "adit_controlplane_oidc_fetches_total", COUNTER, NULL, NULL,                   \
      "Requests that were made for them.")                                                         \
    X(OIDC_RUNNING, "adit_controlplane_oidc_running", GAUGE, NULL, NULL,                           \
      "Questions that wait for an answer, or whose answer waits.")                                 \
    X(LEADS, "adit_controlplane_leads", GAUGE, NULL, NULL,                                          \
      "1 while this control plane is the one that publishes.")                                     \
    X(STORE_AWAY, "adit_controlplane_store_away", GAUGE, NULL, NULL,                                \
      "1 while the database server cannot be reached.")                                            \
    X(STORE_LOST, "adit_controlplane_store_lost_total", COUNTER, NULL, NULL,                        \
      "Connections to the database server that were lost.")                                        \
    X(STORE_RECONNECTED, "adit_controlplane_store_reconnected_total", COUNTER, NULL, NULL,          \
      "Connections made again.")
