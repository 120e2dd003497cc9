#pragma once
#include "lib/base/span.h"
/*
 * ws_accept.h - what Sec-WebSocket-Accept answers to a key.
 *
 * Source     RFC 6455 section 4.2.2.     Pure.
 */
#define WS_ACCEPT_CHARS 28

void ws_accept_value(struct span key, char dst[WS_ACCEPT_CHARS + 1]);
