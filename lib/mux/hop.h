#pragma once
#include "lib/mux/holder.h"
#include "lib/mux/mux_internal.h"
/*
 * hop.h - what the files of the holder share.
 *
 * A hop has two sides.  A side is an id on a link, what waits to go out there, and the account of
 * the bytes that go that way:
 *
 *     acked <= handed <= received <= told <= limit
 *
 * `limit` is what the end behind this side takes, `told` what the other end knows of that.  Where
 * frames wait, they stand between the bytes in the order in which they came.
 *
 * hop.c      holder, hops: birth, ends, memory, time
 * hop_in.c   routes; frames that arrive
 * hop_out.c  what waits, and its turn
 */
#define HOP_MEMORY (64u << 20)
#define HOPS_MAX 65536
#define HOP_WINDOW (256u << 10)
#define HOP_WINDOW_LEAST (16u << 10)    /* under pressure */
#define HOP_FRAMES_MAX (64u << 10)      /* frames that wait, a side; of DATAGRAM as much again */
#define HOP_FRAME_COST 48               /* of a frame that waits, beside its payload */
#define HOP_BULK_PERCENT 90             /* of the memory: bytes, datagrams, unknown frames */
#define HOP_PRESSED_PERCENT 75
#define HOP_PRESSED_MS 10000            /* after there was none, what comes again comes in steps */
#define HOP_WINDOWS_LEAST 4             /* of the usual size, in the memory */
#define HOP_STRANGE_MAX 5000            /* unknown frames put on one link: half of what an end */
#define HOP_STRANGE_PER_S 500           /* that does not know them bears */

struct held {                   /* a frame, or (DATA) the flags of a stretch of bytes */
    struct list node;
    uint64_t at;                /* it goes when the bytes before this offset have gone */
    uint64_t end;               /* DATA: up to here */
    uint32_t len;
    uint8_t type, flags;
    bool is_last;               /* then the id is over */
    unsigned char payload[];
};
_Static_assert(sizeof(struct held) <= HOP_FRAME_COST, "the bound counts on this");

enum last {                     /* what this side still has to say before its id is over */
    LAST_NONE,
    LAST_FRAME,                 /* a frame that waits says so */
    LAST_CREDIT,                /* the target side's answer to a RESET */
    LAST_OWN,                   /* a RESET or DETACH of our own */
};

struct side {
    struct leg leg;
    struct mux_hop *hop;
    struct mux_link *link;      /* NULL: the id is over */
    struct chunk_queue bytes;
    struct list frames;
    uint64_t received, handed, acked, limit, told;
    uint64_t flagged;           /* DATA that ended here said that it ends at the limit */
    uint64_t last_start;        /* of the last DATA that came */
    const char *own_text;
    uint32_t id;
    uint32_t frames_cost, datagrams_cost;
    uint32_t promised;
    uint32_t own_retry_ms;
    uint16_t own_reason;
    uint8_t own_type;
    uint8_t last;               /* enum last */
    uint8_t credit_flags;       /* of the next CREDIT that goes out here */
    uint8_t flags_taken;        /* of CREDIT that came here */
    bool owes_credit;
    bool is_target;             /* the end behind it is the target side */
    bool is_introduced;         /* the peer knows the id */
    bool is_reset;              /* a RESET has gone out here */
};

struct mux_hop {
    struct side side[2];        /* by enum mux_way: what goes out there */
    struct mux_holder *holder;
    void (*on_ended)(void *user, struct mux_hop *hop, enum reason why);
    void *user;
    struct mux_hop_counts counts;
    struct list node;           /* in holder->fading or holder->ended */
    uint64_t fades_ms;
    bool is_attach, is_answered;
    bool has_spoken;            /* the entry, since: it has the answer */
    bool has_features;          /* the ends have agreed on some: they know what they say */
    bool is_ended;
    enum reason why;
};

struct mux_holder {
    struct mux_holder_config config;
    struct mux_holder_stats stats;
    struct list fading;         /* reset, not answered; oldest first */
    struct list ended;          /* to be told */
    uint64_t now_ms;            /* of the last call */
    uint64_t pressed_ms;        /* until then windows are small: there was no memory */
};

static inline struct side *side_of(const struct leg *g)
{
    return container_of(g, struct side, leg);
}

static inline struct side *other_side(struct side *x)
{
    return &x->hop->side[x == &x->hop->side[0]];
}

/* --- hop.c ---------------------------------------------------------------------------- */
bool holder_has_memory(const struct mux_holder *h, size_t more, unsigned percent);
size_t holder_window(const struct mux_holder *h);
bool holder_may_take(const struct mux_holder *h);
struct mux_hop *hop_new(struct mux_link *l, uint32_t id, const struct mux_route *route);
void hop_undo(struct mux_hop *hop);             /* the program has not heard of it */
void hop_detach(struct mux_hop *hop, enum reason why, uint32_t retry_ms, const char *text);
void hop_fault(struct side *x, const char *text);        /* what came on `x` */
void hop_fade(struct mux_hop *hop);             /* a RESET has gone out */
void holder_now(struct mux_holder *h, uint64_t now_ms);
void side_own(struct side *y, uint8_t type, enum reason why, uint32_t retry_ms, const char *text);
void side_over(struct side *x);                 /* its id is over; the last of two ends the hop */

/* --- hop_in.c ------------------------------------------------------------------------- */
void hop_take(struct leg *g, const struct frame *f);

/* --- hop_out.c ------------------------------------------------------------------------ */
size_t side_held(const struct side *y);
void side_held_changed(struct side *y, size_t before);
void side_promise_update(struct side *y);
/* The limit of what goes out at `y`, as its sender may know it now. */
uint64_t side_tell(struct side *y);
/* In its place behind what waits.  False: no room or no memory for it. */
bool side_push(struct side *y, const struct frame *f, bool is_last);
bool side_push_bytes(struct side *y, struct span bytes, uint8_t flags);
void side_push_datagram(struct side *y, const struct frame *f);
void side_drop(struct side *y);                 /* all that waits */
void side_skip_bytes(struct side *y);           /* the bytes, as if they had gone */
void side_refresh(struct side *y);              /* it may have something to say */
