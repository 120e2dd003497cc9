#pragma once
#include "lib/base/list.h"
#include "lib/base/map.h"
#include "lib/mux/chunk.h"
#include "lib/mux/frame.h"
#include "lib/mux/mux.h"
#include "lib/mux/open.h"
#include "lib/mux/state.h"
/*
 * mux_internal.h - what the files of this room share; nobody else includes it.
 *
 * mux.c       the mux, telling handlers
 * memory.c    who may fill how much of it
 * link.c      a link's life: greeting, PING, time, GOAWAY
 * link_in.c   frames that arrive, those of the link
 * link_out.c  what goes out, in which order (produce)
 * leg.c       what has an id on a link and its turn in the scheduler
 * sched.c     whose turn it is: quick streams, then owners, then streams
 * stream.c    the program's side of a stream
 * stream_in.c frames that arrive, those of a stream
 * stream_out.c what a stream owes and sends
 * move.c      paths: lost, attached, given up
 * hop*.c      streams between two other ends: hop.h
 * handover.c  from one mux to another
 * probe.c     probe streams: whether streams are opened at the other end
 * proof.c     whether a link is believed in
 * credit.c    windows, limits, when CREDIT goes out
 * datagram.c  streams of kind udp
 * load.c      what links carry
 */
#define MUX_FIRST_WINDOW (256u << 10)
#define MUX_WINDOW_MAX (16u << 20)
#define MUX_WINDOW_LEAST (16u << 10)
#define MUX_WINDOW_REST_MS 10000    /* unused that long, a window is small again */
#define MUX_PROMISE_FACTOR 4        /* limits promised, in memory limits */
#define MUX_SET_ASIDE (2 * CHUNK_SMALL) /* of the memory, for each stream: one chunk each way */
#define MUX_SEND_PERCENT 75         /* of the rest: what programs may fill by sending, */
#define MUX_SEND_FIRST_PERCENT 100  /* and where nothing of theirs waits yet */
#define MUX_CREDIT_STEP (64u << 10)
#define MUX_CREDIT_TICK_MS 50
#define MUX_HELLO_TIMEOUT_MS 10000
#define MUX_PING_BUSY_MS 800         /* with its jitter a second at the most */
#define MUX_PING_REST_MS 10000
#define MUX_SILENCE_MS 3000
#define MUX_HEARD_MS 4000           /* a link that brought DATA, or took an OPEN, so lately is in use */
#define MUX_UNACKED_MS 10000        /* then a probe stream has to tell whether the path is good */
#define MUX_PROBE_REST_MS 60000     /* so long without use, and the next one is probed */
#define MUX_PROBE_AGAIN_MS 1000     /* after one for which there was no room */
#define MUX_PROBE_RETRY_MAX_MS 60000    /* between two of a row that fail */
#define MUX_SETTLE_MS 60000         /* a RESET that is not answered by then is forgotten; one that
                                     * still waits for its bytes does not wait any longer */
#define MUX_BACKLOG_MAX (127u << 10)    /* committed and not sent, a stream: one turn, and what
                                         * two messages hold, so that no third carries a rest */
#define MUX_QUICK_BYTES 4096        /* a stream that wrote no more in QUICK_MS goes first */
#define MUX_QUICK_MS 250
#define MUX_FRAME_LEAST 2048        /* frames are not cut below this for a slow link */
#define MUX_FRAME_PER_S 100         /* a frame takes 1/100 s of the link */
#define MUX_MESSAGE_LEAST 4096      /* the same for a message's frames of streams */
#define MUX_MESSAGE_PER_S 50
#define MUX_TEXT_MAX OPEN_TEXT_MAX
#define MUX_NOTICE_PART 8192
#define MUX_NOTICE_QUEUE_MAX (4u << 20)
#define MUX_REFUSALS_MAX 4096       /* OPENs refused without a stream, not yet answered */
#ifndef MUX_IDS_LEFT                /* "make few-ids" names another */
#define MUX_IDS_LEFT 1000000        /* with so many left, a new link */
#endif
#define MUX_IDLE_FRAMES_MAX 10000   /* frames that move nothing: so many at once, */
#define MUX_IDLE_FRAMES_PER_S 1000  /* then so many a second */
#define MUX_IDLE_FRAMES_PER_END 64  /* what may still be under way for a stream that ended */
#define MUX_PINGS_MAX 64
#define MUX_PINGS_PER_S 16
#define MUX_STREAM_FAULTS_MAX 64    /* streams that the peer broke, on one link */
#define MUX_ATTACH_MS 2000          /* an ATTACH that is not answered by then has failed */
#define MUX_RETRY_FIRST_MS 50       /* then twice as long each time, */
#define MUX_RETRY_MAX_MS 2000       /* up to this */
#define MUX_LINK_NEW_MS 10          /* after a link has opened */
#define MUX_FORGOTTEN_MAX 256       /* streams that had moved and ended, remembered */
#define MUX_DETACH_RETRY_MS 200     /* told with DETACH overload */
#define MUX_LATE_SMALL 256          /* a late frame shorter than this moves nothing */

