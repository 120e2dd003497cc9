#pragma once
#include "lib/base/addr.h"
#include "lib/base/buf.h"
#include "lib/base/reason.h"
/*
 * mux.h - many streams over one link: frames, credit, scheduling, replay copy.
 *
 * Pure: knows no socket, no clock, no JSON.  Bytes come in by mux_link_take(), go out by
 * mux_link_produce(); time comes in as `now_ms` (monotonic).  What the frames look like is
 * schema/tunnel.md.
 *
 * Shape      a mux is one program's end of many streams.  Links are attached to it and
 *            die; a stream is carried by one link at a time.
 * Units      bytes of payload; milliseconds.
 * Ownership  the mux owns its links and streams.  A stream is dead after on_ended, a link
 *            after mux_link_free.  Spans given to handlers live for the call only.
 * Threads    one thread for a mux and all that is in it.
 * Re-entry   handlers are called from mux_link_take, mux_link_tick, mux_link_produce,
 *            mux_link_free and mux_free only - never from a mux_stream_* call, so a program
 *            may go on using what it holds after one (on_ended comes later, by one of those;
 *            on_want_send is the exception: it may come from any call and must only take note).
 *            Handlers may call any function here except mux_free, mux_link_free of the link
 *            being fed, mux_link_take, mux_link_produce and mux_link_tick.
 * Errors     0; -ENOMEM; > 0 an enum reason as named at each function.
 */
#define MUX_MESSAGE_MAX 65536           /* what a carrier has to give to produce() at the most */
#define MUX_FRAME_PAYLOAD_MAX 16368     /* one TLS record with its header */
#define MUX_DATAGRAM_MAX MUX_FRAME_PAYLOAD_MAX
#define MUX_FEATURE_LARGE_DATA "data-64k"       /* of a link, in HELLO */
#define MUX_FEATURE_DIAGNOSE "diagnose"         /* likewise: it takes streams of that kind */
#define MUX_UID_LEN 16
#define MUX_SECRET_LEN 16
#define MUX_RANGES_MAX 64
#define MUX_RESOLVE_MAX 16
#define MUX_TRIES_MAX 8
#define MUX_ELSEWHERE_MAX 8

struct mux;
struct mux_link;
struct mux_stream;
struct mux_holder;              /* holder.h */
struct mux_hop;
struct mux_asked;
struct mux_route;

enum mux_kind { MUX_KIND_TCP = 1, MUX_KIND_UDP = 2, MUX_KIND_PROBE = 3, MUX_KIND_DIAGNOSE = 4 };

/* OPEN, as either side sees it.  Spans: the opener's are copied into the frame, the
 * target side's point into the frame and live for the call of on_open. */
struct mux_open {
    unsigned char uid[MUX_UID_LEN];
    unsigned char secret[MUX_SECRET_LEN];
    uint32_t path;                              /* 1 for OPEN */
    enum mux_kind kind;
    struct span host;                           /* name or literal, as asked for */
    uint16_t port;
    struct span resolve_to[MUX_RESOLVE_MAX];    /* addresses, or one "unix:/path"; none: resolve */
    size_t resolve_count;
    struct cidr ranges[MUX_RANGES_MAX];         /* permitted; none: the agent's policy decides */
    size_t range_count;
    bool allow_special;
    uint32_t answer_ms;                         /* left for the target side to answer in */
    uint32_t grace_ms;
    uint32_t features;
    struct span trace;                          /* W3C traceparent */
    struct span principal, grant, profile;      /* for the agent's log and its own policy */
    struct span entry, boot_id;                 /* the entry relay and its boot */
    struct span tls_name;                       /* kind diagnose: shake hands, that name is to be proved */
    uint8_t hop_count;                          /* holders between; filled in by the link */
};

struct mux_try {                                /* one address that the target side dialled */
    struct endpoint to;
    uint32_t took_ms;
    enum reason result;                         /* REASON_NONE: connected */
};

