#pragma once
#include "controlplane/http/server.h"
#include "lib/base/list.h"
#include "lib/base/map.h"

#include <microhttpd.h>
#include <pthread.h>
/*
 * server_internal.h - an exchange and the parts that it passes through; this room only.
 *
 * An exchange is owned by libmicrohttpd's thread while bytes move, by a pool thread while it
 * runs, by the list of parked ones while it waits.  Suspending and resuming the connection
 * hands it over.
 */
#define URI_MAX 4096
#define SEGMENTS_MAX 12

enum stage {
    STAGE_HEAD,         /* nothing but the request line was seen */
    STAGE_BODY,         /* the route is known (or a problem is); bytes come in */
    STAGE_RUNNING,      /* suspended: waits for, or has, a pool thread, or is parked */
    STAGE_DONE,         /* resumed: the answer is to be queued */
    STAGE_ANSWERED,
};

struct query {
    struct span name, value;
};

/* Of a request whose connection may be gone (stream.c). */
#define KEPT_HEADERS 2
struct kept_header {
    const char *name;
    char *value;                /* NULL: it had none */
};

struct exchange {
    struct list node;           /* in a lane's queue, or parked */
    struct list running;        /* idempotency keys in flight */
    struct server *server;
    struct MHD_Connection *connection;  /* NULL: `kept` has the headers */
    const struct kept_header *kept;
    enum stage stage;
    bool is_checked;            /* authenticated and so on: not again when woken */
    bool is_counted;            /* among the server's active ones */
    struct request req;
    struct response res;
    struct stream *stream;      /* the answer goes on; stream_detach() at its end */
    char uri[URI_MAX + 1];      /* as it came; cut when longer */
    char decoded[URI_MAX + 1];  /* where decoded segments and queries live */
    size_t uri_len, decoded_len;
    struct span segments[SEGMENTS_MAX];
    size_t segment_count;
    struct query queries[REQUEST_QUERIES_MAX];
    size_t query_count;
    struct buf body;
    size_t body_charged;        /* of the server's body_total */
    size_t dropped;             /* bytes of a body that was refused */
    uint64_t started_us, generation, deadline_ms;
};

/* ---- lanes: threads and a bounded queue ---- */
struct lane {
    pthread_mutex_t lock;
    pthread_cond_t has_work;
    struct list queue;
    pthread_t *threads;
    unsigned thread_count, waiting, waiting_max, running;
    bool is_stopping;
    void (*run)(void *ctx, struct list *job);
    void *ctx;
};

MUST_CHECK int lane_start(struct lane *lane, unsigned threads, unsigned waiting_max,
                          void (*run)(void *ctx, struct list *job), void *ctx);
/* False: the queue is full.  `is_owed`: was admitted before, may pass the bound. */
bool lane_push(struct lane *lane, struct list *job, bool is_owed);
void lane_counts(struct lane *lane, uint64_t *ret_running, uint64_t *ret_waiting);
/* Runs what is queued, then ends the threads; pushing is refused from then on. */
void lane_stop(struct lane *lane);
void lane_deinit(struct lane *lane);

/* ---- rate: token buckets by name, in a bounded table ---- */
struct rate_table {
    pthread_mutex_t lock;
    struct map map;
    struct list recent;         /* the longest unused one first */
    unsigned per_s, burst;
};

void rate_init(struct rate_table *t, unsigned per_s, unsigned burst);
void rate_deinit(struct rate_table *t);
/* 0: go on; otherwise seconds until there is a token again. */
unsigned rate_take(struct rate_table *t, struct span name, uint64_t now_ms);

/* ---- connections: each has a deadline for what it is at (deadline.c) ---- */
struct deadlines {
    pthread_mutex_t lock;
    struct list list;
    uint64_t look_ms;           /* when to look again: the clock's */
};

void deadlines_init(struct deadlines *all);
void deadlines_deinit(struct deadlines *all);
/* On the clock's thread: ends the connections that are late. */
void deadlines_look(struct server *server);
/* What the connection is at now may take so long; 0: as long as we take. */
void deadline_set(struct server *server, struct MHD_Connection *connection, uint64_t ms);
/* For the library: connections that come and go. */
void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                   enum MHD_ConnectionNotificationCode what);
struct addr connection_peer(struct MHD_Connection *connection);

struct server {
    struct MHD_Daemon *daemon;
    struct server_options options;
    int listen_fd, quiesced_fd;
    uint16_t port;
    struct lane normal, slow;
    struct rate_table rates;
    struct deadlines deadlines;
    pthread_mutex_t lock;       /* all below */
    pthread_cond_t has_changed; /* the clock's, and the drain's */
    pthread_t clock;
    bool has_clock, is_stopping, is_draining;
    struct list parked, in_flight;
    unsigned parked_count;
    struct list streams;
    unsigned stream_count;
    uint64_t generations[8];    /* how often each topic was rung */
    unsigned active;            /* exchanges between head and completion */
    size_t body_total;
    struct server_stats stats;
};

bool response_is_unchanged(const struct response *res, struct span if_none_match);
/* request.c */
struct exchange *exchange_new(struct server *server, struct MHD_Connection *connection,
                              const char *uri);
void exchange_free(struct exchange *x);
/* Splits and decodes the URI: REASON_NONE or a problem in the response. */
void exchange_parse_uri(struct exchange *x);
/* The check of the names that the route knows. */
bool exchange_check_queries(struct exchange *x);
/* route.c: sets route and parameters, or 404, 405. */
void exchange_route(struct exchange *x, const char *method);
/* check.c: on the pool, before the handler; false with a problem. */
bool exchange_check(struct exchange *x);
/* run.c */
void exchange_run(void *server, struct list *job);
void exchange_finish(struct exchange *x);       /* encodes problem or 304, logs */
void *clock_main(void *server);
void parked_expire_all(struct server *server);
/* stream.c */
struct MHD_Response *stream_response(struct stream *s);         /* NULL: out of memory */
void stream_detach(struct stream *s);   /* the exchange is over */
void streams_end_all(struct server *server);
/* listen.c: on libmicrohttpd's threads. */
enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                           const char *method, const char *version, const char *upload,
                           size_t *upload_size, void **con_cls);
void *on_uri(void *cls, const char *uri, struct MHD_Connection *connection);
void on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                  enum MHD_RequestTerminationCode why);
size_t on_unescape(void *cls, struct MHD_Connection *connection, char *text);

uint64_t monotonic_us(void);
