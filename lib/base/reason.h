#pragma once
#include "lib/base/span.h"
/*
 * reason.h - why something was refused or ended: one list for every surface.
 *
 * The rows are in reason.def (code, HTTP status, SOCKS5 reply, what happened, cure);
 * schema/reasons.md is generated from them.  The code's text is the contract; the
 * number is this build's own and never leaves the process.
 */
enum reason {
    REASON_NONE = 0,            /* nothing was refused; text "ok" */
#define REASON(name, text, http, socks, what, cure) REASON_##name,
#include "lib/base/reason.def"
#undef REASON
    REASON_COUNT
};

const char *reason_text(enum reason r);         /* "no-grant" */
unsigned reason_http_status(enum reason r);     /* what an HTTP door answers */
uint8_t reason_socks_reply(enum reason r);      /* RFC 1928 section 6 */
const char *reason_what(enum reason r);         /* one sentence: what happened */
const char *reason_cure(enum reason r);         /* one sentence: what to do */
/* The reason with that text; REASON_COUNT when this build does not know it. */
enum reason reason_find(struct span text);
