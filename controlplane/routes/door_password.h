#pragma once
#include "controlplane/routes/internal.h"
/*
 * door_password.h - POST /internal/v1/password: a relay asks whether a chosen password is right.
 *
 * Only of users whose `door_password` is on, who have no proxy credential and no second factor (nor a
 * role that demands one), and whose credentials would not have lapsed (lapse.h).  Who fails waits, by account and by source, as at log-ins; a password that was hashed elsewhere is
 * hashed anew when it was right.
 *
 * Threads    the handler's (the slow lane).
 */
void on_door_password(const struct route *route, struct request *req, struct response *res);
