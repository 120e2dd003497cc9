#pragma once
#include "controlplane/http/request.h"
#include "lib/crypto/secret.h"
/*
 * cookie.h - the session cookie of browsers, and what stands with it against other sites' pages.
 *
 * The cookie is __Host-adit-session (Secure, HttpOnly, SameSite=Strict, Path=/): the token of a log-in
 * session.  A request that changes something must also come from our own origin and carry the
 * session's CSRF token, which GET /me tells our pages and which nobody else can read.
 *
 * Threads    pure.
 */
#define COOKIE_SESSION "__Host-adit-session"
#define COOKIE_SIGN_IN "__Host-adit-log-in"
#define CSRF_TOKEN_MAX 44

/* The cookie's value; false: there is none, or two of the name. */
bool cookie_get(const struct request *req, const char *name, struct span *ret_value);
void cookie_put_session(struct response *res, struct span token, int64_t life_s);
void csrf_token(struct span session_token, char ret_text[CSRF_TOKEN_MAX]);
/* NULL: the request may change something by its cookie; otherwise why not (static). */
const char *csrf_objection(const struct request *req, struct span session_token, const char *public_url);