struct forgotten {              /* a stream that had moved: its older OPEN may still come */
    unsigned char uid[MUX_UID_LEN];
    uint32_t path;
};

struct mux {
    struct mux_config config;
    struct mux_handlers on;
    struct mux_stats stats;
    uint64_t now_ms;
    uint64_t random;
    struct map by_uid;
    struct list links;
    struct list tell;           /* streams whose program has to hear something */
    struct list starved;        /* streams that want to write and found no memory */
    struct list waiting;        /* streams without a path, or with an ATTACH under way */
    struct forgotten forgotten[MUX_FORGOTTEN_MAX];  /* ring */
    uint32_t forgotten_count;
    uint64_t waiting_due_ms;    /* when the first of them has to be looked at */
    bool is_freeing;
    struct list dead_links;     /* freed by the program while a call on them runs */
    unsigned depth;             /* calls that may call handlers */
    uint64_t steps[STREAM_STATE_COUNT][STREAM_EVENT_COUNT];     /* taken, for the simulation */
};

/* A token bucket in whole events. */
struct bucket {
    uint32_t left;
    uint64_t filled_ms;
};

struct link_item {              /* HELLO, NOTICE, GOAWAY: sent in the order they came */
    struct list node;
    uint8_t type, kind;
    uint64_t revision;
    uint32_t len, sent;
    bool is_begun;
    unsigned char body[];
};

struct refusal {                /* an OPEN that got no stream, an id that carries none any more */
    struct list node;
    uint32_t id, retry_ms;
    enum reason reason;
    uint8_t type;               /* OPEN_ERR, ATTACH_ERR or DETACH */
};

struct owner {                  /* streams that share one turn */
    struct map_node node;
    struct mux_link *link;
    struct list busy;           /* in link->busy while it has streams to serve */
    struct list legs;           /* those with bytes and credit */
    uint64_t key;
    uint32_t refs;
    int32_t deficit;
};

/* What a link carries under one id, as far as the id table and the scheduler know it: an end of a
 * stream, or one side of a hop.  The first member of both. */
enum leg_kind { LEG_STREAM, LEG_HOP, LEG_KIND_COUNT };

struct leg {
    struct owner *owner;        /* NULL: not on a link */
    uint64_t owner_key;
    struct map_node by_id;
    struct list send;           /* in link->quick or owner->legs */
    struct list owing;          /* in link->owing, link->lazy or mux->waiting */
    uint16_t tx_burst_ms, tx_burst;
    int16_t deficit;            /* within one frame, a quarter of its bytes */
    uint8_t listed;             /* enum listed: where `owing` is */
    uint8_t kind : 4;           /* enum leg_kind */
    bool is_quick : 1;
    bool is_busy : 1;           /* `send` is in a list */
};

struct leg_class {
    size_t (*sendable)(const struct leg *g);    /* bytes that could go now */
    size_t (*whole)(const struct leg *g);       /* what goes next is not cut: the frame; else 0 */
    size_t (*produce)(struct leg *g, struct buf *out, size_t n);    /* the bytes it took */
    void (*produced)(struct leg *g);
    bool (*produce_owed)(struct leg *g, struct buf *out);           /* false: no room */
    void (*take)(struct leg *g, const struct frame *f);             /* came on its id */
    void (*lost)(struct leg *g);                                    /* the link is gone */
    void (*leave)(struct leg *g, enum reason why);  /* or will be: DETACH, if what it is may go on */
};

