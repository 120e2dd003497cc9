#pragma once
#include "controlplane/http/server.h"
/* internal_events.h - handlers of what relays report; ctx of the route: struct internal. */
void on_relay_events(const struct route *route, struct request *req, struct response *res);
void on_relay_applied(const struct route *route, struct request *req, struct response *res);
