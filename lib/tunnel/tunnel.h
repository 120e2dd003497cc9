#pragma once
#include "lib/mux/mux.h"
#include "lib/tunnel/hello.h"
/*
 * tunnel.h - one link of a mux from handshake to end, over whatever carries it.
 *
 * The program makes its mux with the link handlers that tunnel_fill_handlers() gives, adds
 * its own stream handlers, and hears of links by tunnel_handlers.  In on_open of the mux
 * the link's user is the struct tunnel.  lib/tunnel/client and lib/tunnel/server carry.
 *
 * Life       made by client or server; HELLOs cross; the accepting program judges in
 *            on_credential (now or later: tunnel_accept, tunnel_refuse); on_up; at last
 *            on_down, once and always, after which the pointer is dead.
 * Units      milliseconds, bytes.
 * Ownership  the carrier owns the tunnel.  The program only closes it.
 * Threads    its loop's thread.
 * Re-entry   any function here may be called in any handler.
 */
#define TUNNEL_STREAMS_FIELD "Adit-Streams"    /* of the upgrade: how many streams live that the link is for */

struct tunnel;

/* kind, number, name: what a NOTICE carries.  Bodies are JSON or signed documents. */
#define TUNNEL_NOTICES(X) \
    X(AGENT_POLICY, 1, "agent-policy")      /* signed: targets that may be reached */ \
    X(KEY_SET, 2, "key-set")                /* signed by the root: state-signing keys */ \
    X(CERTIFICATE, 3, "certificate")        /* {"chain": PEM}: answer to a join or renewal */ \
    X(RENEW, 4, "renew")                    /* {"csr", "chain", "signature"}: the agent asks */ \
    X(RELAYS, 5, "relays")                  /* {"relays": [{"id","boot_id","addrs"}]}: who lives */ \
    X(RETRY, 6, "retry")                    /* {"first_retry_ms"}: HELLO's, as it is now */
enum tunnel_notice {
#define TUNNEL_NOTICE(name, number, text) TUNNEL_NOTICE_##name = number,
    TUNNEL_NOTICES(TUNNEL_NOTICE)
#undef TUNNEL_NOTICE
};
const char *tunnel_notice_name(unsigned kind);      /* "?" for unknown ones */

/* What a program says of itself in every HELLO. */
struct tunnel_self {
    struct ulid id;                     /* "" when joining */
    const char *name, *software, *platform, *zone;
    struct ulid boot_id;
    int64_t starts;
    int64_t streams_max;
    int64_t first_retry_ms;             /* accepting side, as the next ones */
    int64_t workers, worker;            /* threads that carry links, and which this is */
    const char *const *relays;          /* "host:port" */
    size_t relay_count;
};

/* What the dialling side shows; copied, the key and chain referenced. */
struct tunnel_login {
    enum tunnel_credential kind;
    struct tunnel_session session;      /* TUNNEL_SESSION */
    struct chain *chain;                /* TUNNEL_SIGNATURE */
    struct key *key;
    const char *token_id, *csr, *mac;   /* TUNNEL_JOIN */
    struct ulid replaces;               /* the session offered on a link that we gave up; "": none */
};

struct tunnel_handlers {                /* `user` is the config's, or tunnel_set_user()'s */
    /* Accepting side: judge.  `shown`: the verified certificate, NULL when none was. */
    void (*on_credential)(void *user, struct tunnel *t, const struct tunnel_hello *hello,
                          const struct identity *shown);
    /* Dialling side, before the credential goes out: false ends it without a word. */
    bool (*on_greeted)(void *user, struct tunnel *t, const struct tunnel_hello *hello);
    /* Streams may be opened.  Both sides. */
    void (*on_up)(void *user, struct tunnel *t);
    void (*on_notice)(void *user, struct tunnel *t, unsigned kind, uint64_t revision,
                      struct span body);
    void (*on_goaway)(void *user, struct tunnel *t, const struct mux_goaway *goaway);
    void (*on_proved)(void *user, struct tunnel *t, uint32_t rtt_us);   /* a PONG came back */
    void (*on_proof)(void *user, struct tunnel *t, enum mux_proof proof);      /* it has changed */
    /* The last call.  `text` is for a person. */
    void (*on_down)(void *user, struct tunnel *t, enum reason why, const char *text);
};