struct mux_link {
    struct mux *mux;
    void *user;
    struct list node;
    enum mux_link_state state;
    enum reason why;            /* CLOSED for */
    struct map by_id;
    struct map owners;
    uint32_t next_id, peer_id;  /* the next of ours; the highest that the peer opened */
    /* out */
    struct list items;
    size_t items_bytes;
    struct list refusals;
    uint32_t refusal_count;
    struct list owing;          /* streams that owe a frame */
    struct list lazy;           /* streams whose CREDIT may wait for the tick */
    struct list quick;          /* streams with bytes that wrote little lately */
    struct list busy;           /* owners with bytes */
    struct list resetting;      /* streams that wait for the answer to a RESET, oldest first */
    uint64_t rate;
    uint64_t unacked;
    uint64_t pong_value;
    uint64_t carried;           /* since the load was measured last, */
    uint32_t bulk;              /* streams of it */
    uint16_t load_turn;
    /* in */
    unsigned char *cut;         /* the frame that a part of a message ended in */
    uint32_t cut_len, cut_cap;
    uint32_t data_max;          /* bytes of one DATA, both ways */
    struct buf notice;
    struct frame_notice notice_head;
    struct bucket idle_frames, pings, datagrams, strange;   /* strange: out, unknown ones of hops */
    uint32_t stream_faults;
    /* time */
    uint64_t greet_until_ms, ping_sent_ms, credit_due_ms, tick_due_ms;
    uint64_t data_heard_ms;     /* 0: never */
    struct mux_stream *probe;   /* NULL: none is under way */
    uint64_t probe_until_ms;    /* 0: it was answered, or failed */
    uint64_t probe_over_ms;     /* once answered: by then it has ended, or is reset */
    uint64_t suspect_due_ms;    /* when to look for unacknowledged bytes again */
    uint64_t probe_due_ms;      /* the next one that nothing gave cause for */
    uint32_t probe_retry_ms;    /* after the last one failed; 0: it did not */
    uint64_t heard_ms;          /* any byte */
    uint64_t use_ms;            /* in use since then; 0: at rest */
    uint64_t used_ms;           /* a program's stream was opened, or moved bytes */
    uint8_t doubts;             /* enum doubt */
    uint64_t silent_since_ms;   /* the first PING since a byte was heard; 0: none */
    uint64_t ping_value;
    uint32_t ping_jitter;       /* in 1/1024, for the next PING */
    bool is_ping_owed, is_pong_owed, is_pong_seen, is_goaway_seen;
    bool is_hello_sent, is_hello_seen;
    bool is_accepting;          /* the peer dialled: our ids are even, and we greet first */
    bool is_producing;          /* the carrier is asking already */
    bool is_in_message, is_freed;
    bool is_between;            /* the peer is a relay: streams go on from there */
    bool is_worn;               /* link-renew was said: what crosses that is served */
};

enum owed {                     /* in the order in which they go out */
    OWE_OPEN = 1, OWE_ANSWER = 2, OWE_CREDIT = 4, OWE_FIN = 8, OWE_RESET = 16, OWE_END = 32,
    OWE_ATTACH = 64,            /* or ATTACH_OK: before all others */
};

enum told {                     /* in the order in which they are told */
    TELL_READABLE = 1, TELL_WRITABLE = 2, TELL_RESET = 4, TELL_PATH = 8, TELL_MOVED = 16,
    TELL_ENDED = 32,
};

enum listed { LISTED_NOWHERE, LISTED_OWING, LISTED_LAZY, LISTED_WAITING };

/* OPEN, OPEN_OK, OPEN_ERR until they are sent, or where the stream may move until the peer has
 * shown that it knows; while attaching, the boot id for ATTACH. */
struct owed_frame {
    uint32_t len;
    unsigned char payload[];
};

struct owed_text {
    uint32_t len;
    char text[];
};

