#pragma once
#include "lib/json/json.h"
#include "lib/state/document.h"
/*
 * state_internal.h - small things that the files of lib/state share.
 */

/* Writes the text and answers DOCUMENT_E_REJECTED. */
int state_reject(struct state_error *reterr, const char *format, ...) PRINTF_LIKE(2, 3);
/* The same, and answers DOCUMENT_E_TOO_NEW. */
int state_too_new(struct state_error *reterr, const char *format, ...) PRINTF_LIKE(2, 3);
/* Where a part was refused: writes the text if `r` is one of these two, and answers `r`. */
int state_say_where(struct state_error *reterr, int r, const char *format, ...) PRINTF_LIKE(3, 4);
/* What json_decode said, put behind `where`; -ENOMEM is passed on. */
int state_reject_json(struct state_error *reterr, const char *where, int r,
                      const struct json_error *e);
/* As document_cut(); `ret_is_short`: the document goes on behind the end of `rest`. */
int document_cut_or_short(struct span *rest, struct document *ret_document, bool *ret_is_short,
                          struct state_error *reterr);
/* The first line; what follows stays in `*rest`. */
struct span state_cut_line(struct span *rest);
/* A JSON integer that is not negative. */
uint64_t state_unsigned(int64_t v);
