#pragma once
#include "lib/base/span.h"
/*
 * chunk.h - a queue of bytes in chunks: the replay copy of a sender, the unread bytes of a
 * receiver.
 *
 * Bytes are appended at the tail, read anywhere, dropped at the head; a chunk is given back
 * as soon as its last byte is dropped, so an empty queue holds no memory.
 *
 * Shape      two sizes.  A large chunk holds exactly what a full DATA frame carries, so bulk
 *            moves one chunk for each frame; the small one keeps a keystroke from
 *            costing 16 KiB.
 * Units      bytes.  "held" is memory: whole chunks, not only what is in them.
 * Ownership  the queue owns its chunks.
 * Errors     -ENOMEM.
 */
#define CHUNK_LARGE 16384
#define CHUNK_SMALL 1024
#define CHUNK_HEADER 24
#define CHUNK_LARGE_ROOM (CHUNK_LARGE - CHUNK_HEADER)
#define CHUNK_SMALL_ROOM (CHUNK_SMALL - CHUNK_HEADER)

struct chunk {
    struct chunk *next;
    uint32_t start, end, room;      /* bytes are [start, end) of data[0, room) */
    uint32_t reserved;
    unsigned char data[];
};
_Static_assert(sizeof(struct chunk) == CHUNK_HEADER, "the sizes count on this");

struct chunk_queue {
    struct chunk *head, *tail;
    struct chunk *at;               /* where copy() goes on; NULL: at the head */
    uint32_t at_offset;             /* in at->data */
    uint32_t len;                   /* bytes; windows keep it below 2^32 */
    uint32_t held;
    bool is_reserved;               /* the tail's room is lent */
};

void chunk_queue_drop_all(struct chunk_queue *q);
/* On -ENOMEM nothing was appended. */
MUST_CHECK int chunk_queue_append(struct chunk_queue *q, struct span bytes);
/* What append() would add to `held`, at the most. */
size_t chunk_queue_cost(const struct chunk_queue *q, size_t n);
/* Room at the tail without more memory. */
size_t chunk_queue_room(const struct chunk_queue *q);
/* Room at the tail; where that is below 2 KiB, in a new chunk of `size`.  NULL: no memory, or
 * `size` is 0.  Valid until commit, whatever is dropped meanwhile; the bytes count after commit. */
unsigned char *chunk_queue_reserve(struct chunk_queue *q, size_t size, size_t *ret_n);
void chunk_queue_commit(struct chunk_queue *q, size_t n);      /* 0 gives unused room back */
void chunk_queue_drop(struct chunk_queue *q, size_t n);        /* at most len */
void chunk_queue_cut(struct chunk_queue *q, size_t n);         /* the newest; at most len */
size_t chunk_queue_peek(const struct chunk_queue *q, struct span *ret_spans, size_t max);

/* Copies the next n bytes (they must be there) that copy() has not given yet: a sender reads
 * each byte once and keeps it until it is dropped. */
void chunk_queue_copy(struct chunk_queue *q, unsigned char *dst, size_t n);
/* copy() begins again at the head: what is there is sent again. */
void chunk_queue_rewind(struct chunk_queue *q);
