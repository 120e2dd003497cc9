#pragma once
#include "controlplane/store/store.h"
#include "lib/crypto/key.h"
/*
 * checkpoint.h - a signed statement of where every chain of audit events ended.
 *
 * Shape      doc: {"format", "cluster", "epoch", "number", "prev", "at_ms", "steady_ms", "by",
 *            "removed_to", "heads": [{"writer", "seq", "hash"}]}; the signature is over the bytes of the doc, as
 *            base64url.  `prev` is the SHA-256 of the doc before, hex; of number 1 it is empty.
 *            Outside it is one line: {"signature": "…", "checkpoint": doc}.
 * Units      Unix milliseconds.
 * Errors     -errno; -EBADMSG: not such a text; -ENOBUFS: too many chains.
 */
#define CHECKPOINT_HEADS_MAX 256
#define CHECKPOINT_DOC_MAX (64u << 10)
#define CHECKPOINT_LINE_MAX (CHECKPOINT_DOC_MAX + 256)

struct checkpoint {
    char cluster[64], prev[STORE_HASH_HEX + 1], by[STORE_WRITER_MAX + 1];
    int64_t epoch, number, at_ms;
    int64_t steady_ms;          /* a clock that does not jump: at_ms of the first, and from one to the
                                 * next never back, nor farther than the keeper bears; retention goes by it */
    int64_t removed_to;         /* events before those that this checkpoint names may be gone; 0: none */
    struct store_audit_head heads[CHECKPOINT_HEADS_MAX];
    size_t head_count;
};

MUST_CHECK int checkpoint_write(const struct checkpoint *c, struct buf *ret_doc);
MUST_CHECK int checkpoint_read(struct span doc, struct checkpoint *ret_c);
MUST_CHECK int checkpoint_sign(const struct key *key, struct span doc, struct buf *ret_signature);
bool checkpoint_is_signed(const struct key *key, struct span doc, struct span signature);
const struct store_audit_head *checkpoint_head(const struct checkpoint *c, const char *writer); /* NULL */
/* The line, with its line feed. */
void checkpoint_line(struct span doc, struct span signature, struct buf *out);
/* Without the line feed: false when it is no such line. */
bool checkpoint_line_cut(struct span line, struct span *ret_doc, struct span *ret_signature);