struct mux_stream {
    struct leg leg;
    struct mux *mux;
    struct mux_link *link;      /* NULL: no path */
    void *user;
    struct map_node by_uid;
    struct list tell;           /* in mux->tell */
    struct list starved;        /* in mux->starved; once reset, in link->resetting */
    struct owed_frame *frame;
    struct owed_text *text;     /* of a RESET */
    struct chunk_queue tx, rx;
    struct datagrams *datagrams;        /* kind udp; else NULL */
    uint64_t tx_acked, tx_sent, tx_end, tx_limit;
    uint64_t rx_consumed, rx_received, rx_limit;    /* limit: as told */
    uint32_t rx_unacked;        /* received and not told so */
    uint32_t rx_since_grown;    /* received since the window last grew; once reset, when that was */
    uint32_t rx_promised;       /* limit - received, while it counts */
    uint32_t rx_window;
    uint32_t rx_last_ms;        /* low bits of the clock, as tx_burst_ms; once reset, when */
    uint32_t id, path;
    uint32_t acked_ms;          /* low bits: the oldest bytes sent wait for an answer since then */
    uint32_t lost_ms, due_ms;   /* low bits of the clock: path lost; what waiting comes to next */
    uint32_t entry_hash, boot_hash;     /* target side: who opened it */
    uint16_t grace_ds;          /* tenths of a second */
    uint16_t how;               /* enum reason */
    uint8_t state;              /* enum stream_state; only stream_step() writes it */
    uint8_t owed, told;
    uint8_t tries;              /* to attach, since the path was lost */
    bool is_entry : 1;
    bool is_answered : 1;       /* entry: OPEN_OK came */
    bool is_lost : 1;           /* no proved path; link may be there while attaching */
    bool is_attaching : 1;      /* entry: ATTACH owed or sent, not answered */
    bool is_open_sent : 1;      /* OPEN has left, so the peer may know the id */
    bool is_credit_lazy : 1;
    bool fin_wanted : 1;        /* the program ended before OPEN_OK */
    bool fin_acked : 1;         /* the peer has our FIN (or RESET) */
    bool is_fin_seen : 1;       /* the peer has ended its direction */
    bool is_reset_now : 1;
    bool is_peer_reset : 1;
    bool reset_told : 1;
    bool wants_write : 1;       /* reserve() gave nothing */
    bool is_at_limit : 1;       /* the peer has used all that it was told */
    bool is_refused : 1;        /* OPEN_ERR came */
    bool is_probe : 1;          /* no program hears how it goes on; no bytes */
    bool is_held : 1;           /* its path goes through a holder: the link's peer is not its end */
    bool is_cut : 1;            /* the program has reset: it hears only the end */
    unsigned char uid[MUX_UID_LEN], secret[MUX_SECRET_LEN];
    uint16_t load_turn;         /* of its link: when `load` began */
    uint16_t load;              /* both ways, in LOAD_UNITs; on its way to another mux: memory, in bytes,
                                 * that goes with it beside what it holds */
};

/* --- mux.c ---------------------------------------------------------------------------- */
void mux_enter(struct mux *m, uint64_t now_ms);
void mux_leave(struct mux *m);              /* tells what is to be told, frees dead links */
uint64_t mux_jittered(struct mux *m, uint64_t ms);          /* 3/4 ms .. 5/4 ms */
void stream_tell(struct mux_stream *s, unsigned what);

/* --- memory.c ------------------------------------------------------------------------- */
size_t stream_held(const struct mux_stream *s);
void mux_held_changed(struct mux *m, struct mux_stream *s, size_t before);
void mux_feed_starved(struct mux *m);       /* there may be memory again */
bool mux_may_add_stream(const struct mux *m);
/* Of what is not set aside. */
bool mux_has_memory(const struct mux *m, size_t more, unsigned percent);
bool memory_for_received(const struct mux_stream *s, size_t n);
bool memory_is_short_for(const struct mux_stream *s);       /* no credit beyond memory_sure() */
uint64_t memory_sure(const struct mux_stream *s);           /* up to this there is room in any case */
size_t memory_to_send(const struct mux_stream *s);          /* size of a chunk; 0: wait */
bool stream_is_starved(const struct mux_stream *s);         /* wants to write, and waits for memory */
unsigned memory_datagram_percent(const struct mux_stream *s);