/* --- the program --------------------------------------------------------------------- */
/* Sets the link handlers; leaves the stream handlers alone. */
void tunnel_fill_handlers(struct mux_handlers *handlers);
void tunnel_set_user(struct tunnel *t, void *user);
void *tunnel_user(const struct tunnel *t);
struct mux_link *tunnel_link(const struct tunnel *t);      /* NULL before the pipe is open */
/* The peer's HELLO; NULL before it came. */
const struct tunnel_hello *tunnel_peer_hello(const struct tunnel *t);
const struct tunnel_hello *tunnel_own_hello(const struct tunnel *t);
/* What its HELLO offered. */
bool tunnel_peer_has(const struct tunnel *t, const char *feature);
struct endpoint tunnel_peer_address(const struct tunnel *t);
/* Dialling side: from where; ENDPOINT_NONE before the connection is open. */
struct endpoint tunnel_local_address(const struct tunnel *t);
/* The session this link belongs to: the offered one, or the one that was proved. */
const struct tunnel_session *tunnel_session(const struct tunnel *t);
bool tunnel_is_up(const struct tunnel *t);
/* Dialling side, in on_down: how long the other side asked to be left alone (by Retry-After, or in its
 * last GOAWAY); 0: it did not. */
uint32_t tunnel_retry_after_ms(const struct tunnel *t);
/* Accepting side, after on_credential. */
void tunnel_accept(struct tunnel *t);
/* TUNNEL_SESSION: proved by `session`'s secret, whose link it is from now on; false: refuse it. */
bool tunnel_check_session(struct tunnel *t, const struct tunnel_session *session);
void tunnel_refuse(struct tunnel *t, enum reason why, const char *text);
/* Likewise, and asks not to come back before so long. */
void tunnel_put_off(struct tunnel *t, enum reason why, const char *text, uint32_t retry_ms);
/* TUNNEL_SIGNATURE: whose signature it is. */
enum reason tunnel_check_signature(const struct tunnel *t, const struct trust *trust,
                                   enum cert_kind kind, int64_t now_s,
                                   struct identity *ret_identity);
MUST_CHECK int tunnel_notice(struct tunnel *t, enum tunnel_notice kind, uint64_t revision,
                             struct span body);
/* No new streams here; living ones have its ms_left. */
void tunnel_goaway(struct tunnel *t, const struct mux_goaway *goaway);
/* GOAWAY, what is queued is sent (2 s at the most), end; on_down comes on a later turn.  Where the link
 * was draining the streams that may move are sent away from it first (DETACH). */
void tunnel_close(struct tunnel *t, enum reason why, const char *text);
/* Ends without a word, for a peer that cannot be reached this way; on_down comes on a later turn. */
void tunnel_drop(struct tunnel *t, enum reason why, const char *text);

/* --- the carrier (lib/tunnel/client, lib/tunnel/server, tests) ----------------------- */
struct tunnel_carrier {
    void (*want_send)(void *carrier);           /* pull by tunnel_produce(), at the turn's end */
    void (*set_timer)(void *carrier, uint64_t at_ms);   /* call tunnel_tick() then */
    void (*finish)(void *carrier);              /* send what there is, then end the connection and
                                                 * call tunnel_ended(): on a later turn */
    void (*drop)(void *carrier, enum reason why, const char *text);     /* end it, likewise later */
};

struct tunnel_config {
    bool is_accepting;
    struct mux *mux;
    const struct tunnel_self *self;
    const struct tunnel_login *login;           /* dialling side */
    const struct tunnel_handlers *handlers;     /* lives as long as the tunnel */
    void *user;
    const struct tunnel_carrier *carrier;
    void *carrier_arg;
};

MUST_CHECK int tunnel_new(const struct tunnel_config *config, struct tunnel **ret_tunnel);
/* Frees one that the program has not seen yet; NULL does nothing. */
void tunnel_discard(struct tunnel *t);
/* The pipe is open: makes the mux link, sends HELLO if accepting.  On an error call
 * tunnel_ended(). */
MUST_CHECK int tunnel_start(struct tunnel *t, uint64_t now_ms);
void tunnel_set_shown(struct tunnel *t, const struct identity *shown,
                      const struct endpoint *address);
void tunnel_set_local(struct tunnel *t, const struct endpoint *address);
/* Received bytes of a message.  False: the link is ending (finish() was called): read no more. */
bool tunnel_take(struct tunnel *t, struct span bytes, bool is_last, uint64_t now_ms);
/* One message of at most `cap` >= 16,384 bytes; 0: nothing to send. */
size_t tunnel_produce(struct tunnel *t, unsigned char *dst, size_t cap, uint64_t now_ms);
bool tunnel_has_output(const struct tunnel *t);
void tunnel_tick(struct tunnel *t, uint64_t now_ms);
void tunnel_set_retry_after(struct tunnel *t, uint32_t ms);
/* The connection is gone: on_down, then the tunnel is freed. */
void tunnel_ended(struct tunnel *t, enum reason why, const char *text);
