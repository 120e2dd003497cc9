#pragma once
#include "lib/log/log.h"
/*
 * render_internal.h - one event as one line of text or JSON.
 *
 * Shape      the line ends with a line feed and has no other control character; values
 *            that are not UTF-8 have their bad bytes replaced by U+FFFD.
 * Limits     LOG_LINE_MAX; a field that does not fit is left out with all after it, and the
 *            line says cut=true.
 * Threads    pure.
 */
#define LOG_LINE_MAX 4096       /* PIPE_BUF */

struct log_record {
    const char *program, *level, *event;
    const struct log_field *fields;
    size_t count;
    int64_t unix_s;
    unsigned ms;
};

/* Both write into `mem` (LOG_LINE_MAX bytes) and give back what they wrote. */
struct span log_render_text(const struct log_record *record, char *mem);
struct span log_render_json(const struct log_record *record, char *mem);
