#pragma once
#include "lib/base/buf.h"
/*
 * program.h - what every program does first: limits, seeds, its log, its token.
 *
 * Errors     -errno with a sentence for a person in reterr.
 * Threads    before any other thread is started.
 */

/* No core files (they would hold keys and users' data), as many descriptors as are allowed, no
 * death by a closed pipe, and seeded hash tables. */
void program_harden(void);

/* `level`: error, warning, info, debug; `format`: text, json, auto. */
MUST_CHECK int program_check_log(const char *level, const char *format, struct buf *reterr);
/* Opens the log on standard error; the two were checked. */
void program_start_log(const char *program, const char *level, const char *format);

/* Where a join token comes from: an argument that is no flag (others on the machine see it for a
 * moment), --token-file FILE, or "-" or nothing for standard input. */
struct program_token {
    char *text;                     /* the token, the file's path, or "-"; borrowed from argv; NULL: "-" */
    bool is_file;
};

/* Takes it out of the arguments, so that the rest are options. */
struct program_token program_take_token(int *argc, char **argv);
/* Reads it into dst.  -EINVAL: there is none, or it does not fit. */
MUST_CHECK int program_read_token(const struct program_token *source, char *dst, size_t dst_size,
                                  struct span *ret_token, struct buf *reterr);
