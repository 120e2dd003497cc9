#pragma once
#include "controlplane/routes/body.h"
/*
 * guard.h - the rules of writes that need to look around: nobody gives, resets or joins
 * what is wider than his own; never without an admin; what fields must say together; no
 * ring of groups.
 *
 * Errors     CALL_E_ANSWERED with the reason; the store's.
 */
/* Whether the caller may see the object at all: otherwise not-found. */
MUST_CHECK int guard_sees(struct call *c, const struct store_object *object);
MUST_CHECK int guard_create(struct call *c, struct body *body);
MUST_CHECK int guard_update(struct call *c, const struct store_object *object, struct body *body);
MUST_CHECK int guard_delete(struct call *c, const struct kind *kind,
                            const struct store_object *object);
/* A token's new secret is worth what the token is. */
MUST_CHECK int guard_rotate(struct call *c, const struct store_object *token);
/* Before `member` is put into the group. */
MUST_CHECK int guard_member(struct call *c, const struct store_object *group,
                            const struct store_object *member);
/* The caller's rank against a user's. */
MUST_CHECK int guard_user(struct call *c, const struct ulid *user);