/* --- link.c --------------------------------------------------------------------------- */
void link_wake(struct mux_link *l);
void link_fail(struct mux_link *l, enum reason why, const char *text);
void link_renew(struct mux_link *l);
/* The peer may be a holder: another relay, or the one that this side dialled.  Agents hold nothing. */
static inline bool link_is_to_relay(const struct mux_link *l) { return l->is_between || !l->is_accepting; }
void link_opened(struct mux_link *l);       /* greeting is over */
MUST_CHECK int link_item_add(struct mux_link *l, uint8_t type, uint8_t kind, uint64_t revision,
                             struct span body);
void link_item_free(struct mux_link *l, struct link_item *item);
void link_destroy(struct mux_link *l);
bool link_has_streams_out(const struct mux_link *l);
bool bucket_take(struct bucket *b, uint32_t max, uint32_t per_s, uint64_t now_ms);
void link_stream_fault(struct mux_link *l); /* counts one of its peer */
void link_idle_frame(struct mux_link *l);   /* counts a frame that moved nothing */
void link_refuse(struct mux_link *l, uint8_t type, uint32_t id, enum reason why,
                 uint32_t retry_ms);
void link_idle_allow(struct mux_link *l);
void link_arm_credit(struct mux_link *l);

/* --- link_in.c ------------------------------------------------------------------------ */
void link_frame(struct mux_link *l, const struct frame *f);

/* --- leg.c ---------------------------------------------------------------------------- */
extern const struct leg_class *const leg_classes[LEG_KIND_COUNT];
static inline const struct leg_class *leg_class(const struct leg *g)
{
    return leg_classes[g->kind];
}
void leg_init(struct leg *g, enum leg_kind kind, uint64_t owner_key);
MUST_CHECK int leg_join(struct leg *g, struct mux_link *l, const uint32_t *id);   /* -ENOMEM */
void leg_leave(struct leg *g);

/* --- sched.c -------------------------------------------------------------------------- */
void sched_add(struct leg *g);      /* has bytes and credit; may be in already */
void sched_remove(struct leg *g);
bool sched_has_bulk(const struct mux_link *l);
size_t sched_whole_due(const struct mux_link *l);
void sched_produce_quick(struct mux_link *l, struct buf *out, size_t limit);
void sched_produce_bulk(struct mux_link *l, struct buf *out, size_t limit);

/* --- stream.c ------------------------------------------------------------------------- */
struct mux_stream *stream_new(struct mux_link *l, uint32_t id, uint64_t owner, bool is_entry,
                              const struct mux_open *open);
bool stream_step(struct mux_stream *s, enum stream_event event);
bool link_has_ids(struct mux_link *l);       /* else it is told to go */
bool link_takes_streams(const struct mux_link *l);
void stream_unlink(struct mux_stream *s);   /* from its link, if any */
void stream_lost(struct mux_stream *s, uint32_t retry_ms);  /* its path is gone */
void stream_settle(struct mux_stream *s);
void stream_fault(struct mux_stream *s, const char *text);  /* of the peer: breaks it, counted */
void stream_check_settled(struct mux_stream *s);
bool stream_into_link(struct mux_stream *s, struct mux_link *l, uint32_t id);
void stream_check_drained(struct mux_stream *s);
void stream_break(struct mux_stream *s, enum reason why, const char *text);    /* fault seen here */
void stream_reset_now(struct mux_stream *s);    /* it does not wait for its bytes any longer */
void stream_text_set(struct mux_stream *s, struct span text);
void stream_free(struct mux_stream *s);
size_t stream_sendable(const struct mux_stream *s);
void stream_writable(struct mux_stream *s); /* room may have come */

extern const struct leg_class stream_leg;
static inline struct mux_stream *stream_of(const struct leg *g)     /* NULL: it is none */
{
    return g && g->kind == LEG_STREAM ? (struct mux_stream *)container_of(g, struct mux_stream, leg)
                                      : NULL;
}

/* --- stream_in.c ---------------------------------------------------------------------- */
void stream_take(struct leg *g, const struct frame *f);
void stream_frame(struct mux_link *l, const struct frame *f);

