#pragma once
#include "lib/obs/metrics.h"
/*
 * relay_metrics.h - what a relay counts: one row each (schema/metrics.md is made from them).
 *
 * Threads    one slot for each worker, one for the control loop.
 */
#define RELAY_METRICS(X)                                                                          \
    X(STREAMS, "adit_relay_streams", GAUGE, NULL, NULL, "Streams that users have open.")          \
    X(STREAMS_OPENED, "adit_relay_streams_opened_total", COUNTER, NULL, NULL,                     \
      "Streams that an agent connected.")                                                         \
    X(STREAMS_MOVED, "adit_relay_streams_moved_total", COUNTER, NULL, NULL,                       \
      "Times a living stream went on over another link.")                                         \
    X(STREAMS_BALANCED, "adit_relay_streams_balanced_total", COUNTER, NULL, NULL,                 \
      "Times a stream left a good link: for one with less to carry, or because the agent closes it.") \
    X(PATHS_LOST, "adit_relay_paths_lost_total", COUNTER, NULL, NULL,                             \
      "Times a stream that may move was without its link.")                                       \
    X(GRACES_OVER, "adit_relay_graces_over_total", COUNTER, NULL, NULL,                           \
      "Streams that found no other link in time.")                                                \
    X(REPLAYED_BYTES, "adit_relay_replayed_bytes_total", COUNTER, NULL, NULL,                     \
      "Payload that was sent again over another link.")                                           \
    X(PROBES, "adit_relay_probes_total", COUNTER, NULL, NULL,                                     \
      "Streams that were opened to see whether an agent opens streams.")                          \
    X(PROBES_FAILED, "adit_relay_probes_failed_total", COUNTER, NULL, NULL,                       \
      "Of them, those that were not answered in time.")                                           \
    X(LINKS_DOUBTED, "adit_relay_links_doubted_total", COUNTER, NULL, NULL,                       \
      "Times that an agent's link was not proved in time: in use and silent, or a probe failed.") \
    X(STREAMS_ENDED, "adit_relay_streams_ended_total", COUNTER, &metric_by_reason, NULL,          \
      "Streams that ended; reason ok: complete, both ways.")                                      \
    X(REFUSED, "adit_relay_refused_total", COUNTER, &metric_by_reason, NULL,                      \
      "Requests at the doors that were refused.")                                                 \
    X(PASSWORD_ASKS, "adit_relay_password_asks_total", COUNTER, &metric_by_reason, NULL,          \
      "Questions to the control plane about chosen passwords; reason ok: it was right.")          \
    X(PAC_SERVED, "adit_relay_pac_served_total", COUNTER, NULL, NULL, "PAC files that users fetched.") \
    X(CUT, "adit_relay_streams_cut_total", COUNTER, &metric_by_reason, NULL,                      \
      "Living streams that were cut because their access ended.")                                 \
    X(WAITING, "adit_relay_waiting", GAUGE, NULL, NULL, "Requests that wait for an agent to come back.") \
    X(USER_BYTES, "adit_relay_user_bytes_total", COUNTER, NULL, NULL, "Bytes from users to targets.") \
    X(TARGET_BYTES, "adit_relay_target_bytes_total", COUNTER, NULL, NULL, "Bytes from targets to users.") \
    X(ASSOCIATIONS, "adit_relay_udp_associations", GAUGE, NULL, NULL, "SOCKS5 UDP associations that are open.") \
    X(ASSOCIATIONS_TOTAL, "adit_relay_udp_associations_total", COUNTER, NULL, NULL,               \
      "SOCKS5 UDP associations that were opened.")                                                \
    X(ASSOCIATIONS_IDLE, "adit_relay_udp_associations_idle_total", COUNTER, NULL, NULL,           \
      "Of them, those that were ended because nothing moved.")                                    \
    X(TARGETS_IDLE, "adit_relay_udp_targets_idle_total", COUNTER, NULL, NULL,                     \
      "Streams of datagrams that were ended because nothing moved.")                              \
    X(USER_DATAGRAMS, "adit_relay_user_datagrams_total", COUNTER, NULL, NULL,                     \
      "Datagrams from users that went on to agents.")                                             \
    X(TARGET_DATAGRAMS, "adit_relay_target_datagrams_total", COUNTER, NULL, NULL,                 \
      "Datagrams from targets that went on to users.")                                            \
    X(DATAGRAMS_DROPPED, "adit_relay_datagrams_dropped_total", COUNTER, &metric_by_why, NULL,    \
      "Datagrams that went nowhere, by why.")                                                     \
    X(DIAGNOSES, "adit_relay_diagnoses", GAUGE, NULL, NULL, "Diagnoses that are under way.")      \
    X(DIAGNOSES_TOTAL, "adit_relay_diagnoses_total", COUNTER, NULL, NULL,                         \
      "Diagnoses that the control plane ordered.")                                                \
    X(DIAGNOSES_FAILED, "adit_relay_diagnoses_failed_total", COUNTER, NULL, NULL,                 \
      "Of them, those without an answer of the agent.")                                           \
    X(AGENTS, "adit_relay_agents", GAUGE, NULL, NULL, "Agents that are connected here.")          \
    X(AGENTS_UNPROVED, "adit_relay_agents_unproved", GAUGE, NULL, NULL,                           \
      "Of them, those that do not answer: others get their streams.")                             \
    X(AGENTS_GONE, "adit_relay_agents_gone", GAUGE, NULL, NULL,                                   \
      "Agents whose last link is gone and whose sessions are still known.")                        \
    X(LINKS, "adit_relay_links", GAUGE, NULL, NULL, "Tunnels that are up.")                       \
    X(LANES, "adit_relay_lanes_total", COUNTER, NULL, NULL,                                       \
      "Tunnels that agents added to one that they had, under load.")                              \
    X(LINKS_REFUSED, "adit_relay_links_refused_total", COUNTER, &metric_by_reason, NULL,          \
      "Tunnels whose credential was refused.")                                                    \
    X(SLOWED_AGENTS, "adit_relay_slowed_agents_total", COUNTER, NULL, NULL,                       \
      "Times that an agent whose links came and went too often was told to wait.")                \
    X(SLOWED_SOURCES, "adit_relay_slowed_sources_total", COUNTER, NULL, NULL,                     \
      "Connections turned away because refused tunnels came from their address too often.")       \
    X(FLAPS_KNOWN, "adit_relay_flaps_known", GAUGE, NULL, NULL,                                   \
      "Agents and addresses whose links are counted.")                                            \
    X(FLAPS_FORGOTTEN, "adit_relay_flaps_forgotten_total", COUNTER, NULL, NULL,                   \
      "Of them, those that were forgotten to make room.")                                         \
    X(RENEWALS_REFUSED, "adit_relay_renewals_refused_total", COUNTER, &metric_by_reason, NULL,    \
      "Certificates that agents asked for and did not get.")                                      \
    X(LINKS_LOST, "adit_relay_links_lost_total", COUNTER, &metric_by_reason, NULL,                \
      "Tunnels that ended.")                                                                      \
    X(HANDSHAKES, "adit_relay_handshakes", GAUGE, NULL, NULL, "Tunnels that are being set up.") \
    X(HANDSHAKES_TOTAL, "adit_relay_handshakes_total", COUNTER, &metric_by_handshake, NULL,       \
      "Connections at the tunnels' door, by how far they came.")                                  \
    X(REPLACED, "adit_relay_agents_replaced_total", COUNTER, NULL, NULL,                          \
      "Times that a second process came with an agent's identity.")                               \
    X(CONNECTIONS, "adit_relay_connections", GAUGE, NULL, NULL, "Connections at the doors.")      \
    X(CONNECTIONS_TOTAL, "adit_relay_connections_total", COUNTER, NULL, NULL,                     \
      "Connections that came to the doors.")                                                      \
    X(ACCEPT_PAUSES, "adit_relay_accept_pauses_total", COUNTER, NULL, NULL,                       \
      "Times a listener waited 100 ms for a free descriptor.")                                    \
    X(CONFIG_AGE, "adit_config_age_seconds", GAUGE, NULL, NULL,                                   \
      "Since the control plane's newest signed word.")                                            \
    X(CONFIG_REVISION, "adit_config_revision", GAUGE, NULL, NULL, "Revision of the state in force.") \
    X(CONFIG_EPOCH, "adit_config_epoch", GAUGE, NULL, NULL, "Epoch of the state in force.")       \
    X(CONFIG_SKIPPED, "adit_config_records_skipped", GAUGE, NULL, NULL,                           \
      "Records that came with the state since its snapshot and are of kinds not known here.")     \
    X(STATE_REFUSED, "adit_relay_state_refused_total", COUNTER, NULL, NULL,                       \
      "Signed documents that were refused: signature, order or form.")                            \
    X(EVENTS_WAITING, "adit_relay_events_waiting", GAUGE, NULL, NULL,                             \
      "Events that wait for the control plane.")                                                  \
    X(EVENTS_DROPPED, "adit_relay_events_dropped_total", COUNTER, NULL, NULL,                     \
      "Events that were dropped: too many waited, or the control plane refused them.")            \
    X(REFUSED_OTHERS, "adit_relay_refused_others_total", COUNTER, NULL, NULL,                     \
      "Refusals that the control plane hears of by their code alone: too many callers.")      \
    X(EVENTS_SPOOLED, "adit_relay_events_spooled_bytes", GAUGE, NULL, NULL,                       \
      "Disk that events take which wait for the control plane.")                                  \
    X(HELD_BYTES, "adit_relay_held_bytes", GAUGE, NULL, NULL,                                     \
      "Bytes held in streams: replay copies and what was not yet delivered.")                     \
    X(PROMISED_BYTES, "adit_relay_promised_bytes", GAUGE, NULL, NULL,                             \
      "Bytes that peers may still send.")                                                         \
    X(QUOTAS, "adit_relay_quotas", GAUGE, NULL, NULL, "Quotas that are counted here.")             \
    X(QUOTAS_UNCOUNTED, "adit_relay_quotas_uncounted", GAUGE, NULL, NULL,                         \
      "Quotas of the state beyond quotas_max: streams under them are refused.")                   \
    X(BREAKERS, "adit_relay_breakers", GAUGE, NULL, NULL, "Targets that failed and are remembered.") \
    X(BREAKERS_OPEN, "adit_relay_breakers_open", GAUGE, NULL, NULL, "Of them, those that nobody may try now.") \
    X(BREAKERS_OPENED, "adit_relay_breakers_opened_total", COUNTER, NULL, NULL,                   \
      "Times that a breaker opened, also anew after a try.")                                      \
    X(BREAKERS_EVICTED, "adit_relay_breakers_evicted_total", COUNTER, NULL, NULL,                 \
      "Targets that were forgotten to make room.")                                                \
    X(LATE_FRAMES, "adit_relay_late_frames_total", COUNTER, NULL, NULL,                           \
      "Frames for streams that had ended.")                                                       \
    X(OVERLOADS, "adit_relay_overloads_total", COUNTER, NULL, NULL,                               \
      "Streams refused for lack of memory or places.")                                            \
    X(PROTOCOL_ERRORS, "adit_relay_protocol_errors_total", COUNTER, NULL, NULL,                   \
      "Links and streams that ended by a fault of the peer.")