struct mux_opened {                             /* OPEN_OK */
    struct span boot_id;
    uint32_t features;
    struct endpoint used;
    struct span resolved_by;                    /* "override", "literal", "dns", "dns-cache" … */
    struct mux_try tries[MUX_TRIES_MAX];
    size_t try_count;
};

enum mux_scope { MUX_SCOPE_LINK = 0, MUX_SCOPE_SESSION = 1 };

/* GOAWAY, as it is said and as it is heard. */
struct mux_goaway {
    enum reason why;
    struct span text;                           /* for the log */
    uint32_t ms_left;                           /* until who says it closes */
    uint32_t retry_ms;                          /* do not come back sooner; 0: nothing is asked */
    enum mux_scope scope;                       /* of the session: all its links */
    struct span elsewhere[MUX_ELSEWHERE_MAX];   /* "host:port" of other relays; to the mux opaque */
    size_t elsewhere_count;
};

struct mux_config {
    bool is_accepting;              /* links: the peer dialled.  Opens even ids; greets first */
    size_t memory_limit;            /* bytes held in all streams */
    size_t first_window;            /* 0: 256 KiB */
    size_t window_max;              /* 0: 16 MiB */
    uint32_t streams_max;           /* per mux; beyond: overload */
    uint32_t hello_timeout_ms;      /* 0: 10,000 */
    uint64_t random_seed;           /* jitter of PING and of attaching */
    /* Links on which we open streams are proved (enum mux_proof): by a probe stream when they open,
     * that often (jittered by a quarter), and with the first stream after a rest.  0: never; probes
     * run on suspicion alone. */
    uint32_t probe_every_ms;
    uint32_t probe_rest_ms;         /* 0: 60,000 */
    uint32_t proof_use_ms;          /* doubted after so long without an answer; 0: 3,000 */
    /* HMAC-SHA-256 of `message`: proves who goes on with a stream.  NULL: no stream outlives
     * its link here. */
    void (*mac)(const unsigned char secret[MUX_SECRET_LEN], struct span message,
                unsigned char ret_mac[32]);
    struct mux_holder *holder;      /* passes streams on; NULL: this mux only is an end */
    const char *boot_id;            /* our own, outlives the mux; the target side needs it */
};

/* Doubt ends nothing: who opens streams does so elsewhere while he can.  Unproved: a link whose first
 * probe is under way.  Doubted: in use, and nothing was heard for proof_use_ms; or a probe was not
 * answered in that time, and nothing that was opened since. */
enum mux_proof { MUX_PROVED, MUX_UNPROVED, MUX_DOUBTED };

enum mux_link_state { MUX_LINK_GREETING, MUX_LINK_OPEN, MUX_LINK_DRAINING, MUX_LINK_CLOSED };

/* `user` is what the program gave to mux_link_new / mux_stream_set_user.  A handler that is
 * NULL is not called. */
