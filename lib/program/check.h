#pragma once
#include "lib/base/buf.h"
/*
 * check.h - what --check-config asks of options that more than one program has.
 *
 * Errors     -EINVAL with a sentence in reterr that names the option and what to do.  What is
 *            empty is good: it is not in use.
 * Threads    no state.
 */
struct program_listen {
    const char *option, *text;          /* "http_listen", "127.0.0.1:8080" */
};

/* No two of them take the same port of the same address; what is no address at all is for others. */
MUST_CHECK int program_check_listens(const struct program_listen *listens, size_t count, struct buf *reterr);
/* A file that can be read; `what` is in it ("a PEM chain"). */
MUST_CHECK int program_check_file(const char *option, const char *path, const char *what, struct buf *reterr);
/* "https://host:port" and no more; it must not be empty. */
MUST_CHECK int program_check_url(const char *option, const char *url, struct buf *reterr);