/* How a connection at the tunnels' door went; the rows are fields of tunnel_server_stats. */
#define HANDSHAKE_OUTCOMES(X) \
    X(adopted) X(upgraded) X(up) X(living) X(put_off) X(refused_overload) X(refused_path) X(refused_protocol) \
    X(timed_out) X(tls_failed) X(bad_messages)
enum {
#define HANDSHAKE_OUTCOME(name) HANDSHAKE_##name,
    HANDSHAKE_OUTCOMES(HANDSHAKE_OUTCOME)
#undef HANDSHAKE_OUTCOME
    HANDSHAKE_COUNT
};
extern const struct metric_label metric_by_handshake;

/* Why a datagram is dropped: malformed; FRAG is not 0; longer than a frame; not from the client's
 * address and port; more targets than an association may have; new targets too fast; its target
 * was refused a moment ago, or its stream ended; too many wait for their target to be opened; more
 * would be answered than was asked for; a quota of bytes is used up; the client's socket or the tunnel
 * cannot take it. */
#define DATAGRAM_DROPS(X) \
    X(malformed) X(fragment) X(too_long) X(source) X(targets) X(rate) X(refused) X(waiting) X(ratio) \
    X(quota) X(socket) X(tunnel)
enum {
#define DATAGRAM_DROP(name) DROP_##name,
    DATAGRAM_DROPS(DATAGRAM_DROP)
#undef DATAGRAM_DROP
    DROP_COUNT
};
extern const struct metric_label metric_by_why;

enum { RELAY_METRICS(METRIC_ENUM) RELAY_METRIC_COUNT };