struct mux_handlers {
    /* link */
    void (*on_hello)(void *user, struct mux_link *l, struct span json);
    void (*on_accepted)(void *user, struct mux_link *l);        /* dialling side only */
    void (*on_notice)(void *user, struct mux_link *l, uint8_t kind, uint64_t revision,
                      struct span body);
    void (*on_goaway)(void *user, struct mux_link *l, const struct mux_goaway *goaway);
    void (*on_proved)(void *user, struct mux_link *l, uint32_t rtt_us); /* a PONG came back */
    void (*on_proof)(void *user, struct mux_link *l, enum mux_proof proof);     /* it has changed */
    void (*on_failed)(void *user, struct mux_link *l, enum reason why, const char *text);
                                    /* fault or silence: flush (GOAWAY is queued), then free */
    void (*on_want_send)(void *user, struct mux_link *l);       /* produce() has something, or
                                    tick() is due earlier; may come often, so only note it */
    /* stream; user of the stream, NULL before mux_stream_set_user */
    void (*on_open)(void *link_user, struct mux_stream *s, const struct mux_open *open);
                                    /* of MUX_KIND_PROBE nothing more is told: answer it, and forget it */
    void (*on_opened)(void *user, struct mux_stream *s, const struct mux_opened *opened);
    void (*on_refused)(void *user, struct mux_stream *s, enum reason why, struct span text);
    void (*on_tries)(void *user, struct mux_stream *s, const struct mux_opened *tries);
                                    /* just before on_refused, when the refusal lists its tries */
    void (*on_readable)(void *user, struct mux_stream *s);      /* once for a batch of frames */
    void (*on_writable)(void *user, struct mux_stream *s);      /* reserve() has room again */
    void (*on_datagram)(void *user, struct mux_stream *s, struct span bytes);   /* kind udp */
    void (*on_reset)(void *user, struct mux_stream *s, enum reason why, struct span text);
    /* Entry: the stream has no path.  mux_stream_attach() if there is a link to the boot that
     * serves it, mux_stream_abandon() if that is over; else it is asked again, with back-off and
     * when a link opens, until the grace ends.  Comes after mux_stream_reset() too. */
    void (*on_want_path)(void *user, struct mux_stream *s);
    void (*on_moved)(void *user, struct mux_stream *s);         /* it has a path again */
    void (*on_ended)(void *user, struct mux_stream *s, enum reason how);
                                    /* REASON_NONE: complete.  The last call for this stream */
    /* holder: where an OPEN or ATTACH goes on.  Not REASON_NONE: refused with that */
    enum reason (*on_route)(void *link_user, struct mux_link *from, const struct mux_asked *asked,
                            struct mux_route *route);
    void (*on_hop_ended)(void *user, struct mux_hop *hop, enum reason why);
                                    /* REASON_NONE: its ends said so */
};

struct mux_stats {                  /* since the mux was made; gauges are of now */
    uint64_t frames_in[128], frames_out[128];   /* by type & 0x7f */
    uint64_t bytes_in, bytes_out;               /* payload of DATA */
    uint64_t datagrams_in, datagrams_out;
    uint64_t datagrams_dropped;                 /* too many for the link, or no memory */
    uint64_t late_frames, unknown_frames, overload_refusals, protocol_errors;
    uint64_t paths_lost, paths_found, graces_over;  /* of streams that may move */
    uint64_t replayed_bytes;                        /* payload that went out again */
    uint64_t dropped_bytes;         /* received and given up, for want of memory: sent again */
    uint64_t probes, probes_failed; /* streams of kind probe that were opened; not answered in time */
    uint32_t probing;               /* of `streams`: those of kind probe, both ours and the peer's */
    uint64_t doubts;                /* times that a link came into doubt */
    uint64_t memory_in, memory_out; /* of the limit, that came and went with streams (put_in, take_out) */
    size_t held_bytes;              /* replay copies and received bytes not consumed */
    size_t promised_bytes;          /* limits told and not used */
    uint32_t streams, links;
};

/* NULL: no memory. */
struct mux *mux_new(const struct mux_config *config, const struct mux_handlers *handlers);
void mux_free(struct mux *m);       /* ends all streams (on_ended) and links first */
const struct mux_stats *mux_stats(const struct mux *m);
/* Another share of the program's memory, memory_in and memory_out so far included.  Less than is held:
 * nothing is dropped, no more is taken. */
void mux_set_memory_limit(struct mux *m, size_t bytes);
/* What no link does: streams without a path.  Needed only while the mux has no link; answers
 * when to call again (UINT64_MAX: when something happens). */
uint64_t mux_tick(struct mux *m, uint64_t now_ms);

