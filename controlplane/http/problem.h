#pragma once
#include "lib/base/buf.h"
#include "lib/base/reason.h"
/*
 * problem.h - RFC 9457 answers out of reason codes.
 *
 * type "/docs/reasons#<code>", title and status from the reason's row, detail and errors[]
 * from the caller.  Never a stack, an SQL text or a secret.
 *
 * Limits     32 errors; further ones are dropped.  Detail 512 bytes, cut.
 * Threads    a problem belongs to one thread at a time.
 */
#define PROBLEM_ERRORS_MAX 32

struct problem_error {
    char pointer[128];          /* JSON pointer into the body, or the name of a query parameter */
    char message[160];
};

struct problem {
    enum reason reason;         /* REASON_NONE: no problem */
    unsigned status;            /* 0: the reason's own */
    char detail[512];
    struct problem_error errors[PROBLEM_ERRORS_MAX];
    size_t error_count;
    struct span extra;          /* further members: `"referrers":[...]`, borrowed; may be empty */
    unsigned retry_after_s;     /* 0: no Retry-After */
};

void problem_set(struct problem *p, enum reason reason, const char *format, ...) PRINTF_LIKE(3, 4);
/* Sets REASON_INVALID unless a reason is set already. */
void problem_add(struct problem *p, const char *pointer, const char *message);
unsigned problem_status(const struct problem *p);
/* The application/problem+json body. */
void problem_encode(const struct problem *p, const char *trace_id, struct buf *out);
