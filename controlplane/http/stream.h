#pragma once
#include "controlplane/http/request.h"
/*
 * stream.h - an answer that goes on: what is written to it goes out as it comes.
 *
 * The connection is suspended while there is nothing to send; no thread waits for it.  What a
 * client does not take waits up to a bound, beyond which nothing is written.
 *
 * Ownership  one reference for who got it: stream_unref().  The connection may end before.
 * Errors     the named conditions.
 * Threads    any.
 */
enum {
    STREAM_E_GONE = 1,          /* the connection is over, or stream_end() was called */
    STREAM_E_FULL,              /* the client takes too little: nothing of it was written */
};

struct stream;
/* Makes the response one with status 200; NULL: a problem is set (too many of them, going down). */
struct stream *response_stream(struct request *req, struct response *res, const char *content_type,
                               size_t waiting_max);
struct stream *stream_ref(struct stream *s);
void stream_unref(struct stream *s);
DEFINE_FREEP(stream, stream_unref)
/* All of it or nothing. */
MUST_CHECK int stream_write(struct stream *s, struct span text);
/* `last` goes out behind what waits, whatever the bound; then the answer is at its end.  A client
 * that does not take it within STREAM_END_MS is cut. */
void stream_end(struct stream *s, struct span last);
#define STREAM_END_MS 5000
bool stream_is_gone(struct stream *s);
/* Asks again who the caller is, as if the request came now, by its Authorization and Cookie headers
 * (kept until the stream goes).  REASON_NONE: `ret_principal` is who. */
enum reason stream_authenticate(struct stream *s, struct principal *ret_principal);