/* --- links ------------------------------------------------------------------------- */
struct mux_link *mux_link_new(struct mux *m, void *user, uint64_t now_ms);     /* NULL: no memory */
/* For a program that dials links and accepts links, whatever the mux's own is_accepting says. */
struct mux_link *mux_link_new_as(struct mux *m, bool is_accepting, void *user, uint64_t now_ms);
void mux_link_free(struct mux_link *l);     /* its streams lose their path */
enum mux_link_state mux_link_state(const struct mux_link *l);
/* MUX_PROVED always, where probe_every_ms is 0. */
enum mux_proof mux_link_proof(const struct mux_link *l);
/* Feeds received bytes; a message may come in parts (`is_last` ends it).  Frames never span
 * messages.  0, or the reason for which the link has to end (GOAWAY is queued). */
MUST_CHECK int mux_link_take(struct mux_link *l, struct span bytes, bool is_last, uint64_t now_ms);
/* Writes whole frames, at most `cap` (>= 16,384) bytes, as one message; 0: nothing to send. */
size_t mux_link_produce(struct mux_link *l, unsigned char *dst, size_t cap, uint64_t now_ms);
bool mux_link_has_output(const struct mux_link *l);
/* Does what time asks for (PING, time-outs, CREDIT ticks); answers when to call again.  To be
 * called after every take() too, which may have made it due earlier. */
uint64_t mux_link_tick(struct mux_link *l, uint64_t now_ms);
/* Highest rate seen by the carrier, bytes a second, to cut frames by (0: unknown). */
void mux_link_set_rate(struct mux_link *l, uint64_t bytes_per_s);
/* The peer is another relay: what is opened and attached here goes on from there.  PING every second;
 * a fault in a stream's frames is not counted against the peer. */
void mux_link_between_relays(struct mux_link *l);
/* Both HELLOs offer it (MUX_FEATURE_LARGE_DATA), no stream has opened yet: DATA of up to four times
 * as many bytes, both ways. */
void mux_link_large_data(struct mux_link *l);
/* REASON_NOT_READY: the accepting side's HELLO comes first.  REASON_TOO_LARGE. */
MUST_CHECK int mux_link_hello(struct mux_link *l, struct span json);
/* The accepting side says yes (a PING at least goes out) - streams may open now. */
void mux_link_accept(struct mux_link *l, uint64_t now_ms);
/* This link takes no new streams.  Of a session each link is told; a peer that knows the scope heeds the
 * first. */
void mux_link_goaway(struct mux_link *l, const struct mux_goaway *goaway);
/* The time of a GOAWAY is over: streams that may move are told so (DETACH) and have no path here any
 * more; the link ends next, and with it the others. */
void mux_link_detach(struct mux_link *l, enum reason why);
/* In parts where it is long; at most 1 MiB (REASON_TOO_LARGE), 4 MiB waiting (REASON_OVERLOAD). */
MUST_CHECK int mux_link_notice(struct mux_link *l, uint8_t kind, uint64_t revision,
                               struct span body);
/* Takes new streams of ours.  A link whose ids come to their end is told to go (link-renew). */
bool mux_link_may_open(struct mux_link *l);
uint32_t mux_link_stream_count(const struct mux_link *l);
/* What it carried since it was asked last: payload both ways, and how many of its streams moved
 * MUX_BULK_BYTES or more. */
#define MUX_BULK_BYTES (64u << 10)
struct mux_load {
    uint64_t bytes;
    uint32_t bulk;
};
void mux_link_measure(struct mux_link *l, struct mux_load *ret_load);

/* --- streams ----------------------------------------------------------------------- */
/* Entry: sends OPEN (limits and path are filled in).  Streams opened with the same owner key
 * share one turn of the scheduler; on the target side those of one principal do.
 * > 0: REASON_OVERLOAD, REASON_RELAY_DRAINING, REASON_LINK_RENEW, REASON_NOT_READY,
 * REASON_CONFLICT (the uid is in use), REASON_INVALID (a field is too long). */
MUST_CHECK int mux_stream_open(struct mux_link *l, const struct mux_open *open, uint64_t owner,
                               void *user, uint64_t now_ms, struct mux_stream **ret_stream);
void mux_stream_accept(struct mux_stream *s, const struct mux_opened *opened);   /* target side */
void mux_stream_refuse(struct mux_stream *s, enum reason why, struct span text,
                       const struct mux_opened *tries);                          /* NULL: none */
