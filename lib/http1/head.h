#pragma once
#include "lib/http1/http1.h"
/*
 * head.h - what request.c and response.c share.  For the files of this room.
 *
 * A head is read in two passes: while it grows, each line is checked as soon as it is
 * whole and nothing is kept but the position; when the empty line is there, the lines
 * are read once more and kept.  So the buffer may move, and no byte is looked at more
 * than twice.
 *
 * Errors     as http1.h; `0` done.
 */
/* Parses a first line into the head. */
typedef int (*head_first_line)(struct span line, struct http1_head *h);

/* 0: *h has its first line, its fields and `bytes`. */
int head_read(struct http1_scan *scan, struct span in, bool skip_empty_line,
              head_first_line first_line, struct http1_head *h);
/* "HTTP/1.1", "HTTP/1.0"; `malformed` for what is no version at all. */
int head_version(struct span text, int malformed, struct http1_head *h);

/* What Content-Length and Transfer-Encoding say together. */
struct framing {
    bool has_length, is_chunked;
    uint64_t length;
};

/* Also refuses a Connection that names what frames or routes. */
int framing_read(const struct http1_head *h, struct framing *ret_framing);
/* Sets h->framing and h->body_bytes for a message that may have content. */
void framing_apply(const struct framing *f, enum http1_framing without, struct http1_head *h);
bool framing_keep_alive(const struct http1_head *h);

/* Fills form, authority, host, port, path out of method, target and Host. */
int target_read(struct http1_head *h);
