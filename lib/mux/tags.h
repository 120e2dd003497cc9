#pragma once
#include "lib/base/buf.h"
/*
 * tags.h - lists of (tag u8, length u16, value): what may grow without a new frame type.
 *
 * A reader is a table of rules: which tags it knows, how long each may be, where the
 * value goes.  Tags below 0x80 that it does not know are skipped; from 0x80 on they are
 * refused, since their sender says that they may not be skipped.
 *
 * Ownership  spans point into the bytes that were read.
 * Errors     0 or an enum tag_error.
 * Source     schema/tunnel.md, section "Tags".
 */
#define TAG_CRITICAL 0x80

enum tag_error {                /* > 0 */
    TAG_E_CUT = 1,              /* a tag ends behind the payload */
    TAG_E_LENGTH,               /* a value shorter or longer than its rule */
    TAG_E_TWICE,                /* a tag that may come once came again */
    TAG_E_CRITICAL,             /* an unknown tag that may not be skipped */
    TAG_E_VALUE,                /* the value was refused */
};

struct tag_rule {
    uint8_t tag;
    uint16_t min, max;          /* bytes of the value */
    bool may_repeat;
    bool (*take)(void *into, struct span value);        /* false: refused */
    void *into;
};

MUST_CHECK int tags_read(struct span bytes, const struct tag_rule *rules, size_t count);
/* For who passes the bytes on: unknown tags of every kind are left to those who read them all. */
MUST_CHECK int tags_skim(struct span bytes, const struct tag_rule *rules, size_t count);

/* Takers for tag_rule: the rule's min and max say how long the value is. */
bool tag_take_span(void *into_span, struct span value);
bool tag_take_u8(void *into_u8, struct span value);
bool tag_take_u16(void *into_u16, struct span value);
bool tag_take_u32(void *into_u32, struct span value);
bool tag_take_u64(void *into_u64, struct span value);
bool tag_take_bool(void *into_bool, struct span value);         /* one byte, 0 or 1 */
bool tag_take_reason(void *into_reason, struct span value);     /* unknown codes: INTERNAL */

void tag_put(struct buf *out, uint8_t tag, struct span value);
void tag_put_span(struct buf *out, uint8_t tag, struct span value);     /* nothing when empty */
void tag_put_u8(struct buf *out, uint8_t tag, uint8_t v);
void tag_put_u16(struct buf *out, uint8_t tag, uint16_t v);
void tag_put_u32(struct buf *out, uint8_t tag, uint32_t v);
void tag_put_u64(struct buf *out, uint8_t tag, uint64_t v);