void mux_stream_set_user(struct mux_stream *s, void *user);
struct mux_link *mux_stream_link(const struct mux_stream *s);                    /* NULL: no path */
struct span mux_stream_uid(const struct mux_stream *s);

/* Moving.  A stream whose OPEN named a grace outlives its path when `mac` is there: both ends
 * keep it, the entry for three quarters of the grace, the target side for all of it.
 * attach(): entry only, at any time; goes on over `l`, to the target side's boot `boot_id`; where
 * OPEN_OK has not come the OPEN is said again.  REASON_NOT_READY: the link takes no streams;
 * REASON_CONFLICT: this stream does not move any more; -ENOMEM. */
MUST_CHECK int mux_stream_attach(struct mux_stream *s, struct mux_link *l, struct span boot_id,
                                 uint64_t now_ms);
void mux_stream_abandon(struct mux_stream *s, enum reason how);     /* at once, without a word */
/* Target side: the entry came back as another boot; what the old one opened is over. */
void mux_abandon_entry(struct mux *m, struct span entry, struct span boot_id, enum reason how);
/* Entry: from one mux to another of the program with the same configuration, perhaps another
 * thread's.  take_out() leaves the path there was (DETACH) and the mux; outside of all calls and
 * handlers.  False: it does not move now, and stays.  put_in(): it has kept what it held and its
 * user, and wants a path at once.  -ENOMEM, -EEXIST: it is gone without a word. */
MUST_CHECK bool mux_stream_take_out(struct mux_stream *s);
MUST_CHECK int mux_stream_put_in(struct mux *m, struct mux_stream *s, uint64_t now_ms);
/* To be asked right after mux_link_measure(): it was one of those. */
bool mux_stream_is_bulk(const struct mux_stream *s);
uint32_t mux_stream_path(const struct mux_stream *s);           /* its number; 1: never moved */

/* Sending.  reserve() gives room inside the replay buffer, limited by credit, by memory and to
 * 128 KiB that wait for the link; write there, then commit() - commit(0) when nothing came, so
 * that an idle stream holds no buffer.  *ret_n == 0 (NULL): wait for on_writable.  No DATA
 * before OPEN_OK. */
unsigned char *mux_stream_reserve(struct mux_stream *s, size_t *ret_n);
void mux_stream_commit(struct mux_stream *s, size_t n);
void mux_stream_fin(struct mux_stream *s);
/* Ends both ways after the bytes committed so far; now: drops them. */
void mux_stream_reset(struct mux_stream *s, enum reason why, struct span text, bool is_now);
uint64_t mux_stream_sent(const struct mux_stream *s);           /* committed offset */
uint64_t mux_stream_unacked(const struct mux_stream *s);

/* Datagrams, on streams of kind udp: they come by on_datagram, and go out as the link takes them.
 * At most 64 KiB wait for the link, then the oldest are dropped; nothing is said again.  After
 * fin() what waits still goes.  > 0: REASON_NOT_READY (not open, or fin() was called),
 * REASON_TOO_LARGE (above MUX_DATAGRAM_MAX), REASON_OVERLOAD (no memory): this one was dropped. */
struct mux_datagram_counts {
    uint64_t sent, received, dropped;
    uint64_t sent_bytes, received_bytes;
};
MUST_CHECK int mux_stream_send_datagram(struct mux_stream *s, struct span bytes);
const struct mux_datagram_counts *mux_stream_datagrams(const struct mux_stream *s);

/* Receiving: views of what is there in order, then consume() what the target really took. */
size_t mux_stream_peek(const struct mux_stream *s, struct span *ret_spans, size_t max);
void mux_stream_consume(struct mux_stream *s, size_t n);
bool mux_stream_at_fin(const struct mux_stream *s);             /* peer's FIN, and all consumed */
uint64_t mux_stream_consumed(const struct mux_stream *s);
