#pragma once
#include "dataplane/doors/http_state.h"
/*
 * pac.h - PAC links, at the HTTP door over TLS: GET /pac/LINK/SECRET.
 *
 * Served from the state alone, so while the control plane is away too.  The script names this door,
 * as the request's Host does, or what `pac_proxies` says.  Whatever is wrong with a link is 404 and
 * told as a failed log-in; neither link nor secret is logged.
 *
 * Bounds     PAC_TURNS_PER_S scripts a second of a door's worker; beyond: overload.
 * Threads    the worker's loop.
 */
#define PAC_TURNS_PER_S 10

bool pac_is_asked(const struct visit *v, const struct http1_head *head);
/* Answers, and ends the visit. */
void pac_answer(struct visit *v, const struct http1_head *head);
