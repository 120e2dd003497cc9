#pragma once
#include "dataplane/doors/door.h"
/*
 * http_door.h - an HTTP/1 proxy: CONNECT, and absolute-form requests with keep-alive.
 *
 * Each request is decided for itself.  What is refused is answered with its status, the
 * Adit-Reason header, and a page that names the cure; what cannot be read without doubt is
 * answered 400 and the connection ends.
 *
 * Source     RFC 9110 sections 7.6, 9.3.6, 11.7; RFC 9112.
 */
extern const struct door_protocol http_door;
