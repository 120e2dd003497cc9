#pragma once
#include "lib/mux/mux.h"
/*
 * holder.h - the relay between the two ends of a stream: it changes ids and passes frames on.
 *
 * A stream that came in on one link goes out on another, as a *hop*.  Both links belong to the
 * program; the same links may carry streams of its own.  What the hop does not understand it
 * passes on unread, and it never answers for an end: bytes are acknowledged by the end that has
 * them, limits are those of the ends, held back so that never more than a hop window waits here.
 *
 * Shape      a mux whose config names a holder asks on_route() for each OPEN and ATTACH.  Muxes of
 *            one thread may share a holder, and hops go from a link of one to a link of another.
 * Units      bytes of payload; milliseconds.
 * Ownership  the holder owns its hops.  It is freed after the muxes that name it.  A hop is dead
 *            after on_hop_ended.
 * Threads    that of its muxes: one.
 * Re-entry   on_route and on_hop_ended are called where other handlers are; on_route may call
 *            anything but what frees a link or a mux, on_hop_ended anything that handlers may.
 * Errors     0; -ENOMEM; > 0 an enum reason.
 * Source     schema/tunnel.md, section "Holder".
 */
struct mux_hop;

enum mux_way { MUX_TO_TARGET, MUX_TO_ENTRY };

struct mux_holder_config {
    size_t memory_limit;        /* bytes that wait in all hops; 0: 64 MiB */
    size_t window;              /* what may wait in one, each way; 0: 256 KiB */
    uint32_t hops_max;          /* 0: 65,536 */
};

/* OPEN or ATTACH as far as a holder reads it.  Spans live for the call. */
struct mux_asked {
    bool is_attach;
    struct span uid;
    uint32_t path;
    struct span boot_id;        /* OPEN: of the entry; ATTACH: of the target side; may be none */
    struct span ticket;         /* may be none */
    /* OPEN only */
    uint8_t kind;               /* enum mux_kind, or one that is not known here */
    uint8_t hop_count;
    struct span host;
    uint16_t port;
    uint32_t grace_ms;
    struct span principal, grant, entry;
};

struct mux_route {              /* filled in by on_route */
    struct mux_link *to;        /* NULL: it is for us, as an end */
    uint64_t owner[2];          /* by enum mux_way: streams with the same key share a turn there;
                                 * preset: the principal's hash, and 0 */
    void *user;                 /* for on_hop_ended */
};

struct mux_hop_counts {
    uint64_t bytes[2];          /* handed on, by enum mux_way */
    uint64_t datagrams[2], datagrams_dropped[2];
};

struct mux_holder_stats {       /* since it was made; gauges are of now */
    uint64_t hops_begun, hops_refused;
    uint64_t bytes[2];          /* handed on, by enum mux_way */
    uint64_t frames;            /* put on links, of all hops */
    uint64_t unknown_frames;    /* passed on unread */
    uint64_t split;             /* DATA that went on in more than one frame */
    uint64_t credits;           /* CREDIT sent because bytes were handed on */
    uint64_t limits_held;       /* limits told that were lower than the end's */
    uint64_t limits_pressed;    /* of these, for want of memory */
    uint64_t detaches, resets;  /* by the holder itself */
    uint64_t gaps, faults, overloads;
    uint64_t datagrams_dropped, late_frames, faded;
    size_t held_bytes;          /* what waits */
    size_t promised_bytes;      /* limits told and not used */
    uint32_t hops;
};

struct mux_holder *mux_holder_new(const struct mux_holder_config *config);  /* NULL: no memory */
void mux_holder_free(struct mux_holder *h);     /* NULL: nothing */
const struct mux_holder_stats *mux_holder_stats(const struct mux_holder *h);
void mux_holder_set_memory_limit(struct mux_holder *h, size_t bytes);
const struct mux_hop_counts *mux_hop_counts(const struct mux_hop *hop);
/* The only way in which a program ends a hop: the stream is no longer allowed (`revoked`).  Both
 * ends get a RESET; on_hop_ended comes later. */
void mux_hop_revoke(struct mux_hop *hop);
