#pragma once
#include "lib/config/option.h"
/*
 * config.h - the control plane's options: one row each (option.h).
 */
#define CONTROLPLANE_OPTIONS(X)                                                                     \
    X(STR, cluster, "adit", 0, 0, 0, "name of the cluster, part of every certificate")              \
    X(PATH, data_dir, "/var/lib/adit-controlplane", 0, 0, 0, "where the database and the key file are kept") \
    X(PATH, key_file, "", 0, 0, 0, "file with the key that seals all others (64 hex digits); empty: kek in data_dir, made when missing") \
    X(STR, store, "", 0, 0, OPTION_URL, "database of several control planes: postgresql://user@host/name; empty: adit.db in data_dir") \
    X(STR, store_password, "", 0, 0, OPTION_SECRET, "password for it, when neither the URL nor its passfile has one") \
    X(MSEC, store_wait_ms, "5s", 100, 60000, 0, "for a free connection, a lock, the turn to write")      \
    X(MSEC, store_statement_ms, "30s", 1000, 600000, 0, "for one statement of PostgreSQL")          \
    X(STR, api_listen, "127.0.0.1:8443", 0, 0, 0, "address:port of the REST API")                   \
    X(STR, internal_listen, "127.0.0.1:8444", 0, 0, 0, "address:port that relays ask (mutual TLS)") \
    X(STR, admin_listen, "127.0.0.1:9100", 0, 0, 0, "address:port of /healthz, /readyz, /metrics; empty: none") \
    X(LIST, relay_addrs, "wss://127.0.0.1:7443", 0, 0, 0, "what join tokens tell agents to dial")   \
    X(LIST, api_addrs, "", 0, 0, 0, "what join tokens tell relays to dial; empty: https:// and api_listen") \
    X(STR, public_url, "", 0, 0, 0, "https://host[:port] at which browsers find the REST API, for log-ins by identity providers; empty: https:// and api_listen") \
    X(LIST, hosts, "", 0, 0, 0, "further names and addresses in the listeners' certificate")        \
    X(PATH, credentials_file, "", 0, 0, 0, "bootstrap: where the first admin's password and token go; empty: to the terminal") \
    X(PATH, backup_file, "", 0, 0, 0, "backup: where to, 0600; empty: to the standard output.  restore: where from") \
    X(PATH, ca_file, "", 0, 0, 0, "where the root certificate is written (PEM); empty: nowhere")    \
    X(MSEC, agent_certificate_ms, "7d", 10000, 7776000000, 0, "how long an agent's certificate lasts; renewed from the first third on") \
    X(LIST, totp_roles, "", 0, 0, 0, "roles of whom a second factor is required (admin, operator, auditor, user); empty: none") \
    X(INT, sessions_max, "20", 1, 1000, 0, "log-in sessions of one user; when there would be more, the oldest ends") \
    X(INT, threads, "4", 1, 64, 0, "requests that run at a time")                                   \
    X(INT, slow_threads, "2", 1, 16, 0, "password checks that run at a time")                       \
    X(INT, queue_max, "256", 1, 100000, 0, "requests that wait; beyond: overload")                  \
    X(INT, connections_max, "1000", 10, 60000, 0, "connections of each listener")                   \
    X(INT, connections_per_address_max, "200", 1, 60000, 0, "of them, from one address (relays may sit behind one)") \
    X(MSEC, head_ms, "10s", 500, 600000, 0, "for a client to shake hands and send a request's head") \
    X(MSEC, body_ms, "60s", 500, 3600000, 0, "for a client to send a body")                         \
    X(MSEC, answer_ms, "10m", 1000, 86400000, 0, "for a client to take an answer")                  \
    X(INT, rate_per_s, "500", 0, 1000000, 0, "requests a second of one caller or address; 0: no limit") \
    X(INT, rate_burst, "1000", 0, 1000000, 0, "requests at once beyond that")                       \
    X(INT, oidc_asks_max, "64", 4, 1000, 0, "log-ins that wait for identity providers at a time; a provider has a quarter") \
    X(MSEC, oidc_timeout_ms, "10s", 100, 20000, 0, "for a request to an identity provider")        \
    X(MSEC, oidc_pause_ms, "10s", 100, 3600000, 0, "between two fetches of a provider's keys, and after a failure") \
    X(MSEC, audit_refusals_ms, "10s", 100, 3600000, 0, "how long refusals are counted before they are audited") \
    X(INT, audit_refusals_max, "256", 1, 100000, 0, "callers and operations told apart meanwhile; of strangers as many") \
    X(INT, audit_refusals_per_hour, "600", 1, 1000000, 0, "audit events for refusals; for strangers' as many") \
    X(INT, events_kept, "20000", 100, 10000000, 0, "events that listeners who come back may still hear") \
    X(INT, events_listeners_max, "256", 1, 4096, 0, "who listen to events at a time")                \
    X(INT, events_per_caller_max, "16", 1, 4096, 0, "of them, in the name of one user")             \
    X(INT, diagnostics_per_minute, "20", 1, 10000, 0, "diagnoses (adit diagnose) that one caller may ask for in a minute") \
    X(INT, diagnostics_kept, "500", 1, 500, 0, "diagnoses that are kept")                             \
    X(STR, pac_url, "", 0, 0, 0, "what PAC links begin with: a relay's TLS door, e.g. https://relay.example:8081; empty: links are paths") \
    X(MSEC, audit_checkpoint_ms, "1m", 100, 3600000, 0, "how long after a change a checkpoint over the audit trail is signed") \
    X(MSEC, audit_keep_ms, "0", 0, 3153600000000, 0, "how long audit events are kept; checkpoints stay; 0: for ever") \
    X(PATH, audit_file, "", 0, 0, 0, "checkpoints are appended to it, one a line; better on another machine; empty: none") \
    X(STR, audit_syslog, "", 0, 0, 0, "checkpoints go there too: unix:/dev/log or udp:address:port; empty: nowhere") \
    X(MSEC, drain_ms, "10s", 0, 600000, 0, "how long running requests may take at stop")            \
    X(STR, log_level, "info", 0, 0, OPTION_RELOAD, "error, warning, info or debug")                 \
    X(STR, log_format, "auto", 0, 0, 0, "text, json, or auto: text on a terminal")

struct controlplane_config {
    CONTROLPLANE_OPTIONS(OPTION_FIELD)
};
extern const struct option_table controlplane_options;

enum {                          /* exit codes */
    CONTROLPLANE_OK = 0,
    CONTROLPLANE_FAILED = 1,
    CONTROLPLANE_CONFIG = 2,
};
