#pragma once
#include "lib/base/reason.h"
#include "lib/base/span.h"
#include <string.h>
/*
 * log.h - events with fields, for grep and for machines.
 *
 *     LOG(INFO, "stream.closed", S("agent", name), R("reason", r), N("sent_bytes", n));
 *
 * One event, two renderings: aligned text on a terminal, one JSON object a line
 * otherwise.  Values are escaped, so an event is always one line.  Libraries return;
 * programs log, once, at the edge.
 *
 * Threads    any; one write(2) for each event.  Levels are read without a lock.
 * Limits     an event is cut at 4 KiB (the cut is marked), so that lines of several processes
 *            never mix in a pipe; a write that would block is dropped and counted
 *            (log_dropped()).
 */
enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

struct log_field {
    const char *key;
    enum { LOG_FIELD_SPAN, LOG_FIELD_INT, LOG_FIELD_UINT, LOG_FIELD_BOOL } type;
    union {
        struct span s;
        int64_t i;
        uint64_t u;
    };
};

#define LOG_FIELD(key_, type_, ...) \
    ((struct log_field){ .key = (key_), .type = LOG_FIELD_##type_, __VA_ARGS__ })
#define S(key_, text_) LOG_FIELD(key_, SPAN, .s = span_str(text_))
#define SP(key_, span_) LOG_FIELD(key_, SPAN, .s = (span_))
#define N(key_, value_) LOG_FIELD(key_, INT, .i = (int64_t)(value_))
#define U(key_, value_) LOG_FIELD(key_, UINT, .u = (uint64_t)(value_))
#define B(key_, value_) LOG_FIELD(key_, BOOL, .u = (value_))
#define R(key_, reason_) S(key_, reason_text(reason_))          /* enum reason */
#define E(errno_) S("error", strerrordesc_np((errno_) < 0 ? -(errno_) : (errno_)))

#define LOG(level_, event_, ...)                                                          \
    do {                                                                                  \
        if (log_is_on(LOG_##level_)) {                                                    \
            const struct log_field fields_[] = { __VA_ARGS__ };                           \
            log_event(LOG_##level_, (event_), fields_, sizeof(fields_) / sizeof(fields_[0])); \
        }                                                                                 \
    } while (0)

enum log_format { LOG_AUTO, LOG_TEXT, LOG_JSON };       /* AUTO: text on a terminal */

/* Once at start, before other threads.  `fd` stays the caller's. */
void log_init(const char *program, int fd, enum log_format format, enum log_level level);
bool log_is_on(enum log_level level);
bool log_level_parse(struct span text, enum log_level *ret_level);
void log_event(enum log_level level, const char *event, const struct log_field *fields, size_t n);
uint64_t log_dropped(void);
void log_set_level(enum log_level level);       /* after a reload; any thread */
