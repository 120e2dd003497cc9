#pragma once
#include "lib/config/option.h"
/*
 * config.h - the relay's options: one row each (option.h).
 */
#define RELAY_OPTIONS(X)                                                                            \
    X(PATH, data_dir, "/var/lib/adit-relay", 0, 0, 0, "where key, certificate and the last good state are kept") \
    X(STR, control_internal, "https://127.0.0.1:8444", 0, 0, 0, "the control plane's internal listener") \
    X(STR, control, "https://127.0.0.1:8443", 0, 0, 0, "join: the control plane's API")              \
    X(STR, tunnel_listen, "127.0.0.1:7443", 0, 0, 0, "address:port that agents dial")               \
    X(LIST, tls_proxies, "", 0, 0, 0,                                                               \
      "proxies (address, CIDR) that end TLS before this relay: from there agents sign instead of showing a certificate") \
    X(STR, plain_listen, "", 0, 0, 0, "address:port for those proxies alone, WebSocket without TLS; empty: none") \
    X(STR, http_listen, "", 0, 0, 0, "address:port of the HTTP proxy; empty: none")                 \
    X(STR, socks_listen, "", 0, 0, 0, "address:port of SOCKS5; empty: none")                        \
    X(STR, https_listen, "", 0, 0, 0, "address:port of the HTTP proxy over TLS; empty: none")       \
    X(STR, sockstls_listen, "", 0, 0, 0, "address:port of SOCKS5 over TLS; empty: none")            \
    X(STR, admin_listen, "127.0.0.1:9101", 0, 0, 0, "address:port of /healthz, /readyz, /metrics; empty: none") \
    X(PATH, door_certificate, "", 0, 0, 0, "PEM chain for the TLS doors; empty: the relay's own")   \
    X(PATH, door_key, "", 0, 0, 0, "PEM key for door_certificate")                                  \
    X(STR, pac_proxies, "", 0, 0, 0, "what PAC files of /pac/ at the TLS door name, e.g. HTTPS a.example:443; PROXY b.example:8080; empty: that door") \
    X(LIST, proxy_protocol_from, "", 0, 0, 0, "load balancers (CIDR) that bring a PROXY header, v1 or v2") \
    X(BOOL, allow_cleartext_credentials, "false", 0, 0, 0, "let doors without TLS listen beyond loopback") \
    X(STR, zone, "", 0, 0, 0, "the zone this relay stands in")                                      \
    X(INT, workers, "0", 0, 64, 0, "threads that carry traffic; 0: one for each core")              \
    X(INT, streams_max, "20000", 1, 1000000, 0, "users' streams at a time; beyond: overload")       \
    X(INT, links_max, "20000", 1, 1000000, 0, "agents' tunnels at a time")                          \
    X(INT, handshakes_per_s, "1000", 1, 100000, 0, "agents' tunnels let in a second; agents spread their first retry by it")    \
    X(INT, flap_links, "60", 0, 1000000, 0, "links that one agent may bring in flap_ms; beyond, it is told to wait; 0: any") \
    X(INT, flap_faults, "600", 0, 1000000, 0, "refused tunnels that one address may bring in flap_ms; beyond, it waits outside; 0: any") \
    X(MSEC, flap_ms, "5m", 1000, 86400000, 0, "in which an agent that was slowed may bring as many links again") \
    X(INT, visits_max, "10000", 1, 1000000, 0, "connections at a door at a time")                   \
    X(INT, visits_per_source_max, "1000", 1, 1000000, 0, "of them, from one address")               \
    X(SIZE, memory_limit, "256M", 1048576, 1099511627776, 0, "bytes held in all streams")           \
    X(MSEC, head_ms, "10s", 100, 600000, 0, "for a client to send its request head")                \
    X(MSEC, answer_ms, "10s", 100, 600000, 0, "for an agent to resolve and connect in")             \
    X(MSEC, idle_ms, "0", 0, 604800000, 0, "end a stream on which nothing moves for that long; 0: never") \
    X(MSEC, grace_ms, "60s", 0, 600000, 0, "how long an agent keeps a stream whose link is gone; the relay: three quarters of it") \
    X(MSEC, probe_every_ms, "5m", 1000, 86400000, 0, "how often an agent's link has to prove that streams are opened there; a quarter more or less") \
    X(MSEC, probe_rest_ms, "60s", 100, 86400000, 0, "and with the first stream after nothing was opened and nothing moved for that long") \
    X(MSEC, proof_use_ms, "3s", 1500, 60000, 0, "an agent in use that is silent for that long, or leaves a probe unanswered, gets new streams only where no other can") \
    X(MSEC, proof_rest_ms, "25s", 16000, 3600000, 0, "likewise an agent at rest that gave no sign for that long") \
    X(INT, refused_max, "256", 1, 100000, 0, "callers told apart among those the relay itself refuses") \
    X(MSEC, refused_ms, "2s", 100, 600000, 0, "how long they are counted before the control plane hears of them") \
    X(INT, udp_targets_max, "256", 0, 4096, 0, "targets of one SOCKS5 UDP association at a time; 0: no datagrams") \
    X(INT, udp_associations_max, "1000", 1, 100000, 0, "SOCKS5 UDP associations at a time")         \
    X(MSEC, udp_idle_ms, "1m", 100, 604800000, 0, "end a stream of datagrams on which nothing moves for that long") \
    X(MSEC, udp_association_idle_ms, "1h", 0, 604800000, 0, "end an association without a datagram for that long; 0: never") \
    X(INT, udp_reply_ratio, "1000", 0, 1000000, 0, "bytes answered for each byte an association sent, after 1 MiB; 0: any") \
    X(INT, quotas_max, "10000", 1, 1000000, 0, "quotas that this relay can count; streams under more of them: overload") \
    X(MSEC, quotas_told_ms, "2s", 100, 60000, 0, "how often the control plane hears what was used of quotas; a crash loses as much") \
    X(INT, breaker_failures, "5", 0, 1000000, 0, "failures of a target in a row that open its breaker; 0: none opens") \
    X(MSEC, breaker_cool_down_ms, "5s", 10, 3600000, 0, "how long an open breaker lets nobody try; longer each time, a quarter more or less") \
    X(MSEC, breaker_cool_down_max_ms, "5m", 10, 86400000, 0, "the longest such pause")              \
    X(INT, breakers_max, "10000", 1, 1000000, 0, "targets that failed and are remembered; beyond, the one used least lately is forgotten") \
    X(MSEC, max_staleness_ms, "24h", 1000, 2592000000, 0, "serve that long without a word of the control plane") \
    X(MSEC, control_away_ms, "15s", 6000, 3600000, 0, "the control plane counts as away after that long a silence; it speaks every 5 s") \
    X(MSEC, renew_wait_ms, "90s", 1000, 86400000, 0, "once it is back, for agents to renew certificates that ended meanwhile") \
    X(SIZE, events_spool, "256M", 4194304, 1099511627776, 0, "disk for what the control plane is to be told while it is away; beyond, the oldest goes") \
    X(MSEC, drain_ms, "30s", 0, 3600000, OPTION_RELOAD, "how long living streams may finish at stop") \
    X(STR, log_level, "info", 0, 0, OPTION_RELOAD, "error, warning, info or debug")                 \
    X(STR, log_format, "auto", 0, 0, 0, "text, json, or auto: text on a terminal")

struct relay_config {
    RELAY_OPTIONS(OPTION_FIELD)
};
extern const struct option_table relay_options;