/* --- probe.c -------------------------------------------------------------------------- */
void probe_tick(struct mux_link *l);
void probe_answered(struct mux_stream *s);
void probe_with_use(struct mux_link *l);    /* a stream was opened, or comes here */
uint64_t probe_due(const struct mux_link *l);
static inline uint32_t probe_wait_ms(const struct mux *m) { return m->config.proof_use_ms; }

/* --- proof.c -------------------------------------------------------------------------- */
enum doubt {
    DOUBT_NEW = 1,              /* its first probe was not answered yet */
    DOUBT_SILENT = 2,           /* in use, and nothing comes */
    DOUBT_PROBE = 4,            /* a probe was not answered */
};

static inline bool link_is_proved_by_us(const struct mux_link *l)
{
    return l->mux->config.probe_every_ms > 0;
}
bool link_is_busy(const struct mux_link *l);
void proof_begin(struct mux_link *l);
void proof_heard(struct mux_link *l);       /* a byte */
void proof_answered(struct mux_link *l);    /* something that was opened there */
void proof_failed(struct mux_link *l);      /* a probe */
void proof_slept(struct mux_link *l);
void proof_produced(struct mux_link *l);    /* something goes out: PING may be due now */
void proof_tick(struct mux_link *l);
uint64_t proof_due(const struct mux_link *l);

/* --- hop.c ---------------------------------------------------------------------------- */
extern const struct leg_class hop_leg;
void hop_lost(struct leg *g);
void hop_leave(struct leg *g, enum reason why);
void holder_tell(struct mux_holder *h);     /* the program hears of hops that ended */
void holder_tick(struct mux_holder *h, uint64_t now_ms);
uint64_t holder_due(const struct mux_holder *h);
/* An OPEN or ATTACH that goes on elsewhere, or that the program does not let through.  False: it
 * is for us, as an end. */
bool hop_begin(struct mux_link *l, const struct frame *f);

/* --- move.c --------------------------------------------------------------------------- */
bool stream_may_move(const struct mux_stream *s);
void stream_pathless(struct mux_stream *s, uint32_t retry_ms);      /* lost its path; may move */
/* DETACH, and no path.  Where the stream may not move, it breaks. */
void stream_detach(struct mux_stream *s, enum reason why, const char *text, uint32_t retry_ms);
/* Target side: the OPEN that came again belongs to `s`. */
bool stream_rejoins(const struct mux_stream *s, const struct mux_open *open);
void stream_rejoin(struct mux_stream *s, struct mux_link *l, uint32_t id,
                   const struct mux_open *open, uint64_t limit);
bool stream_may_attach(const struct mux_stream *s);
void stream_leave_path(struct mux_stream *s, enum reason why);
void stream_leave(struct leg *g, enum reason why);
void stream_wants_path(struct mux_stream *s);                       /* at once; it has none */
void move_on_attach(struct mux_link *l, const struct frame *f);
void move_on_attach_ok(struct mux_stream *s, const struct frame *f);
void move_on_attach_err(struct mux_stream *s, const struct frame *f);
bool move_is_id_known(const struct mux_stream *s);    /* by the peer; false: its OPEN has not left */
bool move_put_attach(struct mux_stream *s, struct buf *out);
void move_remember(const struct mux_stream *s);     /* it is forgotten from now on */
bool move_is_forgotten(const struct mux *m, const struct mux_open *open);
void move_tick(struct mux *m);
void move_link_opened(struct mux *m);

/* --- stream_out.c --------------------------------------------------------------------- */
void stream_owe(struct mux_stream *s, unsigned what);
void stream_owe_refresh(struct mux_stream *s);

/* --- load.c --------------------------------------------------------------------------- */
void load_carried(struct mux_stream *s, size_t n);

/* --- credit.c ------------------------------------------------------------------------- */
size_t credit_first_window(const struct mux *m);    /* 0: overload */
void credit_promise_update(struct mux_stream *s);
void credit_received(struct mux_stream *s, bool is_at_limit);
void credit_consumed(struct mux_stream *s);
void credit_overrun(struct mux_stream *s);          /* no memory for what it was promised */
uint64_t credit_limit(struct mux_stream *s);        /* the limit to tell now */
uint64_t credit_path_limit(struct mux_stream *s);   /* the first one on a new path */

_Static_assert(sizeof(struct mux_stream) <= 432, "an idle stream stays small");
