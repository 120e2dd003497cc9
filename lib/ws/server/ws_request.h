#pragma once
#include "lib/http1/http1.h"
/*
 * ws_request.h - a request for a WebSocket, judged, and its answer.
 *
 * Threads    no state.
 * Source     RFC 6455 section 4.2.
 */

/* 0, or one of enum ws_error: what of the opening is wrong. */
MUST_CHECK int ws_request_check(const struct http1_head *head, struct span protocol);
/* 101, to a head that was checked. */
void ws_request_agree(struct buf *out, const struct http1_head *head, struct span protocol);
/* The answer to one that was not right. */
void ws_request_refuse(struct buf *out, int error);
