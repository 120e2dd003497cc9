#pragma once
#include "controlplane/http/server.h"
#include "controlplane/store/store.h"
/* internal_events.h - handlers of what relays report; ctx of the route: struct internal. */
void on_relay_events(const struct route *route, struct request *req, struct response *res);
void on_relay_applied(const struct route *route, struct request *req, struct response *res);

/* For the handlers of what relays tell. */
/* The start that the relay told of last; "" when it told of none. */
MUST_CHECK int internal_read_boot(struct store_tx *tx, const struct ulid *relay, char dst[64]);
/* 204, or the problem that `r` is. */
void internal_finish(struct response *res, int r);
