#pragma once
#include "lib/mux/mux.h"
/*
 * open.h - the tags of OPEN, OPEN_OK, OPEN_ERR, and of what says why (RESET, GOAWAY ...).
 *
 * Pure.  Encoders write the payload, without the frame header.
 *
 * Ownership  decoded spans point into the payload.
 * Errors     decoders: 0 or > 0 (the payload is not valid); encoders: the buffer's error.
 * Source     schema/tunnel.md, sections "OPEN" to "GOAWAY".
 */
#define OPEN_TEXT_MAX 255       /* any text in a frame */
#define OPEN_HOPS_LEN 4

/* Read by a holder too, which only skims. */
enum open_tag {
    OPEN_TAG_UID = 0x01, OPEN_TAG_SECRET, OPEN_TAG_PATH, OPEN_TAG_KIND, OPEN_TAG_HOST,
    OPEN_TAG_PORT, OPEN_TAG_RESOLVE_TO, OPEN_TAG_RANGES, OPEN_TAG_LIMIT, OPEN_TAG_ANSWER_MS,
    OPEN_TAG_GRACE_MS, OPEN_TAG_FEATURES, OPEN_TAG_TRACE, OPEN_TAG_PRINCIPAL, OPEN_TAG_GRANT,
    OPEN_TAG_PROFILE, OPEN_TAG_ENTRY, OPEN_TAG_BOOT_ID, OPEN_TAG_SPECIAL,
    OPEN_TAG_TICKET, OPEN_TAG_HOPS,    /* through another relay */
    OPEN_TAG_TLS_NAME,
};

enum opened_tag {               /* OPEN_OK and OPEN_ERR */
    OPENED_TAG_REASON = 0x01, OPENED_TAG_TEXT, OPENED_TAG_BOOT_ID, OPENED_TAG_LIMIT,
    OPENED_TAG_FEATURES, OPENED_TAG_USED, OPENED_TAG_RESOLVED_BY, OPENED_TAG_TRY,
};

struct why {                    /* RESET, OPEN_ERR, ATTACH_ERR, DETACH */
    enum reason reason;
    struct span text;
    uint32_t ms;                /* DETACH: retry after */
};

void open_encode(struct buf *out, const struct mux_open *open, uint64_t first_limit);
MUST_CHECK int open_decode(struct span payload, struct mux_open *ret_open, uint64_t *ret_limit);
/* Writes another path number into what open_encode() wrote. */
void open_set_path(unsigned char *payload, uint32_t path);
/* Another hop count at the end of it, where there is room for OPEN_HOPS_LEN more; the new length. */
size_t open_set_hops(unsigned char *payload, size_t len, uint8_t before, uint8_t hop_count);
void opened_encode(struct buf *out, const struct mux_opened *opened, uint64_t first_limit);
MUST_CHECK int opened_decode(struct span payload, struct mux_opened *ret_opened,
                             uint64_t *ret_limit);
void refused_encode(struct buf *out, const struct why *why, const struct mux_opened *tries);
MUST_CHECK int refused_decode(struct span payload, struct why *ret_why,
                              struct mux_opened *ret_tries);
/* RESET: the final offset, then why. */
void reset_encode(struct buf *out, uint64_t final_offset, const struct why *why);
MUST_CHECK int reset_decode(struct span payload, uint64_t *ret_final, struct why *ret_why);
void why_encode(struct buf *out, const struct why *why);
MUST_CHECK int why_decode(struct span payload, struct why *ret_why);
#define GOAWAY_LEN_MAX ((size_t)4096)   /* of what goaway_encode() writes */
void goaway_encode(struct buf *out, const struct mux_goaway *goaway);
MUST_CHECK int goaway_decode(struct span payload, struct mux_goaway *ret_goaway);
